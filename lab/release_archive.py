"""A release archive in the real one's shape and small: 28 devices with 6 channels, and its legitimate gaps.

Some devices have no incremental, one has a factory image ahead of any OTA, one an oldstable whose package is gone, the
checksums of some current packages are not recorded yet, most recorded ones are bare hashes, and one device is retired.
Packages are zips of a few hundred bytes, or as large as is asked for.
"""

import hashlib
import io
import os
import random
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from roles.release.archive import SHA256SUM

DEVICES = tuple(f"device{number:02}" for number in range(28))
RETIRED = "sunfish"
CHANNELS = ("testing", "security-express", "beta", "stable")
GONE, OLD, CURRENT, NEXT = "260520210", "260620310", "260720420", "260820530"
STAMPS = {GONE: 1_780_700_000, OLD: 1_783_300_000, CURRENT: 1_785_977_859, NEXT: 1_788_600_000}
NO_INCREMENTAL = DEVICES[3:6]
FACTORY_AHEAD = DEVICES[6]
BASE_GONE = DEVICES[7]
UNRECORDED = tuple(f"ota/{device}/16/{device}-ota_update-{CURRENT}.zip" for device in DEVICES[8:12])
COMMIT = "c0ffee" + "0" * 34


@dataclass(frozen=True)
class Archive:
    """packages: content by path as they are asked for; metadata, checksums: the two repositories' files by path."""

    packages: Mapping[str, bytes]
    metadata: Mapping[str, bytes]
    checksums: Mapping[str, bytes]
    times: Mapping[str, int] = field(default_factory=dict)

    def write(self, volume: Path, commit: str = COMMIT) -> None:
        """A release server's volume that holds all of it; files have the times of their builds."""
        for path, content in self.packages.items():
            line = f"{hashlib.sha256(content).hexdigest()}  {path.rpartition('/')[2]}\n"
            for name, text in ((path, content), (f"{path}{SHA256SUM}", line.encode())):
                _put(volume / "public" / name, text, self.times[path])
        for path, content in self.metadata.items():
            _put(volume / "metadata" / path, content, STAMPS[CURRENT])
        _put(volume / "metadata/.commit", f"{commit}\n".encode(), STAMPS[CURRENT])
        (volume / "publications").mkdir(exist_ok=True)


def archive(full_bytes: int = 400) -> Archive:
    """All of it, the same at every call. full_bytes: of a full OTA; others are in proportion."""
    packages: dict[str, bytes] = {}
    metadata: dict[str, bytes] = {}
    times: dict[str, int] = {}
    for device in DEVICES:
        metadata |= _metadata(device)
        for path, build, size in _released(device, full_bytes):
            packages[path], times[path] = _package(path, size), STAMPS[build]
    for name in ("linux", "darwin", "exe"):
        path = f"device-flasher/1.0.8/device-flasher.{name}"
        packages[path], times[path] = _noise(path, full_bytes), STAMPS[CURRENT]
    for channel in (*CHANNELS, "factory"):
        metadata[f"ota/{RETIRED}/{RETIRED}-{channel}"] = b"240510100 1715400000 14\n"
    path = f"ota/{RETIRED}/14/{RETIRED}-ota_update-240510100.zip"
    packages[path], times[path] = _package(path, full_bytes), 1_715_400_000
    return Archive(packages, metadata, _checksums(packages), times)


def _metadata(device: str) -> dict[str, bytes]:
    builds = dict.fromkeys(CHANNELS, CURRENT) | {"factory": CURRENT, "oldstable": OLD}
    if device == FACTORY_AHEAD:
        builds |= dict.fromkeys(CHANNELS, OLD) | {"factory": NEXT}
    found = {
        f"ota/{device}/{device}-{channel}": f"{build} {STAMPS[build]} 16\n".encode()
        for channel, build in builds.items()
    }
    for channel in CHANNELS:
        found[f"ota/{device}/{device}-{channel}-changelog.html"] = f"<h2>{builds[channel]}</h2>\n".encode()
    return found


def _released(device: str, size: int) -> Iterator[tuple[str, str, int]]:
    """Path, build and size in bytes."""
    ota, factory = f"ota/{device}/16/{device}", f"factory/{device}/16/{device}"
    if device != BASE_GONE:
        yield f"{ota}-ota_update-{OLD}.zip", OLD, size
    if device == FACTORY_AHEAD:
        yield f"{factory}-factory-{NEXT}.zip", NEXT, size
        return
    yield f"{ota}-ota_update-{CURRENT}.zip", CURRENT, size
    yield f"{factory}-factory-{CURRENT}.zip", CURRENT, size
    if device not in NO_INCREMENTAL:
        yield f"{ota}-incremental-{OLD}-{CURRENT}.zip", CURRENT, size // 4


def _checksums(packages: Mapping[str, bytes]) -> dict[str, bytes]:
    """Bare hashes of what is gone, and of what is there the line that the release script writes, or nothing yet."""
    found = {}
    for device in DEVICES:
        for name in (f"{device}-ota_update-{OLD}.zip", f"{device}-ota_update-{GONE}.zip"):
            found[f"ota/{device}/16/{name}{SHA256SUM}"] = hashlib.sha256(name.encode()).hexdigest().encode()
    for path, content in packages.items():
        if path not in UNRECORDED:
            digest = hashlib.sha256(content).hexdigest()
            found[f"{path}{SHA256SUM}"] = f"{digest}  {path.rpartition('/')[2]}\n".encode()
    return found


def _package(path: str, size: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as package:
        package.writestr(zipfile.ZipInfo("payload.bin"), _noise(path, size))
    return out.getvalue()


def _noise(seed: str, size: int) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311  # filler that must be the same at every run


def _put(path: Path, content: bytes, time: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (time, time))
