"""What an archive of releases holds, read from a list of its files. Formats: those of release.calyxos.org.

metadata/ota/DEVICE/DEVICE-CHANNEL                            BUILD TIMESTAMP ANDROID, one line
metadata/ota/DEVICE/DEVICE-CHANNEL-changelog.html
public/ota/DEVICE/ANDROID/DEVICE-ota_update-BUILD.zip         and FILE.sha256sum beside each
public/ota/DEVICE/ANDROID/DEVICE-incremental-OLD-BUILD.zip
public/factory/DEVICE/ANDROID/DEVICE-factory-BUILD.zip

Both are served under the same addresses: a path is asked for without its first folder.
"""

import os
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Protocol

from backup.drills.checks import File, NotJudged
from backup.drills.serving import url


class Git(Protocol):
    """Runs git on some repository; returns what it prints, and raises what its owner raises."""

    def __call__(self, *words: str, stdin: bytes = b"") -> bytes: ...


PUBLIC, METADATA, PUBLICATIONS = "public", "metadata", "publications"
"""Packages and their checksums; a commit of the metadata repository; the manifests of what was published."""
CHANNEL = re.compile(r"metadata/(?:ota|factory)/([A-Za-z0-9_]+)/\1-([A-Za-z0-9-]+)")
FOLDER = re.compile(r"(?:public|metadata)/(?:ota|factory)/([A-Za-z0-9_]+)")
LINE = re.compile(r"(\S+) ([0-9]{1,15}) (\S+)\n?")
SUM = re.compile(r"([0-9a-f]{64})(?: [ *](\S+))?\s*")
SHA256SUM = ".sha256sum"
FACTORY, BASE = "factory", "oldstable"
"""Channels that no phone is on: factory images, and the builds that incrementals begin at."""
PHONES = ("stable", "beta", "security-express", "testing")
CHANNELS = (*PHONES, "otatest", FACTORY, BASE)


@dataclass(frozen=True)
class Offer:
    """A line of metadata. timestamp in Unix seconds."""

    build: str
    timestamp: int
    android: str

    @classmethod
    def parse(cls, text: str) -> "Offer":
        """Raises ValueError."""
        found = LINE.fullmatch(text)
        if not found:
            raise ValueError(f"is not one line BUILD TIMESTAMP ANDROID: {text[:60]!r}")
        return cls(found[1], int(found[2]), found[3])

    @property
    def line(self) -> str:
        return f"{self.build} {self.timestamp} {self.android}\n"


@dataclass(frozen=True)
class Channel:
    """A device's channel. path: of its metadata, below the plan's root."""

    device: str
    name: str
    path: str

    def package(self, offer: Offer) -> str:
        """What it promises: the full OTA, or the factory image."""
        kind, part = ("factory", "factory") if self.name == FACTORY else ("ota", "ota_update")
        return f"{PUBLIC}/{kind}/{self.device}/{offer.android}/{self.device}-{part}-{offer.build}.zip"

    def incremental(self, offer: Offer, installed: str) -> str:
        """What a phone with that build asks for first."""
        folder = f"{PUBLIC}/ota/{self.device}/{offer.android}"
        return f"{folder}/{self.device}-incremental-{installed}-{offer.build}.zip"

    def installed(self, offer: Offer, paths: Iterable[str]) -> list[str]:
        """Builds that an incremental leads from to this one."""
        before, _, after = self.incremental(offer, "*").partition("*")
        return sorted(one[len(before) : -len(after)] for one in paths if one.startswith(before) and one.endswith(after))


def channels(files: Iterable[File]) -> list[Channel]:
    """Every device's channels, by their paths."""
    found = [(CHANNEL.fullmatch(file.path), file.path) for file in files if file.type == "file"]
    return [Channel(match[1], match[2], path) for match, path in sorted(found, key=lambda one: one[1]) if match]


def devices(files: Iterable[File]) -> dict[str, list[str]]:
    """Files of each device that has a folder, empty or not."""
    found: dict[str, list[str]] = {}
    for file in files:
        if match := FOLDER.match(f"{file.path}/"):
            mine = found.setdefault(match[1], [])
            if file.type == "file":
                mine.append(file.path)
    return {name: sorted(paths) for name, paths in sorted(found.items())}


def device_of(path: str) -> str:
    """Whose file it is; empty for one of all devices."""
    match = FOLDER.match(f"{path}/")
    return match[1] if match else ""


def asked(path: str) -> str:
    """What is below the plan's root as it is asked for."""
    return url(path.partition("/")[2])


def artifacts(files: Sequence[File]) -> list[File]:
    """Packages and whatever else has a checksum beside it."""
    paths = {file.path for file in files}
    return [
        file
        for file in files
        if file.type == "file" and (file.path.endswith(".zip") or f"{file.path}{SHA256SUM}" in paths)
    ]


def needed(saved: Sequence[File], read: Callable[[str], bytes]) -> frozenset[str]:
    """What every drill restores of an archive too large to be restored whole: metadata, changelogs, manifests,
    checksums, and of each current channel the full and incremental OTAs and the factory image that it points to."""
    files = [file.path for file in saved if file.type == "file"]
    small = {path for path in files if path.endswith(SHA256SUM) or not path.startswith(f"{PUBLIC}/")}
    return frozenset(small) | current(saved, read)


def current(saved: Sequence[File], read: Callable[[str], bytes]) -> frozenset[str]:
    """The packages that current channels point to; none for a channel whose metadata is none: a check tells that."""
    paths = {file.path for file in saved if file.type == "file"}
    found = set()
    for channel in channels(saved):
        if channel.name == BASE:
            continue
        try:
            offer = Offer.parse(read(channel.path).decode(errors="replace"))
        except ValueError:
            continue
        found.add(channel.package(offer))
        if channel.name != FACTORY:
            found |= {channel.incremental(offer, old) for old in channel.installed(offer, paths)}
    return frozenset(found & paths)


def checksum(text: str) -> str:
    """Of `HASH  NAME` or a bare hash, with or without an end of line. Raises ValueError."""
    return named_checksum(text)[0]


def named_checksum(text: str) -> tuple[str, str]:
    """The hash, and the name beside it, empty for a bare hash. Raises ValueError."""
    found = SUM.fullmatch(text)
    if not found:
        raise ValueError(f"is neither HASH  NAME nor a bare hash: {text[:80]!r}")
    return found[1], found[2] or ""


def recorded(repository: Path) -> Mapping[str, str]:
    """The list of checksums that is kept in a git repository, one file an artifact: hash by the artifact's file name.

    Raises NotJudged when it cannot be read, or holds none.
    """
    wanted = (SHA256SUM, ".sha256", ".zip")
    found: dict[str, str] = {}
    for path, content in blobs(partial(_git, repository), "HEAD", lambda path: path.endswith(wanted)).items():
        file = PurePosixPath(path).name
        try:
            found[file.removesuffix(SHA256SUM).removesuffix(".sha256")] = checksum(content.decode(errors="replace"))
        except ValueError:
            continue  # one that says nothing is as one that is not there: told as unknown
    if not found:
        raise NotJudged(f"{repository}: holds no checksum")
    return found


def blobs(git: Git, commit: str, wanted: Callable[[str], bool] = lambda _: True) -> dict[str, bytes]:
    """Content of a commit's regular files by path, of those that are wanted; git: runs it on a repository."""
    listed = git("ls-tree", "-r", "-z", commit).split(b"\0")[:-1]
    entries = [(facts.split(b" "), os.fsdecode(path)) for facts, path in (line.split(b"\t", 1) for line in listed)]
    chosen = [(facts[2], path) for facts, path in entries if facts[0].startswith(b"100") and wanted(path)]
    content = git("cat-file", "--batch", stdin=b"".join(blob + b"\n" for blob, _ in chosen))
    found, at = {}, 0
    for _, path in chosen:
        end = content.index(b"\n", at)
        size = int(content[at:end].split(b" ")[2])
        found[path] = content[end + 1 : end + 1 + size]
        at = end + size + 2
    return found


def _git(repository: Path, *words: str, stdin: bytes = b"") -> bytes:
    done = subprocess.run(["git", "--git-dir", repository, *words], input=stdin, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise NotJudged(f"{repository}: the checksums cannot be read: git {words[0]}: {said}")
    return done.stdout
