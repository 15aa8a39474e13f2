"""A ledger survives kills and full disks, and shows every change to what was written."""

import errno
import json
import multiprocessing
import os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from backup.entry import LINE_AT_MOST, Entry, digest, parse, render
from backup.ledger import LedgerError, append, chain, check, lines, merge, read
from tests.unit.ledgers import at, entry, failed, started

KEYS = {
    *("after", "seq", "host", "plan", "kind", "start", "end", "outcome", "snapshot", "files", "bytes", "bytes_added"),
    *("unread", "unread_count", "error", "versions"),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "release/ledger.jsonl"


def grow(path: Path, count: int, first: int = 0) -> list[bytes]:
    for hour in range(first, first + count):
        append(path, entry(hour))
    return lines(path)


def report(path: Path, found: list[bytes], copy: Path) -> list[Entry]:
    """What the control side does with what a host says after its last but one line."""
    return merge(copy, found[max(0, len(lines(copy)) - 1) :], "release-1", "release")


def test_a_line_is_what_hosts_and_control_side_agreed_on(path: Path) -> None:
    append(path, started(0))
    append(path, entry(0, versions={"restic": "0.18.0"}, unread=[("/a", "denied")]))
    first, second = map(json.loads, lines(path))
    assert set(first) == set(second) == KEYS
    assert (first["seq"], first["after"], first["end"]) == (1, "", "")
    assert (second["seq"], second["after"]) == (2, digest(lines(path)[0]))
    assert (second["start"], second["end"]) == ("2026-11-25T12:00:00Z", "2026-11-25T12:06:00Z")
    assert (second["unread"], second["unread_count"]) == ([["/a", "denied"]], 1)
    assert list(second) == sorted(second)
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_read_is_what_was_appended(path: Path) -> None:
    elsewhere = datetime(2026, 11, 25, 13, 0, 0, tzinfo=timezone(timedelta(hours=1)))
    odd = os.fsdecode(b"/caf\xe9\n\x1b[31m")
    given = [
        entry(0, start=elsewhere, unread=((odd, "denied"),), unread_count=1, error="two\nlines"),
        entry(1, kind="check", store="copy", part=(3, 20), outcome="damaged"),
        entry(2, kind="retain", ids=("a" * 64, "b" * 64), outcome="started"),
        entry(3, kind="collect", upto=7, head="c" * 64),
    ]
    placed = [append(path, one) for one in given]
    assert read(path) == check(path) == placed
    assert placed[0].start == elsewhere.astimezone(UTC)
    assert placed[0].unread[0][0] == odd
    assert [one.part for one in placed] == [None, (3, 20), None, None]
    assert read(path, after=2) == placed[2:]


def test_only_a_hundred_unread_files_are_named_and_all_are_counted(path: Path) -> None:
    placed = append(path, entry(0, unread=tuple((f"/{number}", "denied") for number in range(250))))
    assert (len(placed.unread), placed.unread_count) == (100, 250)


def test_a_last_line_longer_than_any_buffer_is_continued(path: Path) -> None:
    append(path, entry(0, error="x" * 100_000))
    append(path, entry(1, error="x" * 8192))
    append(path, entry(2))
    assert len(check(path)) == 3


def test_a_ledger_that_is_not_there_is_empty(path: Path) -> None:
    assert lines(path) == []
    assert read(path) == check(path) == []


def test_a_line_cut_anywhere_by_a_kill_loses_nothing_else(path: Path) -> None:
    whole = b"\n".join(grow(path, 3)) + b"\n"
    two = len(b"\n".join(lines(path)[:2])) + 1
    for cut in (*range(two, len(whole), 9), len(whole) - 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        aside = path.with_name("ledger.jsonl.torn")
        aside.unlink(missing_ok=True)
        told: list[str] = []
        append(path, entry(9), told.append)
        kept = 3 if cut == len(whole) - 1 else 2
        assert [one.start for one in check(path)] == [*map(at, range(kept)), at(9)]
        assert len(told) == (cut > two)
        if two < cut < len(whole) - 1:
            assert aside.read_bytes() == whole[two:cut] + b"\n"
            assert str(aside) in told[0]
        else:
            assert not aside.exists()


def test_half_a_line_is_not_read_by_others(path: Path) -> None:
    found = grow(path, 2)
    with path.open("ab") as out:
        out.write(b'{"after": "')
    assert lines(path) == found


def test_a_disk_that_is_full_leaves_the_ledger_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grow(path, 2)
    before = path.read_bytes()
    write = os.write

    def half(handle: int, content: memoryview) -> int:
        if len(content) < 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, content[: len(content) // 2])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space left"):
        append(path, entry(2))
    monkeypatch.undo()
    assert path.read_bytes() == before


def _append_many(path: Path, count: int) -> None:
    for hour in range(count):
        append(path, entry(hour))


def test_writers_at_the_same_time_make_one_chain(path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        pool.starmap(_append_many, [(path, 25)] * 4)
    assert len(check(path)) == 100


def test_an_entry_is_on_disk_when_append_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    sync = os.fsync

    def note(handle: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        sync(handle)

    monkeypatch.setattr(os, "fsync", note)
    append(path, entry(0))
    assert synced == [str(path), str(path.parent)]


@pytest.mark.parametrize("number", range(1, 6))
def test_any_change_to_a_line_is_named_by_its_first_broken_line(path: Path, number: int) -> None:
    found = grow(path, 6)
    changed = [*found]
    changed[number - 1] = found[number - 1].replace(b'"files": 100', b'"files": 101')
    path.write_bytes(b"\n".join(changed) + b"\n")
    with pytest.raises(LedgerError, match="does not continue") as error:
        check(path)
    assert error.value.line == number + 1
    for without in ([*found[: number - 1], *found[number:]], [*found[:number], found[number - 1], *found[number:]]):
        path.write_bytes(b"\n".join(without) + b"\n")
        with pytest.raises(LedgerError, match=r"missing or out of order"):
            check(path)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "lacks"),
        (b"\xff", "not JSON"),
    ],
)
def test_a_line_that_is_none_is_named(path: Path, line: bytes, problem: str) -> None:
    found = grow(path, 2)
    path.write_bytes(b"\n".join([found[0], line, found[1]]) + b"\n")
    for look in (check, read):
        with pytest.raises(LedgerError, match=f"line 2: .*{problem}") as error:
            look(path)
        assert error.value.line == 2


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seq", "1"),
        ("seq", True),
        ("seq", -1),
        ("bytes", 1.5),
        ("host", None),
        ("kind", "theft"),
        ("outcome", "splendid"),
        ("start", 5),
        ("start", "2026-11-25T20:00:00"),
        ("start", "0001-01-01T00:00:00+23:00"),
        ("start", "0001-01-01T00:00:00Z"),
        ("start", "1969-12-31T23:59:59Z"),
        ("start", "2200-01-01T00:00:00+00:00"),
        ("start", "9999-12-31T00:00:00Z"),
        ("end", "9999-12-31T00:00:00Z"),
        ("seq", 1 << 63),
        ("bytes", 10**400),
        ("files", 1 << 63),
        ("bytes_added", 1 << 63),
        ("unread_count", 10**300),
        ("upto", 1 << 63),
        ("end", []),
        ("unread", [["only a path"]]),
        ("unread", 7),
        ("unread", [["/a", 1]]),
        ("unread", [[["/a"], "denied"]]),
        ("versions", "1"),
        ("versions", {"agent": 1}),
        ("part", [1]),
        ("part", [1, 0]),
        ("part", [0, 0]),
        ("part", [3, 2]),
        ("part", [1.5, 2.5]),
        ("part", [1, 1 << 63]),
        ("ids", 7),
        ("ids", [7]),
    ],
)
def test_a_value_of_another_type_is_refused(key: str, value: object) -> None:
    good = json.loads(render(entry(0)))
    with pytest.raises(ValueError, match=r"type|number|text|unknown"):
        parse(json.dumps(good | {key: value}).encode())


def test_a_clock_that_was_never_set_is_no_reason_to_write_nothing(path: Path) -> None:
    assert append(path, entry(0, start=datetime(1970, 1, 1, tzinfo=UTC))).start.year == 1970


def test_what_nobody_could_read_is_not_written(path: Path) -> None:
    grow(path, 1)
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="cannot be added"):
        append(path, entry(0, start=datetime(2300, 1, 1, tzinfo=UTC)))
    assert path.read_bytes() == before


def test_the_longest_line_that_a_host_writes_is_read(path: Path) -> None:
    """Paths as long as Linux has them, in bytes that are no UTF-8, with reasons and an error that have no end."""
    odd = os.fsdecode(b"/" + b"\xe9" * 4350)
    append(path, entry(0, unread=((odd, "\U0001f600" * 10_000),) * 200, unread_count=200, error="\0" * 2003))
    [found] = check(path)
    assert (len(found.unread), found.unread[-1][0], found.unread_count) == (100, odd, 200)


def test_a_line_without_an_end_is_refused_before_it_is_looked_at() -> None:
    line = render(entry(0, error="x" * LINE_AT_MOST))
    with pytest.raises(ValueError, match="is longer than"):
        parse(line)


def test_a_key_that_a_newer_agent_added_is_passed_over(path: Path) -> None:
    line = json.loads(render(entry(0))) | {"mood": "fine"}
    assert parse(json.dumps(line).encode()) == parse(render(entry(0)))


def test_a_damaged_last_line_is_not_built_upon(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"rubbish\n")
    with pytest.raises(LedgerError, match="nothing can be added"):
        append(path, entry(0))
    assert path.read_bytes() == b"rubbish\n"


def test_what_a_host_adds_is_collected_once(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "collected.jsonl"
    assert report(path, [], copy) == []
    for count in (1, 3, 0, 2):
        found = grow(path, count, len(lines(path)))
        assert len(report(path, found, copy)) == count
        assert lines(copy) == found
    assert report(path, lines(path), copy) == merge(copy, lines(path), "release-1", "release") == []
    assert len(check(copy)) == 6


def test_a_merge_that_was_killed_half_way_is_made_good(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "collected.jsonl"
    found = grow(path, 3)
    for cut in range(0, len(b"\n".join(found)), 9):
        copy.write_bytes((b"\n".join(found) + b"\n")[:cut])
        report(path, found, copy)
        assert lines(copy) == found


def rewritten(found: list[bytes], number: int, folder: Path) -> list[bytes]:
    """The ledger of a host whose root made line `number` and all after it anew."""
    other = folder / "rewritten.jsonl"
    other.unlink(missing_ok=True)
    for index, line in enumerate(found, 1):
        append(other, parse(line) if index < number else failed(index))
    return lines(other)


@pytest.mark.parametrize("number", range(1, 5))
def test_a_rewritten_history_is_refused_even_if_it_is_a_chain(path: Path, tmp_path: Path, number: int) -> None:
    copy = tmp_path / "collected.jsonl"
    report(path, grow(path, 4), copy)
    before = copy.read_bytes()
    forged = rewritten(grow(path, 2, 4), number, tmp_path)
    for said in (forged, forged[3:]):
        with pytest.raises(LedgerError, match=r"release-1:release: line .* history was rewritten"):
            merge(copy, said, "release-1", "release")
    assert copy.read_bytes() == before


@pytest.mark.parametrize("left", range(4))
def test_a_host_that_lost_or_cut_its_ledger_is_found_out(path: Path, tmp_path: Path, left: int) -> None:
    copy = tmp_path / "collected.jsonl"
    found = grow(path, 4)
    report(path, found, copy)
    before = copy.read_bytes()
    for said in (found[:left], found[3:left]):
        with pytest.raises(LedgerError, match="is missing: the host's ledger has become shorter") as error:
            merge(copy, said, "release-1", "release")
        assert error.value.line == (len(said) + 1 if said else 4)
    assert copy.read_bytes() == before


def test_lines_are_not_believed_without_those_before(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "collected.jsonl"
    found = grow(path, 6)
    with pytest.raises(LedgerError, match="line 1: was not reported"):
        merge(copy, found[1:], "release-1", "release")
    merge(copy, found[:2], "release-1", "release")
    with pytest.raises(LedgerError, match="line 2: was not reported"):
        merge(copy, found[2:], "release-1", "release")
    assert lines(copy) == found[:2]


def test_a_host_cannot_speak_for_another(path: Path, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="speaks of release-1:release"):
        merge(tmp_path / "copy", grow(path, 1), "web-1", "web")
    assert lines(tmp_path / "copy") == []


def test_a_host_cannot_fill_the_disk_with_good_lines(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "collected.jsonl"
    found = grow(path, 6)
    monkeypatch.setattr("backup.ledger.LEDGER_AT_MOST", len(b"\n".join(found[:4])) + 1)
    assert len(report(path, found[:4], copy)) == 4
    assert report(path, found[:4], copy) == []
    with pytest.raises(LedgerError, match="more than a host's ledger can be"):
        report(path, found, copy)
    assert lines(copy) == found[:4]


@pytest.mark.parametrize("key", ["kind", "start", "host"])
def test_what_is_told_of_a_line_is_short(path: Path, tmp_path: Path, key: str) -> None:
    [line] = grow(path, 1)
    said = json.dumps(json.loads(line) | {key: "x" * 1_000_000}).encode()
    with pytest.raises(LedgerError) as error:
        merge(tmp_path / "copy", [said], "release-1", "release")
    assert len(str(error.value)) < 1100


def test_nothing_is_added_to_a_line_that_a_reader_of_before_let_in(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "collected.jsonl"
    found = [line.replace(b'"start": "2026', b'"start": "9999') for line in grow(path, 2)]
    copy.write_bytes(found[0] + b"\n")
    with pytest.raises(LedgerError, match=r"release-1:release: .*has a value"):
        report(path, found, copy)
    with pytest.raises(LedgerError, match="has a value"):
        chain(copy, found[1:], found[0])


def test_rubbish_from_a_host_adds_nothing(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "collected.jsonl"
    found = grow(path, 3)
    report(path, found[:1], copy)
    for said in ([b"rubbish"], [found[0], b"rubbish"], [found[0], found[2]], [found[0], found[1], found[1]]):
        with pytest.raises(LedgerError):
            merge(copy, said, "release-1", "release")
        assert lines(copy) == found[:1]
