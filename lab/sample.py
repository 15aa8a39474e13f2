"""A small release archive and website in their real formats, the same bytes at every run.

Formats: the archive's layout, metadata line and `.sha256sum` are those of release.calyxos.org; OTA packages are zips
with `META-INF/com/android/metadata`, whose post-timestamp an update client compares with the metadata's TIMESTAMP.
"""

import hashlib
import io
import os
import random
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
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


OLD = Build("260620310", 1_783_300_000, "16")
CURRENT = Build("260720420", 1_785_977_859, "16")
DEVICES = (
    Device("panther", CURRENT, OLD),
    Device("shiba", CURRENT, OLD),
    Device("FP5", CURRENT, OLD, incremental=False),
    Device("bangkk", OLD, factory=CURRENT),
    Device(RETIRED, Build("240510100", 1_715_400_000, "14")),
)


def archive(target: Path) -> None:
    """Writes the release archive below `target`: five devices, one of them retired, and a flasher."""
    for device in DEVICES:
        _ota(target / "ota" / device.name, device)
        factory = device.factory or device.current
        place = target / "factory" / device.name / factory.android
        _artifact(place / f"{device.name}-factory-{factory.number}.zip", _factory_zip(device.name, factory), factory)
    for system in ("linux", "darwin", "exe"):
        program = _noise(f"device-flasher.{system}", 20_000)
        _artifact(target / "device-flasher" / "1.0.8" / f"device-flasher.{system}", program, CURRENT)


def website(target: Path) -> None:
    """Writes a website as Jekyll builds it, with the dot directories that phones fetch and one nobody may."""
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
        ".git/HEAD": "ref: refs/heads/main\n",
    }
    for path, text in pages.items():
        _write(target / path, text.encode(), SITE_TIME)


def _ota(place: Path, device: Device) -> None:
    current, old = device.current, device.old
    builds = (
        dict.fromkeys(CHANNELS, current) | {"factory": device.factory or current} | ({"oldstable": old} if old else {})
    )
    for channel, build in builds.items():
        _write(place / f"{device.name}-{channel}", build.line.encode(), build.timestamp)
        if channel in ("testing", "security-express", "beta", "stable"):
            changes = f"<h2>{build.number}</h2><ul><li>Security fixes</li></ul>"
            _write(place / f"{device.name}-{channel}-changelog.html", changes.encode(), build.timestamp)
    for build in filter(None, (old, current)):
        name = f"{device.name}-ota_update-{build.number}.zip"
        _artifact(place / build.android / name, _ota_zip(device.name, build), build)
    if old and device.incremental:
        name = f"{device.name}-incremental-{old.number}-{current.number}.zip"
        _artifact(place / current.android / name, _ota_zip(device.name, current, base=old), current)


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


def _artifact(path: Path, content: bytes, build: Build) -> None:
    _write(path, content, build.timestamp)
    line = f"{hashlib.sha256(content).hexdigest()}  {path.name}\n"
    _write(path.with_name(f"{path.name}.sha256sum"), line.encode(), build.timestamp)


def _page(title: str, body: str) -> str:
    link = '<link rel="stylesheet" href="/assets/css/style.css">'
    return f"<!doctype html>\n<html lang=en><head><title>{title}</title>{link}</head><body>{body}</body></html>\n"


def _write(path: Path, content: bytes, timestamp: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (timestamp, timestamp))
