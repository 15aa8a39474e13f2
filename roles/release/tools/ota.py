"""Whether one package is what its path says, whole, and signed so that the phones of its device take it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.x509 import Certificate

from roles.release.archive import SHA256SUM, named_checksum
from roles.release.tools import ota_metadata, payload, signature
from roles.release.tools.layout import Kind, Named
from roles.release.tools.ota_metadata import METADATA, PAYLOAD, PROPERTIES, Metadata
from roles.release.tools.package import Hear, Reading, read
from roles.release.tools.problems import Damaged, Problem, Unknown

SUM_BYTES = 1 << 10


@dataclass(frozen=True)
class Package:
    """A package as it was read. size in bytes; base: of an incremental; timestamp (Unix seconds), patch_level and
    post_build are its own metadata's, which a factory image has none of."""

    path: str
    kind: Kind
    device: str
    android: str
    build: str
    base: str
    size: int
    sha256: str
    timestamp: int | None = None
    patch_level: str = ""
    post_build: str = ""
    pre_build: str = ""


@dataclass(frozen=True)
class Examined:
    """What came of one package: none that could be read has no Package."""

    package: Package | None
    problems: tuple[Problem, ...] = ()
    unknowns: tuple[Unknown, ...] = ()


def small(path: Path, limit: int) -> bytes:
    """A small file that may be hostile: no link is followed, nothing waited for. Raises OSError, and Damaged when it is
    larger than that many bytes."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        content = file.read(limit + 1) or b""
    if len(content) > limit:
        raise Damaged("file", f"more than {limit:,} bytes", f"at most {limit:,}")
    return content


def unreadable(path: str, error: OSError) -> Problem:
    """For a file that the system refuses."""
    return Problem(path, "file", f"what cannot be read: {(error.strerror or str(error)).lower()}", "a file")


def examine(folder: Path, named: Named, certificate: Certificate | None, has_sum: bool, hear: Hear) -> Examined:
    """Reads a package once and judges all that it says by itself. certificate: None when its lack is told already, or
    for a factory image. Raises what hear raises, and nothing else."""
    try:
        reading = read(folder / named.path, hear)
    except Damaged as error:
        return Examined(None, (error.of(named.path),))
    except OSError as error:
        return Examined(None, (unreadable(named.path, error),))
    problems = [error.of(named.path) for error in reading.damage]
    problems += _sum(folder, named.path, reading.sha256) if has_sum else []
    facts = (named.path, named.kind, named.device, named.android, named.build, named.base, reading.size, reading.sha256)
    if named.kind == "factory" or not reading.directory:
        return Examined(Package(*facts), tuple(problems))
    told = None
    try:
        told = _metadata(reading)
    except Damaged as error:
        problems.append(error.of(named.path))
    problems += [error.of(named.path) for error in _judge(reading, named, told, certificate)]
    unknowns = ota_metadata.other_build(told, named.build, named.base) if told else ()
    package = Package(
        *facts,
        timestamp=told.timestamp if told else None,
        patch_level=told.patch_level if told else "",
        post_build=told.get("post-build") if told else "",
        pre_build=told.get("pre-build") if told else "",
    )
    return Examined(package, tuple(problems), tuple(Unknown(named.path, what) for what in unknowns))


def _sum(folder: Path, path: str, sha256: str) -> list[Problem]:
    """What is wrong with the checksum beside it, in either of its forms."""
    beside = f"{path}{SHA256SUM}"
    try:
        said, name = named_checksum(small(folder / beside, SUM_BYTES).decode(errors="replace"))
    except ValueError as error:
        return [Damaged("checksum", f"what {error}", "HASH  NAME").of(beside)]
    except Damaged as error:
        return [error.of(beside)]
    except OSError as error:
        return [unreadable(beside, error)]
    found = []
    if name and name != Path(path).name:
        found.append(Damaged("checksum", f"the name {name}", Path(path).name).of(beside))
    if said != sha256:
        found.append(Damaged("checksum", said, f"{sha256}, the package's own").of(beside))
    return found


def _metadata(reading: Reading) -> Metadata:
    if METADATA not in reading.kept:
        raise Damaged("metadata", f"no {METADATA} that can be read", "it: this is no OTA package")
    return Metadata(ota_metadata.lines(reading.kept[METADATA], "metadata"))


def _judge(reading: Reading, named: Named, told: Metadata | None, certificate: Certificate | None) -> Iterator[Damaged]:
    assert reading.directory
    if told:
        yield from ota_metadata.judge(told, named.device, named.build, named.base)
        yield from ota_metadata.property_files(
            told, reading.directory, reading.payload.header.total if reading.payload else None
        )
    yield from _payload(reading)
    if certificate:
        try:
            signature.verify(reading.directory.comment, reading.signed, certificate)
        except Damaged as error:
            yield error


def _payload(reading: Reading) -> Iterator[Damaged]:
    assert reading.directory
    if not reading.directory.get(PAYLOAD):
        yield Damaged(PAYLOAD, "none", "the payload that phones install")
    if PROPERTIES not in reading.kept:
        if not reading.directory.get(PROPERTIES):
            yield Damaged(PROPERTIES, "none", "FILE_HASH, FILE_SIZE, METADATA_HASH, METADATA_SIZE")
        return
    try:
        said = ota_metadata.lines(reading.kept[PROPERTIES], PROPERTIES)
    except Damaged as error:
        yield error
        return
    if there := reading.payload:
        yield from payload.judge(said, there.size, there.sha256, there.header, there.metadata_sha256)
