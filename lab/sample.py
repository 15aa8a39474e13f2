"""A small release archive, its list of checksums and a website in their real formats, the same bytes at every run.

Formats: the archive's layout, metadata line and `.sha256sum` are those of release.calyxos.org; OTA packages are zips
with `META-INF/com/android/metadata`, whose post-timestamp an update client compares with the metadata's TIMESTAMP. The
list has a file for every artifact ever released; most of them are the bare hash.
"""

import hashlib
import io
import os
import random
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

CHANNELS = ("testing", "security-express", "beta", "stable", "otatest")
RETIRED = "sunfish"
PAYLOAD_BYTES = 200_000
SITE_TIME = 1_785_000_000


@dataclass(frozen=True)
class Build:
    """One build. `timestamp` is in Unix seconds."""

    number: str
    timestamp: int
    android: str

    @property
    def line(self) -> str:
        """The content of a channel's metadata file."""
        return f"{self.number} {self.timestamp} {self.android}\n"


@dataclass(frozen=True)
class Device:
    """What the archive holds for a device: `current` on all channels, `old` as the base of incrementals."""

    name: str
    current: Build
    old: Build | None = None
    incremental: bool = True
    factory: Build | None = None
    """A factory build that runs ahead of any OTA; default: the current build."""


@dataclass(frozen=True)
class Artifact:
    """A file that is released with its checksum. `path` is in the archive; `current`: some channel offers it now."""

    path: str
    content: bytes
    build: Build
    current: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def line(self) -> str:
        """Its checksum in the normal form, `HASH  NAME`."""
        return f"{self.sha256}  {Path(self.path).name}\n"


GONE = Build("260520210", 1_780_700_000, "16")
"""Released once; nothing of it is in the archive any more."""
OLD = Build("260620310", 1_783_300_000, "16")
CURRENT = Build("260720420", 1_785_977_859, "16")
DEVICES = (
    Device("panther", CURRENT, OLD),
    Device("shiba", CURRENT, OLD),
    Device("FP5", CURRENT, OLD, incremental=False),
    Device("bangkk", OLD, factory=CURRENT),
    Device(RETIRED, Build("240510100", 1_715_400_000, "14")),
)
UNRECORDED = f"ota/FP5/16/FP5-ota_update-{CURRENT.number}.zip"
"""In the archive, and not yet in the list of checksums, which lags."""


def archive(target: Path) -> None:
    """Writes the release archive below `target`, as it is asked for: five devices, one of them retired, and a
    flasher."""
    metadata(target)
    packages(target)


def metadata(target: Path) -> None:
    """Writes what its metadata repository holds below `target`: channel lines and changelogs."""
    for device in DEVICES:
        _channels(target / "ota" / device.name, device)


def packages(target: Path) -> None:
    """Writes what is released below `target`, with the checksum beside each."""
    for artifact in _released():
        _write(target / artifact.path, artifact.content, artifact.build.timestamp)
        _write(target / f"{artifact.path}.sha256sum", artifact.line.encode(), artifact.build.timestamp)


def checksums(target: Path) -> None:
    """Writes the list of checksums below `target`, a file for each artifact at its path: `HASH  NAME` for what is
    current, the bare hash without a newline for what is not, of which most is gone from the archive."""
    for artifact in chain(_released(), _gone()):
        if artifact.path != UNRECORDED:
            text = artifact.line if artifact.current else artifact.sha256
            _write(target / f"{artifact.path}.sha256sum", text.encode(), artifact.build.timestamp)


def website(target: Path) -> None:
    """Writes a website as Jekyll builds it, with the dot directories that phones fetch."""
    pages = {
        "index.html": _page("Example OS", "<p>A free mobile operating system.</p>"),
        "about.html": _page("About", "<p>Extensionless pages, as Jekyll makes them.</p>"),
        "docs/index.html": _page("Documentation", "<p>A directory with an index.</p>"),
        "docs/install.html": _page("Install", "<p>How to install.</p>"),
        "404.html": _page("Page not found", "<p>There is nothing at this address.</p>"),
        "assets/css/style.css": "".join(f".c{number} {{ color: #{number:06x}; }}\n" for number in range(64)),
        "assets/img/logo.svg": '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><circle r="4"/></svg>\n',
        "feed.xml": '<?xml version="1.0" encoding="utf-8"?>\n<feed xmlns="http://www.w3.org/2005/Atom"></feed>\n',
        ".messages/latest.txt": "1785977859\nThe July update is on its way to all devices.\n",
        ".well-known/security.txt": "Contact: mailto:security@example.org\nExpires: 2030-01-01T00:00:00Z\n",
    }
    for path, text in pages.items():
        _write(target / path, text.encode(), SITE_TIME)


def _channels(place: Path, device: Device) -> None:
    current, old = device.current, device.old
    builds = (
        dict.fromkeys(CHANNELS, current) | {"factory": device.factory or current} | ({"oldstable": old} if old else {})
    )
    for channel, build in builds.items():
        _write(place / f"{device.name}-{channel}", build.line.encode(), build.timestamp)
        if channel in ("testing", "security-express", "beta", "stable"):
            changes = f"<h2>{build.number}</h2><ul><li>Security fixes</li></ul>"
            _write(place / f"{device.name}-{channel}-changelog.html", changes.encode(), build.timestamp)


def _released() -> Iterator[Artifact]:
    """All artifacts of the archive."""
    for device in DEVICES:
        served = device.name != RETIRED
        if device.old:
            yield _full(device.name, device.old, current=False)
        yield _full(device.name, device.current, current=served)
        if device.old and device.incremental:
            yield _incremental(device.name, device.old, device.current, current=served)
        yield _factory(device.name, device.factory or device.current, current=served)
    yield from _flashers("1.0.8", CURRENT, current=True)


def _gone() -> Iterator[Artifact]:
    """Artifacts that the archive held once."""
    for device in DEVICES:
        if device.old:
            yield _full(device.name, GONE, current=False)
            if device.incremental:
                yield _incremental(device.name, GONE, device.old, current=False)
            yield _factory(device.name, GONE, current=False)
    yield from _flashers("1.0.7", GONE, current=False)


def _full(device: str, build: Build, *, current: bool) -> Artifact:
    path = f"ota/{device}/{build.android}/{device}-ota_update-{build.number}.zip"
    return Artifact(path, _ota_zip(device, build), build, current)


def _incremental(device: str, base: Build, build: Build, *, current: bool) -> Artifact:
    path = f"ota/{device}/{build.android}/{device}-incremental-{base.number}-{build.number}.zip"
    return Artifact(path, _ota_zip(device, build, base), build, current)


def _factory(device: str, build: Build, *, current: bool) -> Artifact:
    path = f"factory/{device}/{build.android}/{device}-factory-{build.number}.zip"
    return Artifact(path, _factory_zip(device, build), build, current)


def _flashers(version: str, build: Build, *, current: bool) -> Iterator[Artifact]:
    for system in ("linux", "darwin", "exe"):
        path = f"device-flasher/{version}/device-flasher.{system}"
        yield Artifact(path, _noise(path, 20_000), build, current)


def _ota_zip(device: str, build: Build, base: Build | None = None) -> bytes:
    kind = f"incremental-{base.number}" if base else "full"
    facts = {
        "ota-type": "AB",
        "post-build-incremental": build.number,
        "post-sdk-level": "36",
        "post-timestamp": str(build.timestamp),
        "pre-device": device,
    } | ({"pre-build-incremental": base.number} if base else {})
    metadata = "".join(f"{key}={value}\n" for key, value in sorted(facts.items()))
    payload = _noise(f"{device}-{kind}-{build.number}", PAYLOAD_BYTES // (4 if base else 1))
    return _zip(
        {
            "META-INF/com/android/metadata": metadata.encode(),
            "payload.bin": b"CrAU" + payload,
            "payload_properties.txt": f"FILE_SIZE={len(payload) + 4}\n".encode(),
        },
        build.timestamp,
    )


def _factory_zip(device: str, build: Build) -> bytes:
    folder = f"{device}-factory-{build.number}"
    return _zip(
        {
            f"{folder}/flash-all.sh": b"#!/bin/sh\nfastboot flashing unlock\n",
            f"{folder}/image-{device}-{build.number}.zip": _noise(folder, 2 * PAYLOAD_BYTES),
        },
        build.timestamp,
    )


def _zip(members: Mapping[str, bytes], timestamp: int) -> bytes:
    out = io.BytesIO()
    when = datetime.fromtimestamp(timestamp, UTC).timetuple()[:6]
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as package:
        for name, content in members.items():
            package.writestr(zipfile.ZipInfo(name, when), content)
    return out.getvalue()


def _noise(seed: str, size: int) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311  # filler that must be the same at every run


def _page(title: str, body: str) -> str:
    link = '<link rel="stylesheet" href="/assets/css/style.css">'
    return f"<!doctype html>\n<html lang=en><head><title>{title}</title>{link}</head><body>{body}</body></html>\n"


def _write(path: Path, content: bytes, timestamp: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (timestamp, timestamp))
