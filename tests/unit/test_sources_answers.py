"""What servers say is taken for what it is, whatever they say: refs, pointers of LFS, git's words; and who is hit."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from roles.gerrit.tools.sources import ask, deep, hits, lfs, refs
from roles.gerrit.tools.sources.findings import Finding, Kind, settled
from roles.gerrit.tools.sources.git import meaning
from roles.gerrit.tools.sources.lfs import Pointer
from roles.gerrit.tools.sources.manifest import Project

A, B = "a" * 40, "b" * 40
OID = "0123456789abcdef" * 4
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 12345\n"


@contextmanager
def saying(content: bytes, status: int = 200) -> Iterator[str]:
    """A server that says the same to whatever it is asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever, args=(0.02,))
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/a"
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def told(content: bytes, status: int = 200) -> refs.Refs:
    with saying(content, status) as url, ask.anonymous() as session:
        return refs.ask(session, url, ["refs/heads/", "refs/tags/"])


def packets(*lines: bytes) -> bytes:
    return b"".join(b"%04x%s\n" % (len(line) + 5, line) if line else b"0000" for line in lines)


def test_a_server_that_only_speaks_the_old_protocol_is_understood() -> None:
    head = f"{A} HEAD\0multi_ack agent=old".encode()
    names = (f"{A} refs/heads/main", f"{B} refs/tags/v1", f"{A} refs/tags/v1^{{}}", f"{B} refs/changes/01/1/1")
    found = told(packets(b"# service=git-upload-pack", b"", head, *(one.encode() for one in names), b""))
    assert found == refs.Refs({"refs/heads/main": A, "refs/tags/v1": B}, {"refs/tags/v1": A})
    assert (found.commit("refs/tags/v1"), found.commit("refs/heads/main"), found.commit("HEAD")) == (A, A, None)


@pytest.mark.parametrize(
    ("content", "status", "kind"),
    [
        (b"<!DOCTYPE html>", 200, Kind.ANSWER),
        (b"00", 200, Kind.ANSWER),
        (b"", 200, Kind.ANSWER),
        (b"00zz", 200, Kind.ANSWER),
        (b"0003", 200, Kind.ANSWER),
        (b"ffffshort", 200, Kind.ANSWER),
        (packets(b"ERR access denied"), 200, Kind.ANSWER),
        (packets(b"# service=git-upload-pack", b"", b"--output=/x refs/heads/main\0", b""), 200, Kind.ANSWER),
        (packets(b"# service=git-upload-pack", b"", f"{A} refs/tags/a peeled:--x".encode(), b""), 200, Kind.ANSWER),
        (b"", 302, Kind.UNREACHABLE),
        (b"", 401, Kind.PRIVATE),
        (b"", 403, Kind.PRIVATE),
        (b"", 404, Kind.MISSING),
        (b"", 418, Kind.ANSWER),
        (b"", 500, Kind.UNREACHABLE),
    ],
)
def test_what_is_no_answer_of_git_is_told(content: bytes, status: int, kind: Kind) -> None:
    found = told(content, status)
    assert found.failure is kind
    assert found.said
    assert not found.objects


def test_garbage_never_raises_anything() -> None:
    chance = random.Random(3)
    good = packets(b"# service=git-upload-pack", b"", f"{A} refs/heads/main\0x".encode(), b"")
    for _ in range(60):
        content = bytearray(good)
        content[chance.randrange(len(content))] = chance.randrange(256)
        told(bytes(content))


def test_what_cannot_be_asked_by_http_is_not_asked() -> None:
    with ask.anonymous() as session:
        assert refs.ask(session, "ssh://somebody@host/a", []).failure is Kind.UNASKED


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (POINTER, Pointer(OID, 12345)),
        (POINTER.replace("git-lfs.github", "hawser.github"), Pointer(OID, 12345)),
        (POINTER.replace("oid", "ext-0-foo sha256:1\noid"), Pointer(OID, 12345)),
        (POINTER.removesuffix("\n"), Pointer(OID, 12345)),
        (POINTER.replace("12345", "-1"), None),
        (POINTER.replace("12345", "\u0661"), None),
        (POINTER.replace("size 12345\n", ""), None),
        (POINTER.replace("sha256", "md5"), None),
        (POINTER.replace("0123", "XYZ!"), None),
        (POINTER.replace("spec/v1", "spec/v2"), None),
        (POINTER + "x" * 1024, None),
        ("version 1\n", None),
        ("", None),
    ],
)
def test_a_pointer_is_what_its_format_says(text: str, expected: Pointer | None) -> None:
    assert lfs.parsed(text.encode()) == expected


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("fatal: remote error: upload-pack: not our ref 0123", Kind.REVISION),
        ("fatal: remote error: want 0123 not valid", Kind.REVISION),
        ("error: Server does not allow request for unadvertised object 0123", Kind.REVISION),
        ("fatal: could not read Username for 'https://h': terminal prompts disabled", Kind.PRIVATE),
        ("fatal: repository 'https://h/openssl/' not found", Kind.MISSING),
        ("fatal: unable to access 'https://h/': Could not resolve host: h", Kind.UNREACHABLE),
        ("fatal: unable to access 'https://h/': SSL certificate problem: expired", Kind.UNREACHABLE),
        ("fatal: write error: No space left on device", Kind.NO_ROOM),
        ("error: index-pack died of signal 9", Kind.NO_ROOM),
        ("fatal: https://h/openssl: unable to parse object: 0123", Kind.BROKEN),
        ("remote: aborting due to possible repository corruption on the remote side.", Kind.BROKEN),
    ],
)
def test_gits_words_are_understood(said: str, kind: Kind) -> None:
    assert meaning(said) is kind


def test_reading_catches_up_after_days_without_it_and_forgets_what_is_gone_only_when_all_was_seen() -> None:
    now, record = datetime(2026, 11, 1, tzinfo=UTC), deep.Record()
    urls = {f"https://h/{number}": 0 for number in range(60)}
    record.look(urls, now, all_there=True)
    first = record.due(urls, now)
    for url in first:
        record.note(url, 1, now, damaged=False)
    later = record.due(urls, now + timedelta(days=10))
    assert (len(first), len(later), {*first} & {*later}) == (3, 30, set())
    few = dict.fromkeys([*urls][:5], 0)
    record.look(few, now, all_there=False)
    assert record.readings.keys() == urls.keys()
    record.look(few, now, all_there=True)
    assert record.readings.keys() == few.keys()


def test_what_is_damaged_is_read_each_time_and_an_object_counts_by_its_size() -> None:
    now, record = datetime(2026, 11, 1, tzinfo=UTC), deep.Record()
    sizes = {"https://h/a": 0, "https://h/b": 0, "https://h/b.git/info/lfs/objects/1": 1000}
    record.look(sizes, now, all_there=True)
    assert record.due(sizes, now) == ["https://h/a", "https://h/b", "https://h/b.git/info/lfs/objects/1"]
    record.note("https://h/a", 0, now, damaged=True)
    record.note("https://h/b", 19_000, now, damaged=False)
    again = now + timedelta(days=1)
    assert record.due(sizes, again)[:2] == ["https://h/a", "https://h/b.git/info/lfs/objects/1"]
    assert record.due({"https://h/b"}, again) == ["https://h/b"]
    coverage = record.coverage(sizes, now + timedelta(days=31))
    assert (coverage.of, coverage.overdue) == (20_001, True)


def project(path: str, *groups: str) -> Project:
    mine = frozenset((*groups, "all", f"name:{path}", f"path:{path}"))
    return Project(path, path, "own", f"https://h/{path}", "main", mine, None, "", (), "default.xml, line 1")


def test_devices_are_those_of_the_manifests_groups_and_paths() -> None:
    tree = [
        project("build/make", "pdk"),
        project("device/maker/one", "device", "notdefault"),
        project("device/maker/one-sepolicy"),
        project("device/maker/chip", "device", "two", "three"),
        project("device/generic/arm64", "pdk-fs"),
        project("device/common"),
        project("vendor/maker/one"),
        project("vendor/maker/firmware"),
        project("kernel/maker/chip", "kernel", "two"),
        project("tools/x", "device-four"),
    ]
    known = hits.devices(tree)
    assert known == {"one", "two", "three", "four"}
    found = {one.path: hits.hit(one, known) for one in tree}
    assert {path: devices for path, devices in found.items() if devices} == {
        "device/maker/one": ("one",),
        "device/maker/one-sepolicy": ("one",),
        "device/maker/chip": ("three", "two"),
        "vendor/maker/one": ("one",),
        "kernel/maker/chip": ("two",),
        "tools/x": ("four",),
    }


def test_findings_are_told_once_the_worst_first_and_steer_no_terminal() -> None:
    worse, other = (
        Finding("b", "p", "https://h/b", "main", "", kind, "x", "y") for kind in (Kind.MISSING, Kind.UNASKED)
    )
    assert settled([other, worse, other]) == [worse, other]
    found = told(b"\x1b[2J" + b"x" * 5000)
    assert "\x1b" not in found.said
    assert len(found.said) < 400
