"""Every pack is read within 30 days: on any day, after missed ones, with any number of parts, whatever has failed."""

import random
from datetime import datetime, timedelta

import pytest

from backup.coverage import CLASSES, PARTS, WITHIN, coverage, damage, due, first_good
from backup.entry import Entry
from tests.unit.ledgers import NOON, at, control, entry, failed, started

DAY = timedelta(days=1)


def reading(day: float, part: tuple[int, int], outcome: str = "ok", store: str = "vault") -> Entry:
    return control(day * 24, "check", part=part, outcome=outcome, store=store)


def classes(part: tuple[int, int]) -> set[int]:
    return {one for one in range(CLASSES) if one % part[1] == part[0] - 1}


def test_a_round_of_parts_reads_every_pack() -> None:
    done: list[Entry] = []
    for day in range(PARTS):
        found = coverage(done, "vault", NOON, NOON + day * DAY)
        assert found.share == pytest.approx(day / PARTS, abs=0.02)
        [part] = due(done, "vault", NOON, NOON + day * DAY)
        done.append(reading(day, part))
    assert {entry.part for entry in done} == {(n, PARTS) for n in range(1, PARTS + 1)}
    assert coverage(done, "vault", NOON, NOON + PARTS * DAY).share == 1


@pytest.mark.parametrize("seed", [pytest.param(one, marks=[pytest.mark.full] * (one > 2)) for one in range(30)])
@pytest.mark.parametrize("parts", [1, 7, PARTS])
def test_no_pack_waits_longer_than_thirty_days_whatever_days_are_missed(parts: int, seed: int) -> None:
    """The model reads by its own account of classes, so that a mistake in the module cannot hide itself."""
    chance = random.Random(seed)
    last: dict[int, datetime] = dict.fromkeys(range(CLASSES), NOON)
    done: list[Entry] = []
    day, calm = 0.0, 0
    while day < 400:
        now = NOON + day * DAY
        assert max(now - read for read in last.values()) <= WITHIN
        for part in due(done, "vault", NOON, now, parts):
            done.append(reading(day, part))
            last.update(dict.fromkeys(classes(part), now))
        missed = chance.choice([0, 0, 0, 3, 30 - 1 - parts]) if calm > parts else 0
        calm = 0 if missed else calm + 1
        day += 1 + min(missed, 30 - 1 - parts)
    assert len(done) < 400 * 1.2


def test_a_change_of_the_number_of_parts_leaves_no_pack_out() -> None:
    last: dict[int, datetime] = dict.fromkeys(range(CLASSES), NOON)
    done: list[Entry] = []
    for day in range(200):
        now = NOON + day * DAY
        for part in due(done, "vault", NOON, now, (20, 7, 13, 28)[day // 10 % 4]):
            done.append(reading(day, part))
            last.update(dict.fromkeys(classes(part), now))
        found = coverage(done, "vault", NOON, now)
        assert found.oldest == min(last.values())
        assert not found.overdue


def test_what_is_late_already_is_read_at_once() -> None:
    assert due([], "vault", NOON, NOON + 31 * DAY) == [(n, PARTS) for n in range(1, PARTS + 1)]
    found = coverage([], "vault", NOON, NOON + 31 * DAY)
    assert (found.share, found.oldest, found.overdue, found.part) == (0, NOON, True, (1, PARTS))
    assert not coverage([], "vault", NOON, NOON + 30 * DAY).overdue


def test_what_was_read_before_is_read_again_in_time() -> None:
    done = [reading(0, (1, 1))]
    assert coverage(done, "vault", NOON, NOON + 30 * DAY).share == 1
    late = coverage(done, "vault", NOON, NOON + 30 * DAY + timedelta(seconds=1))
    assert (late.share, late.overdue) == (0, True)


def test_missed_days_are_made_up_for() -> None:
    assert len(due([], "vault", NOON, NOON + 26 * DAY, 7)) == 2
    assert len(due([], "vault", NOON, NOON + 27 * DAY, 7)) == 3
    assert len(due([], "vault", NOON, NOON + 29 * DAY, 7)) == 7
    done = [reading(day, (day + 1, PARTS)) for day in range(PARTS)]
    assert len(due(done, "vault", NOON, NOON + 20 * DAY)) == 1
    assert len(due(done, "vault", NOON, NOON + 24 * DAY)) == 2
    assert len(due(done, "vault", NOON, NOON + 45 * DAY)) > 10


@pytest.mark.parametrize(
    "nothing",
    [
        reading(1, (1, 1), "failed"),
        reading(1, (1, 1), "interrupted"),
        reading(1, (1, 1), "started"),
        reading(1, (1, 1), store="copy"),
        control(24, "check"),
        reading(5, (1, 1)),
        entry(24, kind="verify"),
    ],
)
def test_only_a_reading_that_ended_of_this_store_and_not_from_the_future_counts(nothing: Entry) -> None:
    now = NOON + 3 * DAY
    assert coverage([nothing], "vault", NOON, now) == coverage([], "vault", NOON, now)
    assert due([nothing], "vault", NOON, now) == due([], "vault", NOON, now)


def test_a_damaged_part_is_read_again_each_day_and_holds_up_no_other() -> None:
    done: list[Entry] = []
    for day in range(100):
        now = NOON + day * DAY
        for part in due(done, "vault", NOON, now):
            done.append(reading(day, part, "damaged" if part == (3, PARTS) else "ok"))
        found = coverage(done, "vault", NOON, now)
        assert not found.overdue
        assert found.damaged == (((3, PARTS),) if day >= 2 else ())
    done.append(reading(100, (3, PARTS)))
    assert coverage(done, "vault", NOON, NOON + 100 * DAY).damaged == ()
    assert len(done) < 210


def test_what_is_written_down_late_hides_no_damage_found_since() -> None:
    """A laptop that worked apart hands over a sound reading of all; the control host had found damage meanwhile."""
    found, apart = reading(2, (5, PARTS), "damaged"), reading(0, (1, 1))
    now = NOON + 4 * DAY
    for done in ([found, apart], [apart, found]):
        assert damage(done, "vault", now) == "damage was found in part 5/20"
        assert coverage(done, "vault", NOON, now).damaged == ((5, PARTS),)
        assert due(done, "vault", NOON, now)[-1] == (5, PARTS)
        assert coverage(done, "vault", NOON, now).share == 1
    assert damage([reading(2, (5, PARTS)), reading(0, (1, 1), "damaged")], "vault", now) == (
        "damage was found in part 1/1"
    )
    assert damage([reading(2, (1, 1)), reading(0, (5, PARTS), "damaged")], "vault", now) == ""


def test_a_reading_that_takes_long_hides_no_damage_and_its_own_is_not_hidden() -> None:
    """It is sound as of its start, and what it found damaged may have been so until its end."""
    now = NOON + 4 * DAY
    long, short = {"took": 10.0, "part": (1, 1)}, {"part": (5, PARTS)}
    sound, hit = control(0, "check", **long), control(5, "check", outcome="damaged", **short)
    assert damage([hit, sound], "vault", now) == "damage was found in part 5/20"
    sound, hit = control(5, "check", **short), control(0, "check", outcome="damaged", **long)
    assert damage([sound, hit], "vault", now) == "damage was found in part 1/1"
    assert damage([sound, hit, control(11, "check", **long)], "vault", now) == ""


def test_damage_of_the_structure_goes_by_time_too() -> None:
    hit, sound = control(5, "check", outcome="damaged", error="x"), control(0, "check")
    now = NOON + 4 * DAY
    assert damage([hit, sound], "vault", now) == "damage was found in the structure: x"
    assert damage([control(6, "check"), hit], "vault", now) == ""
    assert damage([control(500, "check"), hit], "vault", now) != ""


def test_what_is_proved_of_a_vault_that_was_filled_anew_goes_by_time() -> None:
    """Both may be handed over late: the filling, and a check of the vault that was lost."""
    filled = control(24, "copy", took=5.0)
    now = NOON + 4 * DAY
    hit, old = reading(2, (5, PARTS), "damaged"), reading(0, (1, 1))
    for done in ([filled, hit, old], [old, filled, hit], [hit, filled, old]):
        assert damage(done, "vault", now) == "damage was found in part 5/20"
        assert coverage(done, "vault", NOON, now).share < 0.1
    during = control(26, "check", part=(1, 1))
    assert coverage([filled, during], "vault", NOON, now).share == 0
    assert coverage([control(500, "copy"), old], "vault", NOON, now).share == 1


def test_parts_that_cannot_be_read_in_time_are_refused() -> None:
    for parts in (0, 30, 300):
        with pytest.raises(ValueError, match="do not fit into 30 days"):
            due([], "vault", NOON, NOON, parts)


def test_packs_are_there_since_the_first_snapshot() -> None:
    assert first_good([started(0), failed(0)]) is None
    assert first_good([failed(-1), started(0), entry(0, outcome="incomplete"), entry(1)]) == at(0)
