"""The control side's folder: believes what continues, keeps apart what does not, and knows when it was written."""

import json
from pathlib import Path

import pytest

from backup.collected import Known, ask_after, collect, count, known, note
from backup.entry import digest, parse
from backup.ledger import append, lines
from tests.unit.ledgers import at, control, entry, failed


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """The ledger on the host."""
    return tmp_path / "on-the-host.jsonl"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "collected"


def gather(folder: Path, host: Path, hour: float) -> str:
    """One collection, as the control side does it over SSH."""
    had = count(folder, "release-1", "release")
    return collect(folder, "release-1", "release", lines(host, ask_after(had)), at(hour), had=had)


def look(folder: Path) -> Known:
    return known(folder, "release-1", "release", whole=True)


def test_nothing_is_known_at_first(folder: Path) -> None:
    assert look(folder) == Known([], [], None, "")


def test_lines_are_collected_with_the_time_they_were_first_there(folder: Path, host: Path) -> None:
    assert gather(folder, host, 0) == ""
    append(host, entry(0))
    append(host, entry(1))
    assert gather(folder, host, 2) == gather(folder, host, 3) == ""
    append(host, entry(4))
    assert gather(folder, host, 5) == ""
    found = look(folder)
    assert [one.start for one in found.ledger] == [at(0), at(1), at(4)]
    assert [(one.start, one.upto, one.head) for one in found.control] == [
        (at(2), 2, digest(lines(host)[1])),
        (at(5), 3, digest(lines(host)[2])),
    ]
    assert (found.heard, found.disputed) == (at(5), "")


def test_a_collection_that_is_overtaken_by_another_is_no_dispute(folder: Path, host: Path) -> None:
    """A line is written after the first has asked, and the second takes it in before the first does."""
    for hour in range(3):
        had = count(folder, "release-1", "release")
        reported = lines(host, ask_after(had))
        append(host, entry(hour))
        assert gather(folder, host, hour + 0.5) == ""
        assert collect(folder, "release-1", "release", reported, at(hour + 0.6), had=had) == ""
    assert look(folder).disputed == ""
    assert [one.start for one in look(folder).ledger] == [at(0), at(1), at(2)]


def test_a_host_that_cut_its_ledger_is_found_out_by_a_collection_that_is_overtaken(folder: Path, host: Path) -> None:
    for hour in range(3):
        append(host, entry(hour))
    gather(folder, host, 3)
    had = count(folder, "release-1", "release")
    append(host, entry(4))
    assert gather(folder, host, 5) == ""
    assert "has become shorter" in collect(folder, "release-1", "release", [], at(6), had=had)


def test_a_collection_killed_before_it_noted_the_time_is_made_good(folder: Path, host: Path) -> None:
    append(host, entry(0))
    gather(folder, host, 1)
    (folder / "release-1/release.control.jsonl").unlink()
    gather(folder, host, 2)
    assert [one.upto for one in look(folder).control] == [1]


def test_what_is_not_believed_is_kept_once_and_told_until_it_is_moved_away(folder: Path, host: Path) -> None:
    append(host, entry(0))
    append(host, entry(1))
    gather(folder, host, 2)
    host.unlink()
    append(host, failed(0))
    append(host, failed(1))
    for hour in (3, 4):
        assert "history was rewritten" in gather(folder, host, hour)
    found = look(folder)
    assert "history was rewritten" in found.disputed
    assert [one.outcome for one in found.ledger] == ["ok", "ok"]
    assert found.heard == at(4)
    rejected = folder / "release-1/release.rejected.jsonl"
    [record] = map(json.loads, rejected.read_text().splitlines())
    assert parse(record["lines"][0].encode()).outcome == "failed"
    rejected.rename(rejected.with_suffix(".settled"))
    assert look(folder).disputed == ""


def test_a_host_cannot_fill_the_disk_with_rubbish(folder: Path) -> None:
    for number in range(8):
        assert collect(folder, "release-1", "release", [b"%d" % number + b"\xff" * 100_000] * 100, at(0))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert size < 2_000_000
    assert look(folder).disputed


def test_a_collected_line_that_was_changed_afterwards_is_told(folder: Path, host: Path) -> None:
    """Even if the whole chain was made anew: the control side's own ledger knows the hash."""
    for hour in range(3):
        append(host, entry(hour))
    gather(folder, host, 3)
    copy = folder / "release-1/release.jsonl"
    copy.unlink()
    for hour in range(3):
        append(copy, failed(hour))
    assert "is not what was collected" in look(folder).disputed
    copy.write_bytes(b"\n".join(lines(host)[:2]) + b"\n")
    assert "is not what was collected" in look(folder).disputed


def test_a_damaged_record_is_told_and_read_as_far_as_it_is_good(folder: Path, host: Path) -> None:
    for hour in range(3):
        append(host, entry(hour))
    gather(folder, host, 3)
    copy = folder / "release-1/release.jsonl"
    content = lines(copy)
    copy.write_bytes(b"\n".join([content[0], b"rubbish", content[2]]) + b"\n")
    found = look(folder)
    assert "line 2: is not JSON" in found.disputed
    assert [one.start for one in found.ledger] == [at(0)]


def test_the_control_side_writes_down_what_it_did(folder: Path) -> None:
    note(folder, control(1, "check", part=(3, 20)))
    note(folder, control(2, "copy", store="copy", ids=("a" * 64,)))
    assert [(one.kind, one.seq) for one in look(folder).control] == [("check", 1), ("copy", 2)]
