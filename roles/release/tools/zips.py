"""What a zip says it holds, believed only where all its records agree. Format: PKWARE's APPNOTE 6.3.

Every byte of the file must belong to a member, the central directory or the end record: programs that read a zip from
its begin and others that read it from its end then see the same. Only small parts are read here; the members' bytes are
for whoever streams the file.
"""

import stat
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from roles.release.tools.problems import Damaged, shown

Read = Callable[[int, int], bytes]
"""Bytes at an offset, at most so many; fewer only at the end of the file."""

MEMBERS, NAME_BYTES, DIRECTORY_BYTES = 10_000, 512, 8 << 20
MEMBER_BYTES, TOTAL_BYTES = 16 << 30, 64 << 30
RATIO, ANY_RATIO_BYTES = 250, 16 << 20
"""How many times its packed size a member may have, if it is larger than so many bytes."""
STORED, DEFLATED = 0, 8
ENCRYPTED, DESCRIPTOR = 1 << 0, 1 << 3
END = struct.Struct("<4s4H2LH")
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR = struct.Struct("<4sLQL")
CENTRAL = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")
END_MARK = b"PK\5\6"
FULL2, FULL4 = 0xFFFF, 0xFFFFFFFF
COMMENT_BYTES = 0xFFFF


@dataclass(frozen=True)
class Member:
    """One file in a zip. header, data: offsets of its local header and of its bytes, of which there are `packed`; crc
    and size are those of the unpacked content."""

    name: str
    method: int
    flags: int
    crc: int
    packed: int
    size: int
    header: int
    data: int = 0

    @property
    def end(self) -> int:
        return self.data + self.packed


@dataclass(frozen=True)
class Directory:
    """Members in the order of their bytes. start: of the central directory; end: of the end record."""

    members: tuple[Member, ...]
    start: int
    end: int
    comment: bytes

    def get(self, name: str) -> Member | None:
        return next((one for one in self.members if one.name == name), None)


def directory(read: Read, size: int) -> Directory:
    """Reads and compares all records of a zip of that many bytes. Raises Damaged."""
    end, comment = _end(read, size)
    (_, disk, of_disk, here, count, length, start, _) = END.unpack(read(end, END.size))
    stop = end
    if FULL2 in (here, count) or FULL4 in (length, start):
        stop, (disk, of_disk, here, count, length, start) = _end64(
            read, end, (disk, of_disk, here, count, length, start)
        )
    if (disk, of_disk) != (0, 0) or here != count:
        raise Damaged("zip", "a zip in several parts", "one file")
    if not 0 < count <= MEMBERS:
        raise Damaged("zip", f"{count:,} members", f"1 to {MEMBERS:,}")
    if length > DIRECTORY_BYTES:
        raise Damaged("zip", f"a central directory of {length:,} bytes", f"at most {DIRECTORY_BYTES:,}")
    if start + length != stop:
        raise Damaged("zip", f"a central directory at {start:,} of {length:,} bytes", f"one that ends at {stop:,}")
    entries = list(_entries(_exactly(read, start, length), count))
    names = {one.name for one in entries}
    if len(names) < len(entries):
        twice = next(one.name for number, one in enumerate(entries) if one.name in {it.name for it in entries[:number]})
        raise Damaged("zip", f"{shown(twice)} more than once", "each name once")
    total = sum(one.size for one in entries)
    if total > TOTAL_BYTES:
        raise Damaged("zip", f"{total:,} bytes of content", f"at most {TOTAL_BYTES:,}")
    return Directory(_laid(read, entries, start), start, end, comment)


def _end(read: Read, size: int) -> tuple[int, bytes]:
    """Where the end record is, and the comment."""
    if size < END.size:
        raise Damaged("zip", f"a file of {size:,} bytes", "a zip")
    from_ = max(0, size - END.size - COMMENT_BYTES)
    tail = _exactly(read, from_, size - from_)
    at = tail.find(END_MARK)
    while at >= 0:
        if at + END.size <= len(tail) and at + END.size + END.unpack_from(tail, at)[-1] == len(tail):
            break
        at = tail.find(END_MARK, at + 1)
    else:
        raise Damaged("zip", "no end record", "a zip that is whole: it was cut, or bytes follow it")
    if END_MARK in tail[at + 4 :]:
        raise Damaged("zip", "a second end record in the comment", "one: a phone's recovery refuses it")
    return from_ + at, tail[at + END.size :]


def _end64(read: Read, end: int, plain: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Where the end record of a large zip is, and its fields, of which those of the plain one must be no other."""
    at = end - LOCATOR.size - END64.size
    if at < 0:
        raise Damaged("zip", "sizes of a large zip, and no room for its end record", "a zip64 end record")
    mark, disk, offset, disks = LOCATOR.unpack(_exactly(read, end - LOCATOR.size, LOCATOR.size))
    if mark != b"PK\6\7" or disk or disks != 1 or offset != at:
        raise Damaged("zip", "a zip64 locator that points nowhere", f"the zip64 end record at {at:,}")
    mark, length, _, _, *fields = END64.unpack(_exactly(read, at, END64.size))
    if mark != b"PK\6\6" or length != END64.size - 12:
        raise Damaged("zip", "no zip64 end record where its locator points", "one")
    for number, (small, large) in enumerate(zip(plain, fields, strict=True)):
        if small not in (large, FULL4 if number > 3 else FULL2):
            raise Damaged("zip", f"{small:,} in the end record, {large:,} in that of zip64", "the same")
    return at, tuple(fields)


def _entries(block: bytes, count: int) -> Iterator[Member]:
    """The central directory."""
    at = 0
    for _ in range(count):
        if at + CENTRAL.size > len(block) or block[at : at + 4] != b"PK\1\2":
            raise Damaged("zip", "a central directory that is cut short", f"{count:,} members")
        (_, made, _, flags, method, _, _, crc, packed, size, name_, extra_, comment_, disk, _, mode, header) = (
            CENTRAL.unpack_from(block, at)
        )
        after = at + CENTRAL.size + name_ + extra_ + comment_
        if after > len(block):
            raise Damaged("zip", "a central directory that is cut short", f"{count:,} members")
        name = _name(block[at + CENTRAL.size : at + CENTRAL.size + name_])
        extra = block[at + CENTRAL.size + name_ : after - comment_]
        size, packed, header = _large(name, extra, size, packed, header)
        if made >> 8 == 3 and stat.S_IFMT(mode >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise Damaged("zip", f"{name} is a link or a device", "files and folders")
        if disk:
            raise Damaged("zip", f"{name} in another part", "one file")
        yield _affordable(Member(name, method, flags, crc, packed, size, header))
        at = after
    if at != len(block):
        raise Damaged("zip", f"{len(block) - at:,} bytes after the last of the central directory", "none")


def _name(raw: bytes) -> str:
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        raise Damaged("zip", f"a member {shown(raw)}", "a name in UTF-8") from None
    parts = name.removesuffix("/").split("/")
    if not 0 < len(raw) <= NAME_BYTES:
        raise Damaged("zip", f"a member's name of {len(raw):,} bytes", f"1 to {NAME_BYTES}")
    if "\\" in name or not name.isprintable() or not {"", ".", ".."}.isdisjoint(parts):
        raise Damaged("zip", f"a member {shown(name)!r}", "a plain path below the zip's root")
    return name


def _large(name: str, extra: bytes, *fields: int) -> tuple[int, ...]:
    """Sizes and offset, those that do not fit from the extra field of zip64, in its order."""
    if FULL4 not in fields:
        return fields
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            there = extra[at + 4 : at + 4 + length]
            wide = struct.unpack_from(f"<{len(there) // 8}Q", there)
            if len(wide) < fields.count(FULL4):
                break
            left = iter(wide)
            return tuple(next(left) if one == FULL4 else one for one in fields)
        at += 4 + length
    raise Damaged("zip", f"{name} without the sizes that zip64 promises", "its zip64 field")


def _affordable(one: Member) -> Member:
    if one.flags & ENCRYPTED:
        raise Damaged("zip", f"{one.name} is encrypted", "no encryption")
    if one.method not in (STORED, DEFLATED):
        raise Damaged("zip", f"{one.name} packed by method {one.method}", "stored or deflated")
    if one.method == STORED and one.packed != one.size:
        raise Damaged("zip", f"{one.name} stored: {one.packed:,} bytes for {one.size:,}", "the same")
    if one.name.endswith("/") and one.size:
        raise Damaged("zip", f"{one.name}, a folder with content", "an empty one")
    if one.size > MEMBER_BYTES:
        raise Damaged("zip", f"{one.name} of {one.size:,} bytes", f"at most {MEMBER_BYTES:,}")
    if one.size > ANY_RATIO_BYTES and one.size > one.packed * RATIO:
        raise Damaged("zip", f"{one.name}: {one.packed:,} bytes become {one.size:,}", f"at most {RATIO} times as many")
    return one


def _laid(read: Read, entries: list[Member], start: int) -> tuple[Member, ...]:
    """Members in the order of their bytes, each held against its local header; no gap, no overlap."""
    entries.sort(key=lambda one: one.header)
    found = []
    at = 0
    for number, one in enumerate(entries):
        if one.header < at:
            raise Damaged("zip", f"{one.name} at {one.header:,} overlaps what ends at {at:,}", "members apart")
        if one.header > at:
            raise Damaged("zip", f"{one.header - at:,} bytes before {one.name} that are no member's", "none")
        laid, filled = _local(read, one, start)
        until = entries[number + 1].header if number + 1 < len(entries) else start
        if laid.end > start:
            raise Damaged("zip", f"{one.name} runs into the central directory", "members before it")
        at = laid.end + _descriptor(read, laid, until, filled=filled)
        found.append(laid)
    if at != start:
        raise Damaged("zip", f"{start - at:,} bytes before the central directory that are no member's", "none")
    return tuple(found)


def _local(read: Read, one: Member, start: int) -> tuple[Member, bool]:
    """The member with the place of its bytes, and whether its local header has its crc and sizes."""
    if one.header + LOCAL.size > start:
        raise Damaged("zip", f"{one.name} at {one.header:,}, in the central directory", "members before it")
    raw = _exactly(read, one.header, LOCAL.size)
    mark, _, flags, method, _, _, crc, packed, size, name_, extra_ = LOCAL.unpack(raw)
    if mark != b"PK\3\4":
        raise Damaged("zip", f"no local header of {one.name} at {one.header:,}", "one")
    rest = _exactly(read, one.header + LOCAL.size, name_ + extra_)
    if rest[:name_] != one.name.encode():
        raise Damaged("zip", f"{shown(rest[:name_])} in the local header of {one.name}", "the same name")
    watched = ENCRYPTED | DESCRIPTOR
    if (flags & watched, method) != (one.flags & watched, one.method):
        raise Damaged("zip", f"{one.name}: its local header has another method or flags", "the same")
    size, packed = _large(one.name, rest[name_:], size, packed)
    filled = (crc, packed, size) == (one.crc, one.packed, one.size)
    if not filled and not (flags & DESCRIPTOR and (crc, packed, size) == (0, 0, 0)):
        words = f"{one.name}: its local header says crc {crc:08x}, {packed:,} and {size:,} bytes"
        raise Damaged("zip", words, f"crc {one.crc:08x}, {one.packed:,} and {one.size:,}, as the central directory")
    return replace(one, data=one.header + LOCAL.size + len(rest)), filled


def _descriptor(read: Read, one: Member, until: int, *, filled: bool) -> int:
    """Bytes of what follows a member that was written as a stream."""
    if not one.flags & DESCRIPTOR or (filled and until == one.end):
        return 0
    plain = struct.pack("<3L", one.crc, one.packed & FULL4, one.size & FULL4)
    wide = struct.pack("<L2Q", one.crc, one.packed, one.size)
    there = read(one.end, max(0, min(until - one.end, 24)))
    for form in (b"PK\7\x08" + wide, wide, b"PK\7\x08" + plain, plain):
        if there == form:
            return len(form)
    raise Damaged(
        "zip", f"{one.name}: the record after it is not its own", "the crc and sizes of the central directory"
    )


def _exactly(read: Read, at: int, size: int) -> bytes:
    there = read(at, size)
    if len(there) != size:
        raise Damaged("zip", f"{len(there):,} bytes at {at:,}", f"{size:,}: the file is cut")
    return there
