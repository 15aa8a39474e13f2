"""What ought to be: a commit of the metadata repository, and the list of checksums. Pure.

Legitimate gaps of the real archive, which are no findings: a device without a current incremental; a factory build
ahead of any OTA; factory and oldstable without a changelog; an oldstable whose package is gone, as no phone is on it;
packages whose checksum is not recorded yet, which are told apart; bare hashes.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath

from roles.release.archive import BASE, FACTORY, SHA256SUM, Offer, checksum
from roles.release.tools.audit.findings import Finding, Kind, finding
from roles.release.tools.layout import ANDROID, BUILD, CHANGELOG, DEVICE, PACKAGES
from roles.release.tools.offers import Offered
from roles.release.tools.retention import Ended, Kept

METADATA, CHECKSUMS = "metadata repository", "list of checksums"
"""By these names findings in them are told."""
LINE = re.compile(rf"ota/({DEVICE.pattern})/\1-([A-Za-z0-9-]+)")
LINE_AT_MOST = 1024
"""Bytes."""


@dataclass(frozen=True)
class Need:
    """Why a package has to be there. is_optional: no phone asks for it."""

    device: str
    channels: tuple[str, ...]
    is_promised: bool
    is_optional: bool = False

    @property
    def about(self) -> tuple[str, str]:
        return self.device, ", ".join(self.channels)


@dataclass(frozen=True)
class Truth:
    """commit: of metadata; files: its content by path; recorded: what the list has, by a package's file name; coming:
    what channels are about to offer, whose packages are looked at too; kept, over, time: what `prune` goes by, now."""

    commit: str
    files: Mapping[str, bytes]
    recorded: Mapping[str, bytes]
    retired: frozenset[str] = frozenset()
    metadata_seconds: int = 60
    kept: Kept = field(default_factory=lambda: Kept(builds=4, days=120))
    over: Ended = field(default_factory=dict)
    time: float = 0
    coming: Mapping[tuple[str, str], Offer] = field(default_factory=dict)

    @cached_property
    def lines(self) -> dict[tuple[str, str], str]:
        """Paths of channel lines, by device and channel; of retired devices none."""
        found = {}
        for path in sorted(self.files):
            match = LINE.fullmatch(path)
            if match and match[1] not in self.retired:
                found[match[1], match[2]] = path
        return found

    @cached_property
    def changelogs(self) -> dict[tuple[str, str], str]:
        """Paths of changelogs, by device and channel."""
        found = {}
        for path in sorted(self.files):
            match = LINE.fullmatch(path.removesuffix(CHANGELOG)) if path.endswith(CHANGELOG) else None
            if match and match[1] not in self.retired:
                found[match[1], match[2]] = path
        return found

    @cached_property
    def offers(self) -> dict[tuple[str, str], Offer]:
        """What channels offer; a line that is none offers nothing."""
        found = {}
        for key, path in self.lines.items():
            try:
                found[key] = parsed(self.files[path])
            except ValueError:
                continue
        return found

    @cached_property
    def sums(self) -> dict[str, str]:
        """Hash by a package's file name, of those that the list has one of."""
        found = {}
        for name, content in self.recorded.items():
            try:
                found[name] = checksum(content.decode(errors="replace"))
            except ValueError:
                continue
        return found

    def needs(self, offers: Mapping[tuple[str, str], Offer]) -> dict[str, Need]:
        """Packages by path that these offers promise, and the incrementals to them that were ever released."""
        found: dict[str, Need] = {}
        for (device, channel), offer in sorted(offers.items()):
            path = Offered(device, channel, offer).promises
            before = found.get(path)
            channels = (*before.channels, channel) if before else (channel,)
            optional = channel == BASE and (not before or before.is_optional)
            found[path] = Need(device, channels, is_promised=True, is_optional=optional)
        for device, base, build in self._incrementals:
            for (_, channel), offer in sorted(offers.items()):
                if _ == device and offer.build == build and channel not in (FACTORY, BASE):
                    path = f"ota/{device}/{offer.android}/{device}-incremental-{base}-{build}.zip"
                    channels = (*found[path].channels, channel) if path in found else (channel,)
                    found[path] = Need(device, channels, is_promised=False)
        return found

    @cached_property
    def _incrementals(self) -> list[tuple[str, str, str]]:
        """Device, base and build of all on record to builds that are offered."""
        offers = (*self.offers.items(), *self.coming.items())
        offered = {(device, offer.build) for (device, _), offer in offers}
        matches = (PACKAGES["incremental"].fullmatch(name) for name in self.sums)
        found = [(match[1], match["base"], match[match.re.groups]) for match in matches if match]
        return sorted(one for one in found if (one[0], one[2]) in offered)

    def problems(self) -> Iterator[Finding]:
        """What is malformed in the two repositories themselves."""
        for key, path in self.lines.items():
            try:
                parsed(self.files[path])
            except ValueError as error:
                yield _malformed(METADATA, path, error, key)
        for path in sorted(self.files):
            device = path.split("/")[1] if path.count("/") == 2 else ""
            known = LINE.fullmatch(path.removesuffix(CHANGELOG))
            if path.startswith("ota/") and not known and device not in self.retired:
                yield finding(METADATA, path, Kind.MALFORMED, "its name", "ota/DEVICE/DEVICE-CHANNEL", (device, ""))
        for path, need in self.needs(self.offers).items():
            name = PurePosixPath(path).name
            if name in self.recorded and name not in self.sums:
                text = self.recorded[name].decode(errors="replace")
                yield finding(
                    CHECKSUMS, f"{path}{SHA256SUM}", Kind.MALFORMED, repr(text[:80]), "HASH  NAME, or HASH", need.about
                )


def parsed(content: bytes) -> Offer:
    """A channel line, whose parts make no path that leads elsewhere. Raises ValueError."""
    if len(content) > LINE_AT_MOST:
        raise ValueError(f"has {len(content):,} bytes")
    offer = Offer.parse(content.decode(errors="replace"))
    if not BUILD.fullmatch(offer.build) or not ANDROID.fullmatch(offer.android):
        raise ValueError(f"names no build: {offer.line!r}")
    return offer


def recorded(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The list of checksums as a commit's files: content by the artifact's file name."""
    names = {path: PurePosixPath(path).name for path in files}
    return {
        name.removesuffix(SHA256SUM).removesuffix(".sha256"): files[path]
        for path, name in names.items()
        if name.endswith((SHA256SUM, ".sha256", ".zip"))
    }


def lines_of(found: Mapping[tuple[str, str], bytes]) -> dict[tuple[str, str], Offer]:
    """What a server's own lines offer."""
    offers = {}
    for key, content in found.items():
        try:
            offers[key] = parsed(content)
        except ValueError:
            continue
    return offers


def _malformed(server: str, path: str, error: ValueError, about: tuple[str, str]) -> Finding:
    return finding(server, path, Kind.MALFORMED, f"a line that {error}", "BUILD TIMESTAMP ANDROID", about)


def about(path: str, needs: Mapping[str, Need]) -> tuple[str, str]:
    """Device and channels of a file."""
    if need := needs.get(path.removesuffix(SHA256SUM)):
        return need.about
    parts = path.split("/")
    return (parts[1] if len(parts) > 2 else "", "")


def channels(keys: Iterable[tuple[str, str]]) -> list[str]:
    """Those that occur, in the order in which builds go through them."""
    order = ("testing", "security-express", "beta", "stable", FACTORY, BASE)
    names = {name for _, name in keys}
    return [*(one for one in order if one in names), *sorted(names - {*order})]
