"""A package read once, as a stream: all that is judged of its bytes comes of the same reading."""

import hashlib
import os
import stat
import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from roles.release.tools import payload, zips
from roles.release.tools.ota_metadata import METADATA, PAYLOAD, PROPERTIES
from roles.release.tools.problems import Damaged
from roles.release.tools.signature import signed_bytes

BLOCK = 2 << 20
"""Bytes at a time: enough that hashing them outweighs handing them over, few enough for a processor's cache."""
UNPACKED = 1 << 20
KEPT = (METADATA, PROPERTIES)
KEPT_BYTES = 64 << 10
PACKAGE_BYTES = 16 << 30
Hear = Callable[[int], None]
"""Told of bytes that were read; may raise to end the reading."""


class Digest(Protocol):
    """A hash that can be copied on its way."""

    def update(self, data: memoryview, /) -> None: ...
    def digest(self) -> bytes: ...
    def copy(self) -> "Digest": ...


@dataclass(frozen=True)
class Payload:
    """payload.bin as it was read."""

    size: int
    sha256: bytes
    header: payload.Header
    metadata_sha256: bytes


@dataclass(frozen=True)
class Reading:
    """A package as it was read. signed: SHA-256 of what its signature is of; kept: content of its small members;
    damage: all that does not fit together within the file. Without a directory there is only the whole file's hash."""

    size: int
    sha256: str
    directory: zips.Directory | None
    signed: bytes
    kept: Mapping[str, bytes]
    payload: Payload | None
    damage: tuple[Damaged, ...]


class Marked:
    """SHA-256 of all that comes, and of what came up to each mark, an offset."""

    def __init__(self, *marks: int) -> None:
        self.hash: Digest = hashlib.sha256()
        self.at = 0
        self.left = sorted(marks)
        self.digests: dict[int, bytes] = {}

    def update(self, view: memoryview) -> None:
        while self.left and self.left[0] <= self.at + len(view):
            mark = self.left.pop(0)
            self.hash.update(view[: mark - self.at])
            view, self.at = view[mark - self.at :], mark
            self.digests[mark] = self.hash.copy().digest()
        self.hash.update(view)
        self.at += len(view)


class Member:
    """A member as its bytes stream by: crc, size, and what it unpacks to."""

    def __init__(self, one: zips.Member, *, keep: bool, marked: Marked | None = None) -> None:
        self.one, self.marked = one, marked
        self.keeps, self.content = keep, bytearray()
        self.crc = self.size = 0
        self.inflate = zlib.decompressobj(-zlib.MAX_WBITS) if one.method == zips.DEFLATED else None
        self.damage: Damaged | None = None

    def feed(self, view: memoryview) -> None:
        """Never unpacks more than the member declares, and no more than a part at a time."""
        if self.damage:
            return
        if not self.inflate:
            self._take(view)
            return
        rest: bytes | memoryview = view
        if self.inflate.eof:
            self._is("bytes after the end of its deflated stream", "none")
            return
        try:
            while (part := self.inflate.decompress(rest, UNPACKED)) or self.inflate.unconsumed_tail:
                self._take(memoryview(part))
                rest = self.inflate.unconsumed_tail
                if self.size > self.one.size:
                    self._is(f"more than {self.one.size:,} bytes unpacked", "as many as it declares")
                    return
        except zlib.error:
            self._is("bytes that do not unpack", "deflated ones")

    def finish(self) -> None:
        """All has come."""
        if self.damage:
            return
        if self.inflate and (not self.inflate.eof or self.inflate.unused_data):
            self._is("packed bytes that end too early or too late", "one deflated stream")
        elif self.size != self.one.size:
            self._is(f"{self.size:,} bytes unpacked", f"{self.one.size:,}, as it declares")
        elif self.crc != self.one.crc:
            self._is(f"crc {self.crc:08x}", f"{self.one.crc:08x}: its bytes were changed")

    def _take(self, view: memoryview) -> None:
        self.crc = zlib.crc32(view, self.crc)
        self.size += len(view)
        if self.marked:
            self.marked.update(view)
        if self.keeps and len(self.content) <= KEPT_BYTES:
            self.content += view

    def _is(self, found: str, expected: str) -> None:
        self.damage = Damaged(f"zip {self.one.name}", found, expected)


def read(path: Path, hear: Hear) -> Reading:
    """Reads a package once from begin to end, and before that the few records that say what is where in it.

    Memory is some MB whatever the file says. Raises OSError, and Damaged for what is no file or changed meanwhile.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        begun = os.fstat(handle)
        if not stat.S_ISREG(begun.st_mode):
            raise Damaged("file", "no regular file", "one")
        if begun.st_size > PACKAGE_BYTES:
            raise Damaged("file", f"{begun.st_size:,} bytes", f"at most {PACKAGE_BYTES:,}")
        found = _read(handle, begun.st_size, hear)
        ended = os.fstat(handle)
        if (begun.st_size, begun.st_ctime_ns) != (ended.st_size, ended.st_ctime_ns):
            raise Damaged("file", "other bytes than at the begin of the check", "a release that nobody writes to")
        return found
    finally:
        os.close(handle)


def _read(handle: int, size: int, hear: Hear) -> Reading:
    def at(offset: int, length: int) -> bytes:
        return os.pread(handle, length, offset)

    damage: list[Damaged] = []
    try:
        directory = zips.directory(at, size)
    except Damaged as error:
        directory = None
        damage.append(error)
    boundary = signed_bytes(directory) if directory else 0
    whole = Marked(boundary)
    members: list[Member] = []
    head = None
    for one in directory.members if directory else ():
        marked = None
        if one.name == PAYLOAD:
            try:
                head = _header(at, one)
                marked = Marked(head.metadata)
            except Damaged as error:
                damage.append(error)
        if one.name in KEPT and one.size > KEPT_BYTES:
            damage.append(Damaged(f"zip {one.name}", f"{one.size:,} bytes", f"at most {KEPT_BYTES:,}"))
        members.append(Member(one, keep=one.name in KEPT and one.size <= KEPT_BYTES, marked=marked))
    _stream(handle, size, whole, members, hear)
    for member in members:
        member.finish()
    damage += [member.damage for member in members if member.damage]
    good = {member.one.name: member for member in members if not member.damage}
    kept = {name: bytes(one.content) for name, one in good.items() if one.keeps}
    mine = good.get(PAYLOAD)
    there = None
    if mine and mine.marked and head:
        marked = mine.marked
        there = Payload(mine.size, marked.hash.digest(), head, marked.digests[head.metadata])
    digest = whole.hash.digest().hex()
    return Reading(size, digest, directory, whole.digests.get(boundary, b""), kept, there, tuple(damage))


def _header(at: zips.Read, one: zips.Member) -> payload.Header:
    if one.method != zips.STORED:
        raise Damaged("payload.bin", "packed", "stored: phones read it from within the package")
    return payload.header(at(one.data, min(one.size, payload.HEADER.size)), one.size)


def _stream(handle: int, size: int, whole: Marked, members: Sequence[Member], hear: Hear) -> None:
    """Each block goes through the whole file's hash and, at the same time, through what is in the zip."""
    buffer = memoryview(bytearray(min(BLOCK, max(size, 1))))
    left = deque(members)
    at = 0
    with ThreadPoolExecutor(1) as other:
        while at < size:
            count = os.readv(handle, [buffer[: size - at]])
            if not count:
                raise Damaged("file", f"{at:,} bytes", f"{size:,}, as at the begin of the check")
            view = buffer[:count]
            inside = other.submit(_feed, left, view, at)
            whole.update(view)
            inside.result()
            at += count
            hear(count)


def _feed(left: deque[Member], view: memoryview, at: int) -> None:
    """What of a block at that offset is whose; left: members that have not had all of theirs."""
    until = at + len(view)
    while left and left[0].one.data < until:
        member = left[0]
        member.feed(view[max(member.one.data - at, 0) : min(member.one.end, until) - at])
        if member.one.end > until:
            return
        left.popleft()
