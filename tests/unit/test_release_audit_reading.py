"""Every byte of every server is read within 30 days, a part a night, and what was read is known."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from inventories.errors import InputError
from roles.common.turns import PARTS, WITHIN, Coverage
from roles.release.tools.audit import reading
from roles.release.tools.audit.findings import Kind
from roles.release.tools.audit.inside import File
from roles.release.tools.audit.reading import Reading, Record
from roles.release.tools.audit.truth import Truth

NOW = datetime(2026, 8, 1, 3, tzinfo=UTC)
DAY = timedelta(days=1)


def file(size: int, mtime: int = 1, inode: int = 1) -> File:
    return File("file", size, 0o644, 0, mtime, inode)


def night(record: Record, files: dict[str, File], now: datetime) -> list[str]:
    record.look("one", files, {}, now)
    due = record.due("one", now)
    for path in due:
        one = files[path]
        record.note("one", path, (one.size, one.mtime, one.inode), "ab", now)
    return due


def archive(count: int = 300) -> dict[str, File]:
    sizes = random.Random(1)
    return {f"ota/{number}.zip": file(sizes.choice((300, 40_000, 2_000_000)), inode=number) for number in range(count)}


def test_all_is_read_within_twenty_nights_and_then_again() -> None:
    record, files = Record({}, {}), archive()
    seen: set[str] = set()
    for number in range(PARTS):
        seen |= {*night(record, files, NOW + number * DAY)}
    assert seen == {*files}
    for number in range(PARTS, 3 * PARTS):
        now = NOW + number * DAY
        night(record, files, now)
        found = record.coverage("one", now)
        assert found
        assert found.share == 1
        assert not found.overdue


def test_a_night_reads_a_part_and_no_more_than_one_package_beyond() -> None:
    record, files = Record({}, {}), archive()
    total = sum(one.size for one in files.values())
    for number in range(5):
        due = night(record, files, NOW + number * DAY)
        assert total / PARTS <= sum(files[path].size for path in due) <= total / PARTS + 2_000_000


def test_nights_that_were_missed_are_made_good() -> None:
    record, files = Record({}, {}), archive()
    for number in range(PARTS):
        night(record, files, NOW + number * DAY)
    for number in (29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39):
        night(record, files, NOW + number * DAY)
        found = record.coverage("one", NOW + number * DAY)
        assert found
        assert not found.overdue


def test_what_was_written_anew_is_no_longer_read_and_comes_first() -> None:
    record, files = Record({}, {}), archive(40)
    for number in range(PARTS):
        night(record, files, NOW + number * DAY)
    files["ota/7.zip"] = file(files["ota/7.zip"].size, mtime=2)
    files["ota/new.zip"] = file(9)
    now = NOW + PARTS * DAY
    record.look("one", files, {}, now)
    found = record.coverage("one", now)
    assert found
    assert found.share < 1
    assert {*record.due("one", now)[:2]} == {"ota/7.zip", "ota/new.zip"}


def test_what_is_new_comes_before_what_was_never_read() -> None:
    record, files = Record({}, {}), archive(40)
    night(record, files, NOW)
    files["ota/new.zip"] = file(9)
    record.look("one", files, {}, NOW + DAY)
    assert record.due("one", NOW + DAY)[0] == "ota/new.zip"


def test_what_was_not_read_for_30_days_is_overdue_and_what_is_gone_is_forgotten() -> None:
    record, files = Record({}, {}), archive(3)
    record.look("one", files, {}, NOW)
    late = record.coverage("one", NOW + WITHIN + DAY)
    assert late
    assert late.overdue
    assert late.oldest == NOW
    record.look("one", {}, {}, NOW)
    assert record.coverage("one", NOW) == Coverage(0, 0, None, overdue=False)
    assert record.coverage("two", NOW) is None


def test_what_the_servers_own_timer_has_read_counts() -> None:
    record, files = Record({}, {}), archive(2)
    mine, other = sorted(files)
    known = {path: (one.size, one.mtime, one.inode) for path, one in files.items()}
    told = {mine: Reading(known[mine], 1, NOW.timestamp(), "aa"), other: Reading((1, 2, 3), 1, NOW.timestamp(), "bb")}
    record.look("one", files, told, NOW)
    assert record.hashes() == {"one": {mine: "aa"}}
    night(record, files, NOW + DAY)
    record.look("one", files, told, NOW + DAY)
    assert record.servers["one"][other].sha256 == "ab"


def test_a_record_is_kept_and_one_that_is_none_is_told(tmp_path: Path) -> None:
    record, files = Record({}, {}), archive(40)
    night(record, files, NOW)
    path = tmp_path / "audit/read.json"
    reading.save(path, record)
    assert reading.load(path) == record
    assert path.stat().st_mode & 0o777 == 0o600
    assert reading.load(tmp_path / "none") == Record({}, {})
    for text in ("", "[]", "{}", '{"format": 0}', '{"format": 1, "servers": {"a": {"b": 1}}, "last": {}}'):
        path.write_text(text)
        with pytest.raises(InputError, match=r"is no record of an audit"):
            reading.load(path)


def test_bytes_are_held_against_the_list_and_else_against_the_checksum_beside() -> None:
    known = {"a.zip": b"0" * 64, "b.zip": b"to be done"}
    truth = Truth("c", {}, known, frozenset({"gone"}))
    hashes = dict.fromkeys(("ota/x/16/a.zip", "ota/x/16/b.zip", "ota/x/16/c.zip", "ota/gone/16/a.zip"), "1" * 64)
    beside = {"ota/x/16/a.zip": "1" * 64, "ota/x/16/b.zip": "2" * 64}
    told = list(reading.wrong_content("one", hashes, beside, truth, {}))
    assert [(one.path, one.kind, one.device) for one in told] == [
        ("ota/x/16/a.zip", Kind.DIFFERING, "x"),
        ("ota/x/16/b.zip", Kind.DIFFERING, "x"),
    ]
    assert [one.expected for one in told] == [f"{'0' * 64}, as on record", f"{'2' * 64}, as beside it"]
