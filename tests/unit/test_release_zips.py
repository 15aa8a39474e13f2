"""A zip is believed only where all its records agree, and no file makes its reader fail in another way."""

import io
import random
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import release_build
from roles.release.tools import der, signature, zips
from roles.release.tools.layout import named
from roles.release.tools.ota import examine
from roles.release.tools.ota_metadata import lines
from roles.release.tools.package import read
from roles.release.tools.payload import header
from roles.release.tools.problems import Damaged
from tests.unit.releases import FULL, NEW

A, B = b"one member " * 10, b"and another one " * 10


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as package:
        for name, content in members:
            package.writestr(zipfile.ZipInfo(name), content, method)
    return out.getvalue()


PLAIN = zipped(("a", A), ("b", B))
CENTRAL, END = PLAIN.index(b"PK\1\2"), PLAIN.index(b"PK\5\6")
SECOND = PLAIN.index(b"PK\3\4", 4)


def directory(data: bytes) -> zips.Directory:
    return zips.directory(lambda at, size: data[at : at + size], len(data))


def put(at: int, new: bytes) -> bytes:
    return PLAIN[:at] + new + PLAIN[at + len(new) :]


def named_as(name: bytes) -> bytes:
    """Both records say it."""
    return zipped(("n" * len(name), A)).replace(b"n" * len(name), name)


def test_what_others_write_is_read(tmp_path: Path) -> None:
    """Deflated, as a stream, with zip64 records that nobody needed, folders."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: object) -> int:
            raise io.UnsupportedOperation

        def tell(self) -> int:
            raise io.UnsupportedOperation

    streamed = Pipe()
    with zipfile.ZipFile(streamed, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("folder/", b"")
        package.writestr("folder/a", A)
        package.writestr("b", B, zipfile.ZIP_STORED)
    large = io.BytesIO()
    with zipfile.ZipFile(large, "w") as package, package.open("a", "w", force_zip64=True) as member:
        member.write(A)
    for data, names in ((streamed.getvalue(), ["folder/", "folder/a", "b"]), (large.getvalue(), ["a"])):
        found = directory(data)
        assert [one.name for one in found.members] == names
        (tmp_path / "x.zip").write_bytes(data)
        assert read(tmp_path / "x.zip", lambda _: None).damage == ()


def zip64(count: int = 2, offset: int = CENTRAL, of_end: int | None = None, plain: int = 0xFFFF) -> bytes:
    """The plain zip with the end record of a large one."""
    size = END - CENTRAL
    end = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
    end += struct.pack("<4sLQL", b"PK\6\7", 0, END if of_end is None else of_end, 1)
    return PLAIN[:END] + end + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, plain, plain, size, 0xFFFFFFFF, 0)


def test_the_end_record_of_a_large_zip_is_read() -> None:
    assert directory(zip64()).members == directory(PLAIN).members


def central(name: bytes, header: int, packed: int, size: int, extra: bytes = b"", method: int = 8) -> bytes:
    """An entry of a central directory."""
    fixed = (b"PK\1\2", 20, 20, 0, method, 0, 33, 0, packed, size, len(name), len(extra), 0, 0, 0, 0, header)
    return struct.pack("<4s6H3L5H2L", *fixed) + name + extra


def only_central(*entries: bytes) -> bytes:
    """A zip that is nothing else."""
    block = b"".join(entries)
    return block + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, len(entries), len(entries), len(block), 0, 0)


FULL4 = 0xFFFFFFFF
WIDE = struct.pack("<2HQ", 1, 8, 1 << 40)
MANY = zipped(*((str(number), b"") for number in range(zips.MEMBERS + 1)))
LIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "found a file of 0 bytes"),
    "no zip": (b"x" * 100, "found no end record"),
    "empty": (zipped(), "found 0 members"),
    "a cut one": (PLAIN[:-1], "found no end record"),
    "a cut front": (PLAIN[10:], "found a central directory at"),
    "bytes before it": (b"#!/bin/sh\n" + PLAIN, "found a central directory at"),
    "bytes between": (PLAIN[:SECOND] + b"gap" + PLAIN[SECOND:], "found a central directory at"),
    "parts": (put(END + 4, b"\1"), "found a zip in several parts"),
    "another count": (put(END + 8, b"\1\0\1\0"), "bytes after the last of the central directory"),
    "more than there are": (put(END + 8, b"\3\0\3\0"), "found a central directory that is cut short"),
    "too many": (MANY, "found 10,001 members"),
    "another begin": (put(END + 16, struct.pack("<L", CENTRAL - 1)), "found a central directory at"),
    "a second end": (
        PLAIN[:-2] + struct.pack("<H", 22) + PLAIN[END:],
        "found a second end record in the comment",
    ),
    "the same name": (PLAIN.replace(b"b" + B, b"a" + B).replace(b"\0\0\0b", b"\0\0\0a"), "found a more than once"),
    "an overlap": (
        put(CENTRAL + 47 + 42, b"\0\0\0\0").replace(b"PK\3\4\x14\0\0\0\0\0\0\0\0\0", b"PK\3\4\x14\0\0\0\0\0\0\0\0\0"),
        "overlaps",
    ),
    "a gap": (
        put(CENTRAL + 42, b"\1\0\0\0"),
        "found 1 bytes before a that are no member's",
    ),
    "a member in the directory": (put(CENTRAL + 47 + 42, struct.pack("<L", END)), "that are no member's"),
    "another name": (put(30, b"x"), "found x in the local header of a"),
    "another crc": (put(14, b"xxxx"), "local header says crc 78787878"),
    "another size": (put(22, b"\1\0\0\0"), "its local header says crc"),
    "another method": (put(8, b"\x08\0"), "its local header has another method or flags"),
    "encrypted": (put(CENTRAL + 8, b"\1\0"), "found a is encrypted"),
    "an odd method": (put(CENTRAL + 10, b"\x0c\0"), "found a packed by method 12"),
    "two sizes": (put(CENTRAL + 24, b"\1\0\0\0"), "found a stored: 110 bytes for 1"),
    "no local header": (put(1, b"X"), "found no local header of a at 0"),
    "a link": (
        put(CENTRAL + 5, b"\3").replace(b"\0\0\x80\x01\0\0\0\0a", b"\0\0\xff\xa1\0\0\0\0a"),
        "found a is a link",
    ),
    "dots": (named_as(b"a/../../b"), r"found a member 'a/../../b'; expected a plain path"),
    "a root": (named_as(b"/etc/passwd"), "found a member '/etc/passwd'"),
    "a backslash": (named_as(b"..\\x"), "found a member"),
    "a newline": (named_as(b"a\nb"), "found a member 'a"),
    "a NUL": (named_as(b"a\0b"), "found a member 'a"),
    "no text": (named_as(b"\xff\xfe"), "expected a name in UTF-8"),
    "a long name": (zipped(("n" * 600, A)), "found a member's name of 600 bytes"),
    "a bomb": (
        zipped(("a", b"\0" * (17 << 20)), method=zipfile.ZIP_DEFLATED),
        "bytes become 17,825,792; expected at most",
    ),
    "large without its sizes": (put(CENTRAL + 20, b"\xff" * 8), "found a without the sizes that zip64 promises"),
    "a large end nowhere": (zip64(of_end=END + 1), "found a zip64 locator that points nowhere"),
    "a large end that lies": (zip64(count=3), "found a central directory that is cut short"),
    "two ends that differ": (zip64(plain=3), "found 3 in the end record, 2 in that of zip64"),
    "a large end outside": (zip64(offset=1 << 60), "found a central directory at"),
    "a large end that is none": (zip64().replace(b"PK\6\6", b"PK\6\5"), "no zip64 end record where its locator points"),
    "a huge directory": (
        b"\0" * (9 << 20) + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 9 << 20, 0, 0),
        "found a central directory of 9,437,184 bytes",
    ),
    "too much of it": (
        only_central(*(central(str(number).encode(), 0, 1 << 28, FULL4 - 1) for number in range(17))),
        "found 73,014,443,998 bytes of content",
    ),
    "a huge member": (only_central(central(b"a", 0, 1 << 31, FULL4, WIDE)), "found a of 1,099,511,627,776 bytes"),
    "a large member cut": (only_central(central(b"a", 0, FULL4, FULL4, WIDE)), "found a without the sizes"),
    "a name that is cut": (put(CENTRAL + 47 + 28, b"\xff"), "found a central directory that is cut short"),
    "another disk": (put(CENTRAL + 34, b"\1"), "found a in another part"),
    "a folder with content": (zipped(("a/", A)), "found a/, a folder with content"),
    "a member that runs over": (
        put(SECOND + 18, struct.pack("<2L", len(B) + 9, len(B) + 9)).replace(
            struct.pack("<2L", len(B), len(B)), struct.pack("<2L", len(B) + 9, len(B) + 9)
        ),
        "found b runs into the central directory",
    ),
    "no room for a header": (
        PLAIN[:SECOND] + PLAIN[CENTRAL:END] + PLAIN[END : END + 16] + struct.pack("<LH", SECOND, 0),
        "found b at 141, in the central directory",
    ),
    "a gap at the end": (
        PLAIN[:CENTRAL] + b"gap" + PLAIN[CENTRAL : END + 16] + struct.pack("<LH", CENTRAL + 3, 0),
        "found 3 bytes before the central directory that are no member's",
    ),
    "no room for a large end": (PLAIN[END : END + 8] + b"\xff" * 12 + b"\0\0", "no room for its end record"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_zip_whose_records_differ_is_refused(name: str) -> None:
    data, expected = LIES[name]
    with pytest.raises(Damaged) as error:
        directory(data)
    assert expected in str(error.value)


def test_a_file_that_shrinks_meanwhile_is_cut() -> None:
    with pytest.raises(Damaged, match="the file is cut"):
        zips.directory(lambda at, size: PLAIN[at : at + size], len(PLAIN) + 1)


def deflated(content: bytes, said: int, tail: bytes = b"") -> bytes:
    """A member whose records say another size than its bytes unpack to."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(content) + packer.flush() + tail
    crc = zlib.crc32(content)
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 33, crc, len(packed), said, 1, 0) + b"a"
    central = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 33, crc, len(packed), said, 1, 0, 0, 0, 0, 0, 0)
    start = len(local) + len(packed)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(central) + 1, start, 0)
    return local + packed + central + b"a" + end


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(
            deflated(b"\0" * (20 << 20), 1000), "more than 1,000 bytes unpacked", id="a bomb that says it is small"
        ),
        pytest.param(deflated(A, len(A) + 1), "110 bytes unpacked; expected 111", id="less than it says"),
        pytest.param(deflated(A, len(A), b"more"), "too early or too late", id="bytes after its end"),
        pytest.param(
            deflated(A, len(A), b"x" * (9 << 20)), "bytes after the end of its", id="many bytes after its end"
        ),
        pytest.param(
            deflated(A, len(A)).replace(b"\xcb\xcfKU", b"\xff\xff\xff\xff"), "do not unpack", id="no deflated ones"
        ),
    ],
)
def test_what_a_member_unpacks_to_is_what_it_declares(tmp_path: Path, data: bytes, expected: str) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        [damage] = read(path, lambda _: None).damage
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert expected in str(damage)


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> release_build.Signer:
    return release_build.signer(tmp_path_factory.mktemp("keys"), "panther")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory, signer: release_build.Signer) -> bytes:
    folder = tmp_path_factory.mktemp("package")
    return release_build.ota(folder / "ota/panther/16", "panther", NEW, signer, 30_000).read_bytes()


def mutated(chance: random.Random, data: bytes, places: list[int]) -> bytes:
    """A byte changed, bytes taken out, put in, or doubled; more often near one of the places."""
    at = (
        min(chance.choice(places) + chance.randrange(60), len(data) - 1)
        if chance.random() < 0.8
        else chance.randrange(len(data))
    )
    length = chance.choice((1, 1, 2, 4, 8, 100))
    new = chance.choice((b"", b"\0" * length, b"\xff" * length, chance.randbytes(length), data[at : at + length] * 2))
    return data[:at] + new + data[at + chance.choice((0, length, len(new))) :]


def test_a_package_changed_anywhere_is_a_problem_and_never_a_failure(
    tmp_path: Path, package: bytes, signer: release_build.Signer
) -> None:
    chance = random.Random(20260720)
    places = [
        at for mark in (b"PK\3\4", b"PK\1\2", b"PK\5\6", b"META", b"CrAU", b"FILE_") for at in _all(package, mark)
    ]
    path = tmp_path / FULL
    path.parent.mkdir(parents=True)
    signed = package.rindex(b"PK\5\6") + 20
    changed = 0
    while changed < 250:
        data = mutated(chance, package, places)
        if data == package:
            continue
        path.write_bytes(data)
        found = examine(tmp_path, named(FULL), signer.certificate, False, lambda _: None)
        changed += data[:signed] != package[:signed]
        assert found.problems or data[:signed] == package[:signed]


def _all(data: bytes, mark: bytes) -> list[int]:
    return [at for at in range(len(data)) if data.startswith(mark, at)]


@pytest.mark.parametrize(
    "parse",
    [
        pytest.param(lambda data: signature.parse(data), id="signature"),
        pytest.param(lambda data: der.only(data, "it").parts("it"), id="der"),
        pytest.param(lambda data: lines(data, "metadata"), id="metadata"),
        pytest.param(lambda data: header(data, 30_000), id="payload"),
        pytest.param(lambda data: signature.block(data), id="comment"),
    ],
)
def test_parsers_raise_their_one_error(parse: Callable[[bytes], object], package: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(package)) as opened:
        comment = opened.comment
        seeds = [signature.block(comment), comment, opened.read("META-INF/com/android/metadata"), package[:30]]
        seeds.append(opened.read("payload.bin")[:40])
    chance = random.Random(1)
    raised = 0
    for number in range(1000):
        seed = seeds[number % len(seeds)]
        try:
            parse(mutated(chance, seed, [0]))
        except Damaged:
            raised += 1
    assert raised > 100
