"""Retention keeps what a plan declares, whatever clocks say, and removes nothing when anything is amiss."""

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from backup.entry import Entry
from backup.expected import Dated
from backup.restic_results import Snapshot
from backup.retention import Keep, Retention, chosen, retention
from cli.backup import app
from tests.unit.ledgers import NOON, at, control, entry, identity, snapshot, started

KEEP = Keep(last=3, daily=7, weekly=4, monthly=6)
DAYS = [24.0 * day for day in range(100)]


def run(
    days: list[float] = DAYS, keep: Keep = KEEP, *, listed: list[Snapshot] | None = None, now: float = 2400, **more: Any
) -> Retention:
    """On a ledger of good backups at these hours, the newest of them verified."""
    ledger = more.pop("ledger", [entry(hour) for hour in days])
    done = more.pop("control", [control(2390, "check", part=(1, 20))])
    there = [snapshot(hour) for hour in days] if listed is None else listed
    return retention("release-1", "release", keep, ledger, done, there, at(now), **more)


def kept(found: Retention) -> list[str]:
    return [one.recorded for one in found.verdicts if one.keep]


def as_dated(ledger: list[Entry]) -> list[Dated]:
    return [Dated(one, one.start, "", False) for one in ledger]


def test_days_weeks_and_months_are_kept_as_the_plan_declares() -> None:
    found = run()
    assert found.refused == ()
    days = sorted({(NOON + timedelta(hours=hour)).date() for hour in DAYS}, reverse=True)
    weeks = list({day.isocalendar()[:2]: day for day in reversed(days)}.values())[::-1][:4]
    months = list({(day.year, day.month): day for day in reversed(days)}.values())[::-1][:6]
    wanted = {*days[:7], *weeks, *months}
    assert {one.time.date() for one in found.verdicts if one.keep} == wanted
    assert len(found.removals) == len(DAYS) - len(wanted)


@pytest.mark.parametrize("seed", range(40))
def test_what_is_kept_holds_what_was_declared_for_any_history(seed: int) -> None:
    chance = random.Random(seed)
    hours = sorted(chance.sample(range(3000), chance.randint(1, 150)))
    keep = Keep(chance.randint(1, 4), chance.randint(0, 8), chance.randint(0, 5), chance.randint(0, 13))
    ledger = [entry(hour, outcome=chance.choice(["ok", "ok", "incomplete"])) for hour in hours]
    reasons = chosen(as_dated(ledger), keep)
    ok = [one for one in ledger if one.outcome == "ok"]
    assert {one.snapshot for one in ok[-keep.last :]} <= reasons.keys()
    for count, period in ((keep.daily, "%Y-%m-%d"), (keep.weekly, "%G-%V"), (keep.monthly, "%Y-%m")):
        names = {f"{one.start:{period}}" for one in ok if one.snapshot in reasons}
        assert set(sorted({f"{one.start:{period}}" for one in ok})[-count:] if count else []) <= names
    again = chosen(as_dated([one for one in ledger if one.snapshot in reasons]), keep)
    assert again.keys() == reasons.keys()
    assert len(reasons) <= keep.last + keep.daily + keep.weekly + keep.monthly + sum(
        one.outcome != "ok" for one in ledger
    )


def test_an_incomplete_backup_pushes_out_no_complete_one() -> None:
    ledger = [
        entry(0),
        entry(1, outcome="incomplete"),
        entry(1.5),
        entry(2, outcome="incomplete"),
        entry(30, outcome="incomplete"),
        entry(31, outcome="incomplete"),
    ]
    reasons = chosen(as_dated(ledger), Keep(last=1, daily=2))
    assert reasons == {
        identity(1.5): ["the last", "daily 1"],
        identity(2): ["incomplete, and no sound one is newer"],
        identity(30): ["incomplete, and no sound one is newer"],
        identity(31): ["incomplete, and no sound one is newer"],
    }


def test_the_clock_decides_nothing() -> None:
    soon = run(now=2400)
    years_later = run(now=99_999, control=[control(99_990, "check")])
    assert kept(soon) == kept(years_later)
    assert years_later.refused == ()


def test_a_missing_snapshot_stops_it() -> None:
    found = run(listed=[snapshot(hour) for hour in DAYS if hour != 240])
    assert found.removals == []
    assert f"{identity(240)[:8]} must be there and is not" in found.refused[0]
    assert "`mainstay backup accept release-1:release ID...`" in found.refused[0]
    vouched = [control(2395, "accept", ids=(identity(240),)), control(2390, "check")]
    assert run(listed=[snapshot(hour) for hour in DAYS if hour != 240], control=vouched).refused == ()


def copied(*hours: float) -> Entry:
    return control(2380, "copy", store="copy", ids=tuple(map(identity, hours)))


def test_the_second_copy_misses_only_what_was_copied_there() -> None:
    """Not an incomplete backup, nor what the vault thinned out before, nor the newest that is yet to be copied."""
    days = DAYS[:-1]
    ledger = [*(entry(hour) for hour in DAYS), entry(2377, outcome="incomplete")]
    thinned = control(2379, "retain", ids=(identity(240), identity(264)))
    done = [thinned, copied(*days), control(2390, "check", store="copy")]
    listed = [snapshot(hour) for hour in days]
    assert run(ledger=ledger, listed=listed, control=done, store="copy").refused == ()
    done[1] = copied(*(hour for hour in days if hour not in (240, 264)))
    listed = [snapshot(hour) for hour in days if hour not in (240, 264)]
    assert run(ledger=ledger, listed=listed, control=done, store="copy").refused == ()
    found = run(ledger=ledger, listed=listed[:5] + listed[6:], control=done, store="copy")
    assert found.removals == []
    assert f"{identity(120)[:8]} must be there and is not" in found.refused[0]


def test_a_wrong_date_of_what_the_vault_thinned_out_before_it_was_copied_stops_no_retention_of_the_copy() -> None:
    ahead = Entry(**(vars(entry(9000)) | {"seq": 101}))
    ledger = [Entry(**(vars(entry(hour)) | {"seq": number})) for number, hour in enumerate(DAYS, 1)] + [ahead]
    done = [control(2378, "collect", upto=101), copied(*DAYS), control(2390, "check", store="copy")]
    found = run(ledger=ledger, listed=[*map(snapshot, DAYS)], control=done, store="copy")
    assert "from the future" in found.refused[0]
    thinned = control(2379, "retain", ids=(ahead.snapshot,))
    assert run(ledger=ledger, listed=[*map(snapshot, DAYS)], control=[*done, thinned], store="copy").refused == ()


def test_what_was_removed_before_is_not_missed() -> None:
    first = run()
    left = [one for one in (snapshot(hour) for hour in DAYS) if one.id in kept(first)]
    done = [control(2390, "check"), control(2391, "retain", ids=tuple(one.recorded for one in first.removals))]
    again = run(listed=left, control=done)
    assert (again.refused, again.removals) == ((), [])


def test_a_run_that_was_cut_short_is_finished_by_the_next() -> None:
    first = run()
    ids = tuple(one.recorded for one in first.removals)
    done = [control(2390, "check"), control(2391, "retain", outcome="started", ids=ids)]
    left = [one for one in (snapshot(hour) for hour in DAYS) if one.id not in ids[:40]]
    again = run(listed=left, control=done)
    assert [one.recorded for one in again.removals] == list(ids[40:])
    larger = run(listed=left, control=done, keep=Keep(last=100))
    assert larger.removals == []


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (snapshot(-5000), "is back-dated"),
        (snapshot(5000), "is from the future"),
    ],
)
def test_a_date_that_cannot_be_true_stops_it(odd: Snapshot, words: str) -> None:
    done = [control(2389, "collect", upto=100), control(2390, "check")]
    ledger = [entry(hour) for hour in DAYS]
    found = run(ledger=ledger, listed=[odd, *map(snapshot, DAYS)], control=done)
    assert found.removals == []
    assert words in found.refused[0]


def test_snapshots_dated_ahead_push_nothing_out() -> None:
    """Ten that claim to be of next year, once accepted, stand for no day that a true one stands for."""
    ahead = [9000.0 + 24 * day for day in range(10)]
    ledger = [entry(hour) for hour in DAYS] + [entry(hour) for hour in ahead]
    ledger = [Entry(**(vars(one) | {"seq": number})) for number, one in enumerate(ledger, 1)]
    done = [control(2388, "collect", upto=100), control(2389, "collect", upto=110), control(2390, "check")]
    listed = [*map(snapshot, DAYS), *map(snapshot, ahead)]
    refused = run(ledger=ledger, listed=listed, control=done)
    assert "from the future" in refused.refused[0]
    vouched = control(2391, "accept", ids=tuple(map(identity, ahead)))
    allowed = run(ledger=ledger, listed=listed, control=[*done, vouched], keep=Keep(last=1, daily=7))
    assert allowed.refused == ()
    assert {*kept(allowed)} == {*map(identity, DAYS[-7:]), *map(identity, DAYS[-1:]), *map(identity, ahead)}


@pytest.mark.parametrize(
    "done",
    [
        [],
        [control(2390, "check", outcome="failed")],
        [control(2390, "check", outcome="started")],
        [control(2390, "check", store="copy")],
        [control(2376, "check")],
        [control(2500, "check")],
    ],
)
def test_a_newest_snapshot_that_is_not_verified_stops_it(done: list[Entry]) -> None:
    found = run(control=done)
    assert found.removals == []
    assert found.refused == (
        f"the newest, {identity(2376)[:8]}, is not verified. Run `mainstay backup verify release-1:release`.",
    )


HALF_HOURS = [number / 2 for number in range(400)]
"""Of backups that take 6 minutes each, until hour 199.6."""
OFTEN = Keep(last=24, daily=14)


def half_hourly(*done: Entry, now: float = 200) -> Retention:
    return run(HALF_HOURS, OFTEN, control=list(done), now=now, max_share=1)


def test_backups_that_come_while_a_check_runs_forbid_nothing_and_stay() -> None:
    """A check from hour 190 on takes five hours; there is none that began after the newest backup."""
    found = half_hourly(control(190, "check", took=5, part=(3, 20)))
    assert found.refused == ()
    assert found.removals
    seen = [hour for hour in HALF_HOURS if hour + 0.1 <= 190]
    as_then = run(seen, OFTEN, control=[control(190, "check")], now=190.2)
    assert {*kept(found)} == {*kept(as_then), *(identity(hour) for hour in HALF_HOURS if hour + 0.1 > 190)}
    assert next(one for one in found.verdicts if one.time == at(190)).why == "came after the last check"


@pytest.mark.parametrize("seed", range(20))
def test_what_is_removed_was_seen_by_a_check_and_so_was_what_stands_in_for_it(seed: int) -> None:
    """Of what was seen is kept what the plan would keep if there were no more."""
    chance = random.Random(seed)
    days = sorted(map(float, chance.sample(range(0, 1000, 4), 200)))
    ledger = [entry(hour, took=chance.random() * 3, outcome=chance.choice(["ok", "ok", "incomplete"])) for hour in days]
    began = chance.uniform(980, 995)
    outcomes = {began - 30: "ok", began: "ok", began + 1: "failed", 1100: "ok"}
    done = [control(hour, "check", took=5, outcome=outcome) for hour, outcome in outcomes.items()]
    keep = Keep(chance.randint(1, 4), chance.randint(0, 8), chance.randint(0, 5), chance.randint(0, 13))
    found = run(days, keep, ledger=ledger, control=done, now=1001, max_share=1)
    assert found.refused == ()
    seen = [one for one in ledger if one.written <= at(began)]
    assert {one.recorded for one in found.verdicts if not one.keep} <= {one.snapshot for one in seen}
    reasons = chosen(as_dated(seen), keep)
    assert {one.recorded for one in found.verdicts if one.keep and one.time < at(900)} == {
        one.snapshot for one in seen if one.snapshot in reasons and one.start < at(900)
    }
    newest = max((one for one in seen if one.outcome == "ok"), key=lambda one: one.start)
    assert newest.snapshot in kept(found)


def test_a_check_stands_for_a_day_and_not_for_longer() -> None:
    """It counts from its end: one that takes days is not too old when it is done."""
    check = control(123, "check", took=60)
    assert half_hourly(check, now=200.9).refused == ()
    assert half_hourly(check, now=201.1).refused == (
        f"the newest, {identity(199.5)[:8]}, is not verified. Run `mainstay backup verify release-1:release`.",
    )
    late = half_hourly(control(199.7, "check", took=0.1), now=300)
    assert late.removals == []
    assert late.refused == (
        f"the newest, {identity(199.5)[:8]}, was verified 4 days ago, allowed are 18 h. "
        "Run `mainstay backup verify release-1:release`.",
    )


def test_a_check_of_everything_that_ends_after_the_check_of_a_part_counts() -> None:
    """It sees less of the newest than the one that was begun later, which is too old."""
    whole, part = control(150, "check", took=49, part=(1, 1)), control(170, "check", part=(3, 20))
    found = half_hourly(part, whole)
    assert found.refused == ()
    assert {*kept(found)} >= {identity(hour) for hour in HALF_HOURS if hour >= 150}


def test_what_was_copied_after_the_check_stands_in_for_nothing_in_the_copy() -> None:
    """However old the backup is; also what was copied a second time, and what a killed copy left unwritten."""
    check = control(2390, "check", store="copy")
    keep = Keep(last=1)

    def left(*copies: Entry) -> list[str]:
        found = run([0.0, 24.0, 48.0], keep, control=[*copies, check], store="copy")
        assert found.refused == ()
        return kept(found)

    after = control(2392, "copy", store="copy", ids=(identity(48),))
    assert left(copied(0, 24, 48)) == [identity(48)]
    for late in ([copied(0, 24), after], [copied(0, 24, 48), after], [copied(0, 24)]):
        assert left(*late) == [identity(24), identity(48)]
    refused = run([0.0, 24.0], keep, control=[check, replace(after, ids=(identity(0), identity(24)))], store="copy")
    assert "is not verified" in refused.refused[0]


def test_a_check_that_saw_no_complete_backup_stands_for_none() -> None:
    found = half_hourly(control(0.05, "check", took=190))
    assert "is not verified" in found.refused[0]


def test_the_remains_of_a_killed_run_stay_until_a_check_saw_a_later_backup() -> None:
    ledger = [entry(0), started(1), started(2), entry(2)]
    listed = [snapshot(0), snapshot(1), snapshot(2)]
    found = run(ledger=ledger, listed=listed, control=[control(1.5, "check")], now=4)
    assert (found.refused, found.removals) == ((), [])


@pytest.mark.parametrize("part", [(3, 20), None])
def test_damage_that_is_not_mended_stops_it(part: tuple[int, int] | None) -> None:
    good, damaged = control(2389, "check"), control(2390, "check", part=part, outcome="damaged", error="pack abc")
    found = run(control=[good, damaged])
    assert found.removals == []
    assert "damage was found" in found.refused[0]
    assert "pack abc" in found.refused[0]
    assert run(control=[good, damaged, control(2391, "check", part=part)]).refused == ()


def test_removing_more_than_a_share_stops_it() -> None:
    found = run(keep=Keep(last=1))
    assert found.removals == []
    assert "99 of 100 snapshots would go, more than 98%" in found.refused[0]
    assert len(run(keep=Keep(last=1), max_share=0.99).removals) == 99


def test_a_half_hourly_plan_is_thinned_out_every_month_without_asking() -> None:
    month = [number / 2 for number in range(30 * 48)]
    found = run(month, Keep(last=24, daily=14, weekly=8, monthly=12), control=[control(720, "check")], now=721)
    assert found.refused == ()
    assert len(found.removals) > 0.95 * len(month)


def test_a_disputed_ledger_stops_it() -> None:
    found = run(disputed="line 3: history was rewritten")
    assert found.removals == []
    assert "line 3: history was rewritten" in found.refused[0]


def test_no_complete_backup_stops_it() -> None:
    found = run(ledger=[entry(0, outcome="incomplete")], listed=[snapshot(0)])
    assert "no complete backup is there" in found.refused[0]
    assert "no complete backup is there" in run([]).refused[0]


def test_what_no_ledger_knows_is_never_removed() -> None:
    pending = snapshot(2399)
    found = run(listed=[*map(snapshot, DAYS), pending])
    assert found.refused == ()
    assert next(one for one in found.verdicts if one.id == pending.id).why == "not in the ledger"
    assert pending.id not in {one.id for one in found.removals}


def test_what_was_copied_twice_stays_and_goes_as_one() -> None:
    """Of two copies at once, each brought over all."""
    ledger = [entry(hour) for hour in DAYS]
    once = [replace(snapshot(hour), id=f"c{identity(hour)[1:]}") for hour in DAYS]
    listed = [*once, *(replace(one, id=f"d{one.id[1:]}") for one in once)]
    done = [copied(*DAYS), control(2381, "collect", upto=100), control(2390, "check", store="copy")]
    found = run(ledger=ledger, listed=listed, control=done, store="copy")
    assert found.refused == ()
    single = run()
    kinds = {one.recorded: one.keep for one in single.verdicts}
    assert len(found.verdicts) == 2 * len(single.verdicts)
    assert all(one.keep == kinds[one.recorded] for one in found.verdicts)
    assert {one.why for one in found.verdicts if one.id.startswith("d") and one.keep} >= {
        f"the same as c{identity(2376)[1:8]}: the last, daily 1, weekly 1, monthly 1"
    }


def test_the_remains_of_a_killed_run_go_once_a_later_one_is_complete() -> None:
    ledger = [entry(0), started(1), started(2), entry(2)]
    listed = [snapshot(0), snapshot(1), snapshot(2)]
    done = [control(3, "check")]
    assert [one.id for one in run(ledger=ledger, listed=listed, control=done, now=4).removals] == [identity(1)]
    found = run(ledger=ledger[:2], listed=listed[:2], control=done, now=4)
    assert found.removals == []


def test_a_dry_run_says_why_for_each_snapshot() -> None:
    text = run([0.0, 24.0, 48.0], Keep(last=1, monthly=1)).dry().splitlines()
    assert text == [
        "release-1:release: keeps 1 of 3 snapshots",
        f"  remove  {identity(0)[:8]}  2026-11-25 12:00  none of those that the plan keeps",
        f"  remove  {identity(24)[:8]}  2026-11-26 12:00  none of those that the plan keeps",
        f"  keep    {identity(48)[:8]}  2026-11-27 12:00  the last, monthly 1",
    ]
    assert "would keep" in run(disputed="line 3").dry()


def test_a_plan_that_keeps_nothing_is_refused() -> None:
    for numbers in ((0, 7, 0, 0), (1, -1, 0, 0)):
        with pytest.raises(ValueError, match="keep: last must be 1 or more"):
            Keep(*numbers)


def test_backups_that_an_intruder_dates_back_push_no_good_ones_out() -> None:
    """Each claims to have begun in the last minutes of a day long ago, and to have run until now."""
    good, ledger, done = [24.0 * day for day in range(120)], [], []
    for hour in good:
        ledger += [started(hour), entry(hour)]
        done.append(control(hour + 1, "collect", took=0, upto=len(ledger)))
    now = good[-1] + 26
    evil = [hour + 11.9 for hour in good]
    ledger += [entry(hour, took=now - 1 - hour) for hour in evil]
    done += [control(now - 0.9, "collect", took=0, upto=len(ledger)), control(now - 0.5, "check", part=(1, 1))]
    numbered = [replace(one, seq=number) for number, one in enumerate(ledger, 1)]
    listed = [snapshot(hour) for hour in sorted(good + evil)]
    found = run(ledger=numbered, control=done, listed=listed, now=now)
    assert "back-dated: claims to have begun" in found.refused[0]
    assert {identity(hour) for hour in good[-7:]} <= set(kept(found))


@pytest.mark.parametrize("share", ["98", "-0.1"])
def test_a_share_that_is_none_does_not_lift_the_guard(share: str) -> None:
    done = CliRunner().invoke(app, ["retain", "--max-share", share])
    assert done.exit_code == 2
    assert "--max-share" in done.output
