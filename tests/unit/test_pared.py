"""What is left of a history tells the same as all of it: many small ones by chance, looked at while they grow."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from backup.accepting import amiss
from backup.data_set import DataSet
from backup.entry import Entry
from backup.pared import in_doubt, pare
from backup.remembered import _entries, _row
from backup.restic_results import Snapshot
from backup.status import as_json, status
from tests.unit.ledgers import at, control, entry, failed, hours, snapshot, started
from tests.unit.test_backup_year import PLAN

LOOKS = 8


class History:
    """Two ledgers as they grow, what is left of them, and what two stores list. Times are in hours."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.hour = 0.0
        self.lies, self.meddles = chance.choice((0, 0.05, 0.4)), chance.choice((0, 0, 0, 0.5, 2))
        self.ledger: list[Entry] = []
        self.control: list[Entry] = []
        self.left: tuple[list[Entry], list[Entry]] = ([], [])
        self.stores: dict[str, list[Snapshot]] = {"vault": [], "copy": []}
        self.away: list[tuple[str, Snapshot]] = []

    def note(self, which: list[Entry], one: Entry) -> None:
        placed = replace(one, seq=len(which) + 1)
        which.append(placed)
        self.left[which is self.control].append(placed)

    def some(self, ids: Sequence[str]) -> tuple[str, ...]:
        share = self.chance.choice((0.3, 0.7, 1))
        return tuple(one for one in ids if self.chance.random() < share)

    def grow(self) -> None:
        """An hour or a week passes, and something happens."""
        self.hour += self.chance.choice((0.1, 1, 6, 24, 170))
        happens = {
            self.run: 12,
            self.compare: 3,
            self.collect: 9,
            self.check: 5,
            self.copy: 5,
            self.retain: 4,
            self.accept: 1,
            self.rebuild: 0.3,
            self.meddle: self.meddles,
        }
        (what,) = self.chance.choices(list(happens), list(happens.values()))
        what()

    def lie(self) -> float:
        """What the clock says."""
        off = self.chance.choice((-0.3, 0.3, -40, 40, 900)) if self.chance.random() < self.lies else 0
        return self.hour + off

    def run(self) -> None:
        runs = [one for one in self.ledger if one.kind == "backup"]
        if runs and runs[-1].outcome == "started" and self.chance.random() < 0.7:
            began = (runs[-1].start - at(0)) / hours(1)  # it was under way all the time
        else:
            began = self.lie()
            self.note(self.ledger, started(began))
        ended = self.lie()
        match self.chance.choices(
            ("ok", "incomplete", "failed", "killed", "running"), (9, 2, 2, 0.2 + self.meddles, 1)
        )[0]:
            case "running":
                pass
            case "failed":
                self.note(self.ledger, failed(ended, self.chance.choice(("failed", "interrupted"))))
            case how:
                listed = snapshot(self.hour, time=at(began))
                self.stores["vault"].append(listed)
                if how != "killed":
                    end = at(ended + 0.05)
                    done = entry(began, snapshot=listed.id, outcome=how, bytes=self.chance.choice((10**6, 10**5)))
                    self.note(self.ledger, replace(done, end=max(end, done.start)))

    def compare(self) -> None:
        outcome = self.chance.choice(("ok", "ok", "damaged", "failed", "interrupted", "started"))
        self.note(self.ledger, entry(self.lie(), kind="verify", snapshot="", outcome=outcome, error=outcome))

    def collect(self) -> None:
        upto = self.chance.choice((len(self.ledger), max(len(self.ledger) - 1, 0)))
        if upto > max((one.upto for one in self.control), default=0):
            self.note(self.control, control(self.lie(), "collect", took=0, store="", upto=upto))

    def check(self) -> None:
        times = self.chance.choice((2, 2, 2, 20, 1))
        for part in range(1, times + 1):
            if self.chance.random() < 0.9:
                outcome = self.chance.choices(("ok", "damaged", "failed"), (8, 2, 1))[0]
                where = {"store": self.chance.choice(("vault", "copy")), "part": (part, times), "error": f"{self.hour}"}
                took = self.chance.choice((0, 0, 9))
                self.note(self.control, control(self.lie(), "check", took=took, outcome=outcome, **where))

    def copy(self) -> None:
        """What the copy lacks of the vault's recorded snapshots; the copies have ids of their own."""
        recorded = {one.snapshot for one in self.ledger if one.snapshot}
        there = {one.original for one in self.stores["copy"]}
        wanted = self.some([one.id for one in self.stores["vault"] if one.id in recorded - there])
        self.note(self.control, control(self.lie(), "copy", took=None, outcome="started", store="copy"))
        self.stores["copy"] += [replace(one, id=f"c{one.id[1:]}") for one in self.stores["vault"] if one.id in wanted]
        outcome = self.chance.choice(("ok", "ok", "failed"))
        self.note(self.control, control(self.lie(), "copy", took=0, outcome=outcome, store="copy", ids=wanted))

    def retain(self) -> None:
        """Of both stores or one; a killed run notes no end, and has removed some, all or none."""
        ids = self.some([one.original for one in self.stores["vault"][:-2]])
        for store in self.some(("vault", "copy")):
            self.note(self.control, control(self.lie(), "retain", took=None, outcome="started", store=store, ids=ids))
            outcome = self.chance.choices(("ok", "failed", "killed"), (9, 1, 1))[0]
            gone = ids if outcome == "ok" else self.some(ids)
            if self.chance.random() < 0.95:
                self.stores[store] = [one for one in self.stores[store] if one.original not in gone]
            if outcome != "killed":
                self.note(self.control, control(self.lie(), "retain", took=0, outcome=outcome, store=store, ids=ids))

    def accept(self) -> None:
        known = [one.snapshot for one in self.ledger if one.snapshot] + [one.id for one in self.stores["vault"]]
        ids = self.some(known[-6:])
        self.note(self.control, control(self.hour, "accept", took=0, store="", ids=ids, who="alice", why="looked"))

    def meddle(self) -> None:
        """A snapshot goes from a store, comes back, or is one that nobody made."""
        store = self.chance.choice(("vault", "copy"))
        match self.chance.choice(("go", "back", "strange", "dated", "twice", "again", "long")):
            case "go" if self.stores[store]:
                listed = self.stores[store]
                self.away.append((store, listed.pop(self.chance.randrange(len(listed)))))
            case "back" if self.away:
                store, one = self.away.pop()
                self.stores[store].append(one)
            case "strange":
                self.stores[store].append(snapshot(self.hour + 0.01, time=at(self.lie())))
            case "twice" if self.stores[store]:
                self.stores[store].append(replace(self.stores[store][0], id=f"d{self.hour:.1f}"))
            case "again" if self.ledger:
                old = self.chance.choice(self.ledger).snapshot
                self.note(self.ledger, entry(self.hour, snapshot=old, outcome="ok"))
            case "long":
                claimed = self.hour - self.chance.choice((0.5, 30, 800))
                self.stores["vault"].append(snapshot(claimed))
                self.note(self.ledger, entry(claimed, took=self.hour - claimed))
            case "dated" if self.stores[store]:
                self.stores[store][-1] = replace(self.stores[store][-1], time=at(self.lie() - 30))

    def rebuild(self) -> None:
        """A new vault is filled from the second copy."""
        self.stores["vault"] = [replace(one, id=f"v{one.id[1:]}") for one in self.stores["copy"]]
        ids = tuple(one.original for one in self.stores["copy"])
        self.note(self.control, control(self.hour, "copy", took=0, store="vault", ids=ids))

    def look(self) -> tuple[bool, Any, Any]:
        """Whether what is left is not enough, what is told by it and can be accepted, and by all."""
        listed: dict[str, list[Snapshot] | None] = {
            name: None if self.chance.random() < 0.1 else list(all_) for name, all_ in self.stores.items()
        }
        unreadable = self.some([one.original for one in self.stores["vault"]])[:1] if self.meddles else ()
        if self.chance.random() < 0.8:
            ledger, own = (
                json.loads(json.dumps([_row(one) for one in part])) for part in pare(*self.left, at(self.hour))
            )
            host = (PLAN.host, PLAN.name)
            self.left = _entries(*host, ledger), _entries(*host, own)
        looked = [
            DataSet(PLAN, ledger, own, at(self.hour), listed["vault"], listed["copy"], True, unreadable)
            for ledger, own in (self.left, (self.ledger, self.control))
        ]
        told = [
            as_json(status([one], at(self.hour)), at(self.hour)) | {"amiss": amiss(one, at(self.hour))}
            for one in looked
        ]
        return in_doubt(looked[0]), told[0], told[1]


@pytest.mark.parametrize(
    ("seed", "histories"), [(0, 40), *(pytest.param(seed, 150, marks=pytest.mark.full) for seed in range(8))]
)
def test_the_same_is_told_by_what_is_left(seed: int, histories: int) -> None:
    found: set[str] = set()
    doubts = looks = 0
    lines = left = 0
    for number in range(histories):
        history = History(random.Random(f"{seed} {number}"))
        for _ in range(LOOKS):
            for _ in range(history.chance.randint(1, 12)):
                history.grow()
            doubt, quick, whole = history.look()
            assert doubt or quick == whole, number
            doubts, looks = doubts + doubt, looks + 1
            found |= {one["kind"] for one in whole["data_sets"][0]["findings"]}
        lines += len(history.ledger) + len(history.control)
        left += sum(map(len, history.left))
    assert doubts < looks * 0.7
    assert left < lines * 0.7
    assert len(found) > 12


def test_what_went_from_the_copy_alone_is_gone_though_retention_took_it_from_the_vault() -> None:
    ids = (snapshot(0).id,)
    history = grown(
        [entry(-24), entry(0), *(entry(24 * day) for day in range(1, 5))],
        [collected(97, 6), control(98, "copy", took=0, store="copy", ids=ids), control(99, "retain", took=0, ids=ids)],
    )
    told = tell(history, 100, [snapshot(24 * day) for day in (-1, 1, 2, 3, 4)], [])
    assert "snapshot gone" in told


def test_a_second_snapshot_of_the_same_may_be_of_a_killed_run() -> None:
    """Only all lines tell."""
    history = grown([entry(0), started(5), failed(5), *(entry(24 * day) for day in range(1, 5))], [collected(97, 7)])
    tell(history, 100, [*(snapshot(24 * day) for day in range(5)), snapshot(5, original=snapshot(0).id)], None)


def test_once_the_control_sides_clock_went_back_only_all_lines_tell() -> None:
    """What was left out before may be what dates a line now."""
    history = grown([entry(24 * day) for day in range(5)], [collected(48.5, 3), collected(97, 4), collected(96.5, 5)])
    left = pare(*history.left, at(100))
    vault = [snapshot(24 * day) for day in range(5)]
    assert in_doubt(DataSet(PLAN, *left, at(100), vault, None, True))
    assert not in_doubt(DataSet(PLAN, left[0], left[1][:-1], at(100), vault, None, True))


def test_a_clock_that_goes_back_by_minutes_is_seen_by_a_line_that_is_no_backup() -> None:
    history = grown([entry(0), entry(1.1, took=0.05, kind="verify", snapshot="", outcome="interrupted")], [])
    history.note(history.control, collected(1, 2))
    history.look()
    history.note(history.ledger, entry(0.87, took=0.1))
    assert "back-dated" in tell(history, 2, [snapshot(0), snapshot(0.87)], None)


def collected(hour: float, upto: int) -> Entry:
    return control(hour, "collect", took=0, store="", upto=upto)


def grown(ledger: Sequence[Entry], own: Sequence[Entry]) -> History:
    history = History(random.Random(0))
    for which, entries in ((history.ledger, ledger), (history.control, own)):
        for one in entries:
            history.note(which, one)
    return history


def tell(history: History, hour: float, vault: list[Snapshot], copy: list[Snapshot] | None) -> set[str]:
    """The kinds of findings, the same by what is left and by all, unless that is in doubt."""
    left = pare(*history.left, at(hour))
    some, all_ = (
        DataSet(PLAN, *lines, at(hour), vault, copy, True) for lines in (left, (history.ledger, history.control))
    )
    told = [as_json(status([one], at(hour)), at(hour)) for one in (some, all_)]
    assert in_doubt(some) or told[0] == told[1]
    return {one["kind"] for one in told[1]["data_sets"][0]["findings"]}
