"""What an OTA package says of itself, `META-INF/com/android/metadata`. Format: that of AOSP's ota_from_target_files.

Lines KEY=VALUE. `ota-property-files` and `ota-streaming-property-files` are lists NAME:OFFSET:SIZE, padded by spaces:
where stored members' bytes are in the package, for clients that fetch parts of it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from roles.release.tools.problems import Damaged, shown
from roles.release.tools.zips import STORED, Directory

METADATA = "META-INF/com/android/metadata"
PAYLOAD, PROPERTIES = "payload.bin", "payload_properties.txt"
PAYLOAD_METADATA = "payload_metadata.bin"
"""No member: header, manifest and their signature, as they begin the payload."""
PROPERTY_FILES = {
    "ota-property-files": {PAYLOAD_METADATA, PAYLOAD, PROPERTIES, "metadata"},
    "ota-streaming-property-files": {PAYLOAD, PROPERTIES, "metadata"},
}
"""What each list has at least."""
KEYS = 100
FINGERPRINT = re.compile(r"[^/:|]+/[^/:|]+/([^/:|]+):[^/:|]+/[^/:|]+/([^/:|]+):([^/:|]+/[^/:|]+)")
"""brand/product/DEVICE:release/id/INCREMENTAL:TYPE/TAGS."""
RELEASED = "user/release-keys"
DATE = re.compile(r"20[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])")
TIMESTAMP = re.compile(r"[0-9]{9,11}")
NUMBER = re.compile(r"[0-9]{1,12}")
NEVER = ("ota-downgrade", "spl-downgrade", "ota-wipe")
"""A package with one of these goes back, or erases the phone."""


@dataclass(frozen=True)
class Metadata:
    """Of one package. timestamp in Unix seconds, None when there is no good one; patch_level likewise, empty."""

    values: Mapping[str, str]

    def get(self, key: str) -> str:
        return self.values.get(key, "")

    @property
    def timestamp(self) -> int | None:
        text = self.get("post-timestamp")
        return int(text) if TIMESTAMP.fullmatch(text) else None

    @property
    def patch_level(self) -> str:
        text = self.get("post-security-patch-level")
        return text if DATE.fullmatch(text) else ""


def lines(text: bytes, what: str) -> dict[str, str]:
    """KEY=VALUE, each key once. Raises Damaged."""
    try:
        rows = [row for row in text.decode().split("\n") if row]
    except UnicodeDecodeError:
        raise Damaged(what, "bytes that are no text", "lines KEY=VALUE") from None
    found: dict[str, str] = {}
    for row in rows:
        key, equals, value = row.partition("=")
        if not equals or not key or not row.isprintable():
            raise Damaged(what, repr(shown(row)), "a line KEY=VALUE")
        if key in found:
            raise Damaged(what, f"{shown(key)} twice", "each key once: clients differ in which they take")
        if len(found) == KEYS:
            raise Damaged(what, f"more than {KEYS} keys", "fewer")
        found[key] = value
    return found


def judge(told: Metadata, device: str, build: str, base: str) -> Iterator[Damaged]:
    """What is wrong with it, for a package of that device and build; base: of an incremental, else empty."""
    wanted = {"ota-type": "AB", "post-build-incremental": build, "pre-build-incremental": base}
    for key, value in wanted.items():
        if told.get(key) != value:
            yield _differs(told, key, value or "none: it is a full package")
    if device not in told.get("pre-device").split("|"):
        yield _differs(told, "pre-device", device)
    if told.timestamp is None:
        yield _differs(told, "post-timestamp", "Unix seconds")
    if not told.patch_level:
        yield _differs(told, "post-security-patch-level", "a date like 2026-07-05")
    yield from _fingerprint(told, "post-build", device)
    if base:
        yield from _fingerprint(told, "pre-build", device)
    elif told.get("pre-build"):
        yield _differs(told, "pre-build", "none: it is a full package")
    for key in NEVER:
        if key in told.values:
            yield _differs(told, key, "none: phones would be set back or erased")


def other_build(told: Metadata, build: str, base: str) -> Iterator[str]:
    """Fingerprints of other builds: trees may carry that of the maker's own system, so only people can judge it."""
    for key, wanted in (("post-build", build), ("pre-build", base)):
        found = FINGERPRINT.fullmatch(told.get(key))
        if found and wanted and found[2] != wanted:
            yield f"{key} is the fingerprint of build {shown(found[2])}, not of {wanted}"


def _fingerprint(told: Metadata, key: str, device: str) -> Iterator[Damaged]:
    for one in told.get(key).split("|"):
        found = FINGERPRINT.fullmatch(one)
        if not found:
            yield Damaged(f"metadata {key}", shown(one) or "none", "a fingerprint brand/product/device:...")
        elif found[3] != RELEASED:
            yield Damaged(f"metadata {key}", shown(found[3]), RELEASED)
        elif "|" not in told.get(key) and found[1] != device:
            yield Damaged(f"metadata {key}", f"device {shown(found[1])}", device)


def _differs(told: Metadata, key: str, expected: str) -> Damaged:
    return Damaged(f"metadata {key}", told.get(key) or "none", expected)


def property_files(told: Metadata, directory: Directory, payload_metadata: int | None) -> Iterator[Damaged]:
    """What is wrong with the lists of parts; payload_metadata: how large that is, if the payload tells."""
    payload = directory.get(PAYLOAD)
    there = {one.name.rpartition("/")[2]: one for one in reversed(directory.members)}
    for key, required in PROPERTY_FILES.items():
        field = f"metadata {key}"
        listed = told.get(key).rstrip(" ")
        if not listed:
            yield Damaged(field, "none", "offsets and sizes, which streaming clients read")
            continue
        names = set()
        for item in listed.split(","):
            name, *numbers = item.split(":")
            if len(numbers) != 2 or not all(NUMBER.fullmatch(one) for one in numbers):
                yield Damaged(field, repr(shown(item)), "NAME:OFFSET:SIZE")
                continue
            if name in names:
                yield Damaged(field, f"{shown(name)} twice", "each part once")
            names.add(name)
            said = (int(numbers[0]), int(numbers[1]))
            if name == PAYLOAD_METADATA:
                is_ = (payload.data, payload_metadata) if payload and payload_metadata is not None else said
            elif one := there.get(name):
                is_ = (one.data, one.size)
                if one.method != STORED:
                    yield Damaged(field, f"{name}, which is packed", "a stored member")
            else:
                yield Damaged(field, shown(name), "a member of the package")
                continue
            if said != is_:
                expected = f"{is_[0]} and {is_[1]}"
                yield Damaged(field, f"{name} at {said[0]} with {said[1]} bytes", expected)
        for name in sorted(required - names):
            yield Damaged(field, f"no {name}", "it in the list")
