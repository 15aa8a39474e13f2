"""Each way in which backups go wrong is found, told with what to do, and has an exit code of its own."""

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from backup.data_set import Certificate, DataSet, Kind, Plan
from backup.entry import Entry
from backup.pared import pare
from backup.restic_results import Snapshot
from backup.sizes import clean, counted, size
from backup.status import Row, as_json, as_table, as_text, exit_code, findings, status
from tests.unit.ledgers import at, control, entry, failed, identity, snapshot, started

DAY = 24.0
PLAN = Plan("release-1", "release", "daily", 30)
NOW = 40 * DAY + 2
DAYS = [day * DAY for day in range(41)]


def good_ledger() -> list[Entry]:
    found = []
    for hour in DAYS:
        found += [started(hour), entry(hour)]
        if hour % (7 * DAY) == 0:
            found.append(entry(hour + 1, kind="verify", snapshot=""))
    return found


def good_control() -> list[Entry]:
    found = []
    for number, hour in enumerate(DAYS):
        found.append(control(hour + 1, "check", part=(number % 20 + 1, 20)))
        found.append(control(hour + 1, "check", part=(number % 20 + 1, 20), store="copy"))
        found.append(control(hour + 1, "copy", store="copy", ids=(identity(hour),)))
    return [*found, control(30 * DAY, "retain")]


def snapshots(*without: float) -> list[Snapshot]:
    return [snapshot(hour) for hour in DAYS if hour not in without]


def copies() -> list[Snapshot]:
    return [snapshot(hour, id=f"c{identity(hour)[1:]}", original=identity(hour)) for hour in DAYS]


def good(**changes: Any) -> DataSet:
    """A data set of which all is as it should be, but for the changes."""
    known = DataSet(PLAN, good_ledger(), good_control(), at(NOW - 0.5), snapshots(), copies())
    return replace(known, **changes)


def numbered(entries: Sequence[Entry]) -> list[Entry]:
    return [replace(one, seq=number) for number, one in enumerate(entries, 1)]


def look(data_set: DataSet, now: float = NOW) -> Row:
    return status([replace(data_set, ledger=numbered(data_set.ledger))], at(now))[0]


def told(data_set: DataSet, now: float = NOW) -> list[Kind]:
    return [one.kind for one in look(data_set, now).findings]


def only(data_set: DataSet, kind: Kind, now: float = NOW) -> str:
    """What happened, if that kind is all that was found."""
    row = look(data_set, now)
    assert [one.kind for one in row.findings] == [kind]
    assert exit_code([row]) == kind.exit_code
    assert row.findings[0].to_do
    return row.findings[0].what


def test_a_data_set_in_order_has_no_finding() -> None:
    row = look(good())
    assert row.findings == ()
    assert exit_code([row]) == 0
    assert (row.last_good and row.last_good.start, row.next_due) == (at(40 * DAY), at(41 * DAY))
    assert (row.snapshots, row.newest_copy, row.running_since) == (41, at(40 * DAY), None)
    assert row.coverage
    assert row.coverage.share == 1


def test_every_kind_has_an_exit_code_of_its_own_that_no_other_outcome_has() -> None:
    codes = [kind.exit_code for kind in Kind]
    assert len(set(codes)) == len(codes)
    assert not {0, 1, 2, 3, 4, 130} & set(codes)
    assert max(codes) < 126


def test_a_plan_that_never_ran() -> None:
    assert "no backup was ever begun" in only(good(ledger=[], control=[], vault=[], copy=[]), Kind.NEVER)


def test_a_host_that_was_never_set_up_is_told_apart_from_one_that_is_down() -> None:
    empty = good(ledger=[], control=[], vault=[], copy=[], heard=None)
    assert told(empty) == [Kind.NEVER, Kind.SILENT]
    assert "never answered" in look(empty).findings[1].what
    assert "last answered 5 h ago" in only(good(heard=at(NOW - 5)), Kind.SILENT)


def test_a_backup_older_than_the_plan_allows_is_late() -> None:
    ledger = [one for one in good_ledger() if one.start <= at(38 * DAY)]
    done = [one for one in good_control() if one.start <= at(39 * DAY)]
    there = [snapshot(hour) for hour in DAYS[:39]]
    what = only(good(ledger=ledger, control=done, vault=there, copy=copies()[:39]), Kind.LATE)
    assert what == "the newest complete backup is of 2 days ago, allowed are 30 h"


def test_a_complete_backup_that_is_gone_does_not_count() -> None:
    assert told(good(vault=[snapshot(hour) for hour in DAYS[:39]])) == [Kind.GONE, Kind.LATE]


def test_a_backup_that_was_begun_and_never_good_is_late_in_time() -> None:
    young = good(ledger=[started(NOW - 20), failed(NOW - 20)], control=[], vault=[], copy=[])
    assert told(young) == [Kind.FAILED]
    old = good(ledger=[started(NOW - 40), failed(NOW - 40), started(NOW - 1), failed(NOW - 1)], control=[], vault=[])
    assert told(replace(old, copy=[])) == [Kind.LATE, Kind.FAILED]


def test_a_missed_run_is_told_before_it_is_late() -> None:
    hourly = Plan("release-1", "release", "hourly", 30)
    assert "the last began 4 h ago" in only(good(plan=hourly, heard=at(NOW + 2)), Kind.MISSED, NOW + 2)
    assert told(good(plan=hourly), 40 * DAY + 2.9) == []


@pytest.mark.parametrize("last", [failed(NOW - 1), failed(NOW - 1, "interrupted", "by SIGINT")])
def test_a_failed_run_is_told_with_its_error(last: Entry) -> None:
    ledger = [*good_ledger(), started(NOW - 1), last]
    assert last.error in only(good(ledger=ledger), Kind.FAILED)
    again = [*ledger, started(NOW - 0.1)]
    assert last.error in only(good(ledger=again), Kind.FAILED)
    mended = [*again, entry(NOW - 0.1, took=0.01)]
    assert told(good(ledger=mended, vault=[*snapshots(), snapshot(NOW - 0.1)])) == []


def test_a_killed_run_is_told() -> None:
    ledger = [*good_ledger(), started(NOW - 1), started(NOW - 0.5)]
    assert "was killed" in only(good(ledger=ledger), Kind.FAILED)


def test_an_incomplete_backup_names_what_it_lacks() -> None:
    lacking = entry(NOW - 1, outcome="incomplete", unread=(("/srv/a", "denied"),), unread_count=7)
    unfinished = good(ledger=[*good_ledger(), started(NOW - 1), lacking], vault=[*snapshots(), snapshot(NOW - 1)])
    assert only(unfinished, Kind.INCOMPLETE) == "7 files could not be read: /srv/a: denied"


def test_a_snapshot_that_is_gone_is_named() -> None:
    one, two = identity(5 * DAY)[:8], identity(6 * DAY)[:8]
    assert only(good(vault=snapshots(5 * DAY)), Kind.GONE) == f"1 snapshot is no longer in the vault: {one}"
    both = only(good(vault=snapshots(5 * DAY, 6 * DAY)), Kind.GONE)
    assert both == f"2 snapshots are no longer in the vault: {one}, {two}"
    removed = [*good_control(), control(NOW - 1, "retain", ids=(identity(5 * DAY),))]
    assert told(good(vault=snapshots(5 * DAY), control=removed)) == []


def test_a_snapshot_that_is_gone_from_the_second_copy_is_named() -> None:
    what = only(good(copy=[one for one in copies() if one.original != identity(5 * DAY)]), Kind.GONE)
    assert "second copy" in what
    assert identity(5 * DAY)[:8] in what


def test_back_dated_and_future_snapshots_are_told() -> None:
    collected = [*good_control(), control(NOW - 0.1, "collect", upto=999, took=0)]
    assert "2026-07" in only(good(vault=[*snapshots(), snapshot(-3000)], control=collected), Kind.BACK_DATED)
    assert "yet to come" in only(good(vault=[*snapshots(), snapshot(3000)], control=collected), Kind.FUTURE)


def test_a_clock_that_runs_ahead_does_not_hide_that_backups_are_late() -> None:
    ahead = [started(50 * DAY), entry(50 * DAY)]
    done = [*good_control(), control(NOW, "collect", upto=999, took=0)]
    late = good(ledger=[*good_ledger(), *ahead], control=done, vault=[*snapshots(), snapshot(50 * DAY)])
    assert Kind.LATE in told(replace(late, heard=at(NOW + 40)), NOW + 40)


def test_a_vault_that_cannot_be_asked_is_told_and_the_rest_judged_by_the_ledger() -> None:
    row = look(good(vault=None))
    assert [one.kind for one in row.findings] == [Kind.UNLISTED]
    assert row.last_good
    assert row.last_good.start == at(40 * DAY)


@pytest.mark.parametrize("less", [{"bytes": 499_999}, {"files": 49}])
def test_a_size_that_suddenly_halved_is_told(less: dict[str, int]) -> None:
    small = entry(NOW - 1, **less)
    shrunk = good(ledger=[*good_ledger(), started(NOW - 1), small], vault=[*snapshots(), snapshot(NOW - 1)])
    assert "within 7 days before" in only(shrunk, Kind.HALVED)
    half = entry(NOW - 1, bytes=500_000, files=50)
    assert told(replace(shrunk, ledger=[*good_ledger(), started(NOW - 1), half])) == []


def test_a_size_is_compared_with_the_one_before_however_old() -> None:
    ledger = [entry(NOW - 20 * DAY), entry(NOW - 1, bytes=10), entry(NOW - 0.5, kind="verify", snapshot="")]
    listed = [snapshot(NOW - 20 * DAY), snapshot(NOW - 1)]
    assert only(good(ledger=ledger, vault=listed, copy=None, control=[], has_copy=False), Kind.HALVED)


def test_a_run_that_takes_too_long_is_told() -> None:
    running = good(ledger=[*good_ledger(), started(NOW - 1.4)])
    assert told(running) == []
    assert look(running).running_since == at(NOW - 1.4)
    assert "has not ended" in only(good(ledger=[*good_ledger(), started(NOW - 1.6)]), Kind.TOO_LONG)
    first = good(ledger=[started(NOW - 29)], control=[], vault=[], copy=[])
    assert told(first) == []
    assert told(first, NOW + 2) == [Kind.LATE, Kind.TOO_LONG]


@pytest.mark.parametrize(("store", "where"), [("vault", "the vault"), ("copy", "the second copy")])
def test_a_part_that_was_not_read_in_time_is_named(store: str, where: str) -> None:
    stopped = [one for one in good_control() if (one.kind, one.store) != ("check", store) or one.start < at(20 * DAY)]
    assert told(good(control=stopped), 30 * DAY)[-1:] != [Kind.UNVERIFIED]
    assert only(good(control=stopped), Kind.UNVERIFIED).startswith(f"{where}: part 1/20 was not read for 40 days")


def test_damage_is_told_until_a_later_check_finds_none() -> None:
    damaged = [*good_control(), control(NOW - 1, "check", part=(3, 20), outcome="damaged", error="pack abc")]
    assert only(good(control=damaged), Kind.DAMAGED) == "the vault: damage was found in part 3/20: pack abc"
    assert told(good(control=[*damaged, control(NOW - 0.5, "check", part=(4, 20))])) == [Kind.DAMAGED]
    assert told(good(control=[*damaged, control(NOW - 0.5, "check", part=(3, 20))])) == []


def test_a_source_that_differs_from_its_snapshot_or_was_not_compared_is_told() -> None:
    differs = [*good_ledger(), failed(NOW - 1, error="2 files differ: /a, /b")]
    differs[-1] = replace(differs[-1], kind="verify")
    assert "2 files differ" in only(good(ledger=differs), Kind.DAMAGED)
    never = [one for one in good_ledger() if one.kind != "verify"]
    assert "never" in only(good(ledger=never), Kind.UNVERIFIED)


@pytest.mark.parametrize(
    "error",
    [
        "restic snapshots: unable to open config file: connection refused (exit code 1)",
        "https://10.0.0.5:8000/release-1/release/: 401 Unauthorized: its login or password is not taken",
        "[Errno 28] No space left on device",
    ],
)
def test_a_comparison_that_could_not_be_done_found_no_damage_and_mends_none(error: str) -> None:
    def compared(hour: float, error: str) -> Entry:
        return replace(failed(hour, error=error), kind="verify")

    ledger = [*good_ledger(), compared(NOW - 1, error)]
    assert only(good(ledger=ledger), Kind.UNVERIFIED).endswith(error)
    differs = compared(NOW - 2, "not as in snapshot 12345678, though nothing tells of a change since: /a")
    before = good(ledger=[*good_ledger(), differs, compared(NOW - 1, error)])
    assert told(before) == [Kind.DAMAGED, Kind.UNVERIFIED]
    left, own = pare(numbered(before.ledger), numbered(before.control), at(NOW))
    assert told(replace(before, ledger=left, control=own)) == [Kind.DAMAGED, Kind.UNVERIFIED]
    assert told(good(ledger=[*ledger, entry(NOW - 0.5, kind="verify", snapshot="")])) == []


def test_a_comparison_that_is_dated_ahead_counts_as_of_when_it_was_collected() -> None:
    """A clock that was wrong once, by 300 days, must not hide that no comparison came since."""
    ahead = entry(300 * DAY, kind="verify", snapshot="")
    never = [one for one in good_ledger() if one.kind != "verify"]
    ledger = [*never[:62], ahead, *never[62:]]
    done = [*good_control(), control(31 * DAY, "collect", upto=63, took=0)]
    what = only(good(ledger=ledger, control=done), Kind.UNVERIFIED)
    assert what == "the source was compared with its snapshot last 9 days ago, allowed are 8 days"
    done[-1] = control(33 * DAY, "collect", upto=67, took=0)
    assert told(good(ledger=ledger, control=done)) == []


def test_retention_that_is_dated_ahead_is_none() -> None:
    done = [one for one in good_control() if one.kind != "retain"]
    ahead = [*done, control(300 * DAY, "retain")]
    assert "never run" in only(good(control=ahead), Kind.UNRETAINED)
    long_ago = [*ahead, control(2 * DAY, "retain")]
    assert "last run 38 days ago" in only(good(control=long_ago), Kind.UNRETAINED)
    assert told(good(control=[*done, control(NOW + 0.1, "retain")])) == []


def test_retention_that_is_overdue_is_told() -> None:
    done = [one for one in good_control() if one.kind != "retain"]
    assert "never run" in only(good(control=done), Kind.UNRETAINED)
    tried = [*done, control(NOW - 1, "retain", outcome="failed"), control(NOW - 1, "retain", store="copy")]
    assert told(good(control=tried)) == [Kind.UNRETAINED]


def test_a_second_copy_that_is_behind_is_told() -> None:
    behind = [one for one in copies() if one.time < at(38 * DAY)]
    done = [one for one in good_control() if one.kind != "copy" or one.start < at(38 * DAY)]
    what = only(good(copy=behind, control=done), Kind.COPY_BEHIND)
    assert what == "1 of the complete backups is not in the second copy; the newest there is of 3 days ago"
    assert told(good(copy=behind, control=done, has_copy=False)) == []
    assert "could not be asked" in only(good(copy=None), Kind.COPY_BEHIND)


def test_a_disputed_ledger_is_the_worst() -> None:
    row = look(good(disputed="line 3: history was rewritten", vault=snapshots(0)))
    assert [one.kind for one in row.findings] == [Kind.DISPUTED, Kind.GONE]
    assert exit_code([row]) == Kind.DISPUTED.exit_code == 10


def test_the_worst_of_all_data_sets_comes_first() -> None:
    rows = status([good(heard=at(0)), good(), good(vault=None, plan=replace(PLAN, host="web-1"))], at(NOW))
    assert [(one.kind, one.host) for one in findings(rows)] == [(Kind.UNLISTED, "web-1"), (Kind.SILENT, "release-1")]
    assert exit_code(rows) == Kind.UNLISTED.exit_code


def shown(rows: list[Row]) -> str:
    console = Console(file=io.StringIO(), width=160, force_terminal=False)
    console.print(as_table(rows, at(NOW)))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_table_for_people() -> None:
    lines = shown([look(good()), look(good(vault=snapshots(0), heard=None))]).splitlines()
    assert lines[0].split("  ")[0] == "data set"
    assert " ".join(lines[1].split()) == "release-1:release 2 h ago in 22 h 976.6 KiB 100% 2 h ago ok"
    assert lines[2].rstrip().endswith("snapshot gone, host silent")
    assert "never" in shown([look(good(ledger=[], control=[], vault=[], copy=[]))])


def test_words_of_a_host_cannot_steer_a_terminal() -> None:
    evil = failed(NOW - 1, error="\x1b]0;owned\x07 [red]x[/red] \udce9\n")
    row = look(good(ledger=[*good_ledger(), started(NOW - 1), evil]))
    text = as_text([row])
    assert all(one.isprintable() or one == "\n" for one in text)
    assert text.splitlines()[0].startswith("failed: release-1:release: the run of 60 min ago failed: \\x1b]0;owned")
    assert "[red]x[/red]" in text
    assert clean("a\nb") == "a\\nb"
    json.dumps(as_json([row], at(NOW))).encode("ascii")


def test_json_says_all_of_it() -> None:
    told = json.loads(json.dumps(as_json([look(good(vault=snapshots(0)))], at(NOW))))
    assert told["exit_code"] == Kind.GONE.exit_code
    [one] = told["data_sets"]
    assert one["findings"][0]["kind"] == "snapshot gone"
    assert (one["host"], one["plan"], one["bytes"], one["snapshots"]) == ("release-1", "release", 1_000_000, 40)
    assert one["last_good"] == "2027-01-04T12:00:00+00:00"
    assert one["certificates"] == []
    shown = replace(look(good()), certificates=(Certificate("a.example.org", at(NOW)),))
    [one] = as_json([shown], at(NOW))["data_sets"]
    assert one["certificates"] == [{"name": "a.example.org", "ends": at(NOW).isoformat()}]
    empty = as_json([look(good(ledger=[], control=[], vault=None, copy=None))], at(NOW))
    assert empty["data_sets"][0]["last_good"] is None


def test_a_damaged_snapshot_is_damaged_and_not_gone() -> None:
    broken = identity(5 * DAY)
    assert broken[:8] in only(good(vault=snapshots(5 * DAY), unreadable=[broken]), Kind.DAMAGED)


def test_a_damaged_snapshot_of_what_was_copied_is_damaged_and_not_gone() -> None:
    """By another id than the one that is recorded, in the second copy and in a vault that was filled from it."""
    left, lost = copies()[:-2], [identity(hour)[:8] for hour in DAYS[-2:]]
    what = only(good(copy=left, copy_unreadable=["c" * 64, "d" * 64]), Kind.DAMAGED)
    assert what.endswith(f"as it seems the copies of {', '.join(lost)}")
    assert told(good(copy=left, copy_unreadable=["c" * 64])) == [Kind.GONE, Kind.DAMAGED]
    filled = [*good_control(), control(NOW - 1, "copy", ids=tuple(map(identity, DAYS)))]
    assert told(good(vault=copies()[:-1], unreadable=["c" * 64], control=filled)) == [Kind.DAMAGED]
    assert told(good(vault=snapshots(DAYS[-1]), unreadable=["c" * 64])) == [Kind.GONE, Kind.DAMAGED]


def test_a_strange_snapshot_that_is_only_in_the_second_copy_is_told() -> None:
    collected = [*good_control(), control(NOW - 0.1, "collect", upto=999, took=0)]
    strange, ahead = snapshot(-3000, id="e" * 64), snapshot(3000, id="f" * 64)
    what = only(good(copy=[*copies(), strange], control=collected), Kind.BACK_DATED)
    assert what.startswith("in the second copy: eeeeeeee: is dated 2026-07-23")
    assert "yet to come" in only(good(copy=[*copies(), ahead], control=collected), Kind.FUTURE)
    both = look(good(vault=[*snapshots(), strange], copy=[*copies(), strange], control=collected))
    assert [one.kind for one in both.findings] == [Kind.BACK_DATED]


@pytest.mark.parametrize(("number", "words"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")])
def test_sizes_are_told_in_fitting_units(number: int, words: str) -> None:
    assert size(number) == words


def test_one_is_told_as_one_and_many_as_many() -> None:
    assert [counted(number, "file") for number in (0, 1, 2000)] == ["0 files", "1 file", "2,000 files"]
    assert [counted(number, "branch", "branches") for number in (1, 2)] == ["1 branch", "2 branches"]
