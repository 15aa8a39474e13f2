"""What must exist against what is listed: nothing that is gone, back-dated, ahead of time or slipped in goes unseen."""

import time
from dataclasses import replace
from typing import Any

import pytest

from backup.entry import Entry
from backup.expected import Comparison, compare
from backup.restic_results import Snapshot
from tests.unit.ledgers import at, control, entry, failed, hours, identity, snapshot, started


def numbered(*entries: Entry) -> list[Entry]:
    return [replace(one, seq=number) for number, one in enumerate(entries, 1)]


def collect(hour: float, upto: int) -> Entry:
    return control(hour, "collect", took=0, upto=upto)


def compared(ledger: list[Entry], listed: list[Snapshot], *done: Entry, now: float = 100) -> Comparison:
    return compare(numbered(*ledger), done, listed, at(now))


def odd(found: Comparison) -> list[tuple[str, bool]]:
    return [(one.id, one.future) for one in found.odd]


def test_all_as_it_should_be() -> None:
    found = compared([started(0), entry(0), failed(1), entry(2)], [snapshot(0), snapshot(2)], collect(3, 4))
    assert (found.gone, found.odd, found.unfinished, found.pending) == ((), (), (), ())
    assert [one.time for one in found.good()] == [at(0), at(2)]


def test_what_is_not_listed_is_gone() -> None:
    found = compared([entry(0), entry(1, outcome="incomplete"), entry(2)], [snapshot(2)])
    assert [one.snapshot for one in found.gone] == [identity(0), identity(1)]


def test_what_retention_removed_or_began_to_remove_may_be_gone() -> None:
    for outcome in ("ok", "started", "failed"):
        done = control(5, "retain", ids=(identity(0),), outcome=outcome)
        assert compared([entry(0)], [], done).gone == ()
    elsewhere = control(5, "retain", ids=(identity(0),), store="copy")
    assert len(compared([entry(0)], [], elsewhere).gone) == 1


def test_what_an_admin_vouched_for_is_told_no_more() -> None:
    vouched = control(5, "accept", ids=(identity(0), identity(1), identity(2)))
    ledger = [entry(0), entry(1, start=at(99), end=at(99))]
    found = compared(ledger, [snapshot(1), snapshot(2)], collect(2, 2), vouched)
    assert (found.gone, found.odd) == ((), ())


def test_who_says_that_his_was_copied_from_what_an_admin_vouched_for_is_told() -> None:
    """As an intruder knows the ids of those that were removed after his last visit. What was copied has them too."""
    stranger = snapshot(3, id="e" * 64, original="d" * 64)
    done = [control(5, "accept", store="", ids=("d" * 64,)), collect(6, 1)]
    assert odd(compared([entry(0)], [snapshot(0), stranger], *done)) == [("e" * 64, False)]
    filled = control(5, "copy", ids=(identity(0),))
    assert odd(compared([entry(0)], [snapshot(0), stranger], *done, filled)) == []


def test_a_copy_of_a_copy_still_is_what_it_was_copied_from() -> None:
    found = compared([entry(0)], [snapshot(0, id="c" * 64, original=identity(0))])
    assert found.gone == ()
    assert found.there[identity(0)].id == "c" * 64


def test_a_snapshot_that_claims_to_be_another_is_not_taken_for_it() -> None:
    forged = snapshot(-500, id="c" * 64, original=identity(0))
    found = compared([entry(0), entry(1)], [forged, snapshot(0), snapshot(1)], collect(2, 2))
    assert found.there[identity(0)].id == identity(0)
    assert odd(found) == [("c" * 64, False)]


def twice(hour: float, **more: Any) -> Snapshot:
    """What a second of two copies at once made of the backup of that hour."""
    return snapshot(hour, **({"id": "d" * 64, "original": identity(hour)} | more))


def test_what_two_copies_at_once_brought_over_twice_is_neither_strange_nor_new() -> None:
    first = snapshot(0, id="c" * 64, original=identity(0))
    for listed in ([first, twice(0), snapshot(1)], [snapshot(0), twice(0), snapshot(1)]):
        for done in ([collect(50, 2)], []):
            found = compared([entry(0), entry(1)], listed, *done)
            assert (found.gone, found.odd, found.unfinished, found.pending) == ((), (), (), ())
            assert found.there[identity(0)] == listed[0]
            assert found.doubles == {"d" * 64: identity(0)}


@pytest.mark.parametrize("differs", [{"time": at(0.05)}, {"tree": "e" * 64}, {"paths": ("/etc",)}, {"host": "web-1"}])
def test_what_says_that_it_is_another_and_differs_is_none_of_two(differs: dict[str, Any]) -> None:
    found = compared([entry(0), entry(1)], [snapshot(0), twice(0, **differs), snapshot(1)], collect(50, 2))
    assert (odd(found), found.doubles) == ([("d" * 64, False)], {})


def test_a_back_dated_snapshot_is_seen_with_or_without_a_line() -> None:
    slipped_in = snapshot(-500)
    found = compared([entry(0), entry(1)], [slipped_in, snapshot(0), snapshot(1)], collect(2, 2))
    assert odd(found) == [(identity(-500), False)]
    assert "no ledger knows" in found.odd[0].why
    other_date = snapshot(1, time=at(-500))
    found = compared([entry(0), entry(1)], [snapshot(0), other_date], collect(2, 2))
    assert odd(found) == [(identity(1), False)]
    line = entry(-500)
    found = compared([entry(0), line], [slipped_in, snapshot(0)], collect(1, 1), collect(2, 2))
    assert odd(found) == [(identity(-500), False)]
    assert found.backups[1].time == at(1)


def test_a_clock_that_went_back_is_seen_without_any_collection() -> None:
    found = compared([entry(10), entry(5)], [snapshot(10), snapshot(5)])
    assert odd(found) == [(identity(5), False)]


def test_a_snapshot_from_the_future_is_seen_with_or_without_a_line() -> None:
    found = compared([entry(0)], [snapshot(0), snapshot(200)])
    assert odd(found) == [(identity(200), True)]
    found = compared([entry(200)], [snapshot(200)])
    assert odd(found) == [(identity(200), True)]
    assert found.backups[0].time == at(100)
    later = compared([entry(200), entry(50)], [snapshot(200), snapshot(50)], collect(3, 1), collect(51, 2), now=300)
    assert odd(later) == [(identity(200), True)]
    assert [one.time for one in later.backups] == [at(3), at(50)]


def test_clocks_may_differ_a_little() -> None:
    ledger = [entry(0), entry(1)]
    done = (collect(0.05, 1), collect(1.2, 2))
    near = [snapshot(0, time=at(0) - hours(0.1)), snapshot(1, time=at(1) + hours(0.2))]
    assert compared(ledger, near, *done).odd == ()


def test_a_long_run_that_was_under_way_at_a_collection_is_not_back_dated() -> None:
    found = compared([started(0), entry(0, took=30)], [snapshot(0)], collect(10, 1), collect(31, 2))
    assert found.odd == ()


LONG_AGO = entry(-2000, took=2000 + 24.5)
"""It claims to have begun before all others, and its snapshot is of then."""


@pytest.mark.parametrize(
    "lines",
    [
        [LONG_AGO],
        [started(-2000), LONG_AGO],
        [started(24), LONG_AGO],
        [started(24), failed(24), LONG_AGO],
    ],
)
def test_a_backup_that_claims_to_have_begun_long_ago_is_back_dated(lines: list[Entry]) -> None:
    """An intruder would have retention keep his in the place of good ones of then."""
    before = [started(-2000), entry(-2000, snapshot=identity(5)), started(0), entry(0)]
    done = (collect(-1990, 2), collect(1, 4), collect(25, 4 + len(lines)))
    listed = [snapshot(-2000, id=identity(5)), snapshot(0), snapshot(-2000)]
    found = compared([*before, *lines], listed, *done)
    assert odd(found) == [(LONG_AGO.snapshot, False)]
    assert [one.time for one in found.good()][-1] >= at(1)


def test_a_start_that_is_long_past_makes_no_stranger_one_of_a_killed_run() -> None:
    found = compared([entry(0), started(-2000)], [snapshot(0), snapshot(-1000)], collect(1, 1), collect(25, 2))
    assert (odd(found), found.unfinished) == ([(identity(-1000), False)], ())


def test_a_snapshot_of_a_killed_run_is_known_by_its_start() -> None:
    for after in ([], [started(1)], [started(0.5), failed(0.5)], [failed(0)]):
        ledger = [started(-1), entry(-1), started(0), *after, started(5), entry(5)]
        found = compared(ledger, [snapshot(-1), snapshot(0), snapshot(5)], collect(6, 9))
        assert [one.id for one in found.unfinished] == [identity(0)]
        assert found.odd == ()


def test_killed_runs_that_overlap_are_told_apart_from_what_came_after() -> None:
    """The longest may have begun first, and none before what was written before it."""
    for ledger, killed in (
        ([started(0), failed(8), started(2), failed(3)], list(range(9))),
        ([started(2), failed(3), started(0), failed(8)], [2, 3]),
        ([started(0), failed(1), started(4), failed(5), started(7), entry(8)], [0, 1, 4, 5]),
        ([started(0), entry(1), started(6)], list(range(6, 10))),
    ):
        strangers = [snapshot(hour, id=f"{hour:x}" * 64) for hour in range(10)]
        found = compared(ledger, strangers, collect(90, len(ledger)))
        assert [one.time for one in found.unfinished] == [at(hour) for hour in killed]


def test_many_strangers_among_many_runs_hold_nobody_up() -> None:
    """A host that somebody broke into can add as many snapshots as there is room, and lines to its ledger."""
    ledger = [started(number / 100) for number in range(8000)]
    strangers = [snapshot(-number - 1) for number in range(8000)]
    began = time.process_time()
    assert len(compared(ledger, strangers, collect(90, 8000)).odd) == 8000
    assert time.process_time() - began < 2


def test_a_snapshot_newer_than_the_collected_ledger_is_waited_for() -> None:
    found = compared([entry(0)], [snapshot(0), snapshot(5)], collect(1, 1))
    assert ([one.id for one in found.pending], found.odd) == ([identity(5)], ())
    assert [one.id for one in compared([], [snapshot(5)]).pending] == [identity(5)]
