"""Half a year of backups, collections, checks, copies and retention on a model: silent while all is well, only then."""

import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from backup.collected import ask_after, collect, count, known, note
from backup.control import looked
from backup.coverage import due, first_good
from backup.data_set import Kind, Plan
from backup.entry import Entry
from backup.ledger import append, lines
from backup.remembered import recall
from backup.restic_results import Snapshot
from backup.retention import Keep, retention
from backup.status import Row, status
from tests.unit.ledgers import at, control, entry, snapshot, started

DAY = 24
KEEP = Keep(last=3, daily=7, weekly=4, monthly=6)
PLAN = Plan("release-1", "release", "daily", 30)


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about surviving a crash, and thousands of lines take their time to reach a disk."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


class Model:
    """A host, its ledger, a vault, a second copy, and what the control side writes down."""

    def __init__(self, folder: Path) -> None:
        self.host, self.folder = folder / "host.jsonl", folder / "control"
        self.vault: list[Snapshot] = []
        self.copy: list[Snapshot] = []

    def backup(self, hour: float) -> None:
        append(self.host, started(hour))
        self.vault.append(snapshot(hour))
        append(self.host, entry(hour))

    def collect(self, hour: float) -> None:
        reported = lines(self.host, ask_after(count(self.folder, "release-1", "release")))
        assert collect(self.folder, "release-1", "release", reported, at(hour)) == ""

    def look_after(self, hour: float) -> None:
        """The control side's day: checks, a copy."""
        found = recall(self.folder, "release-1", "release", at(hour))
        since = first_good(found.ledger)
        assert since
        for store in ("vault", "copy"):
            for part in due(found.control, store, since, at(hour)):
                note(self.folder, control(hour, "check", took=0, part=part, store=store))
        there = {one.original for one in self.copy}
        missing = [one for one in self.vault if one.id not in there]
        self.copy += [replace(one, id=f"c{one.id[1:]}") for one in missing]
        note(self.folder, control(hour, "copy", took=0, store="copy", ids=tuple(one.id for one in missing)))

    def retain(self, hour: float, cut_short: bool) -> tuple[str, ...]:
        """Retention on the vault; returns why it was refused. cut_short: the run is killed half-way."""
        found = known(self.folder, "release-1", "release")
        does = retention("release-1", "release", KEEP, found.ledger, found.control, self.vault, at(hour))
        gone = [one.id for one in does.removals]
        ids = tuple(one.recorded for one in does.removals)
        note(self.folder, control(hour, "retain", took=None, outcome="started", ids=ids))
        if cut_short:
            gone = gone[: len(gone) // 2]
        self.vault = [one for one in self.vault if one.id not in gone]
        if not cut_short:
            note(self.folder, control(hour, "retain", took=0, ids=ids))
        return does.refused

    def look(self, hour: float) -> Row:
        listed = {"vault": (self.vault, ()), "copy": (self.copy, ())}
        return status([looked(self.folder, PLAN, listed, at(hour), has_copy=True)], at(hour))[0]


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.full)])
def test_half_a_year_in_order_is_silent(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    model = Model(tmp_path)
    for day in range(183):
        hour = day * DAY + chance.random()
        model.backup(hour)
        if day % 7 == 1:
            append(model.host, entry(hour + 1, kind="verify", snapshot=""))
        model.collect(hour + 1.5)
        model.look_after(hour + 2)
        if day % 30 == 29:
            if chance.random() < 0.5:
                assert model.retain(hour + 3, cut_short=True) == ()
            assert model.retain(hour + 3, cut_short=False) == ()
            assert 10 <= len(model.vault) <= 20
        if day > 8:
            assert [one.what for one in model.look(hour + 3.5).findings] == []


def test_a_host_that_was_off_is_told_and_then_forgiven(tmp_path: Path) -> None:
    model = Model(tmp_path)
    told: list[set[Kind]] = []
    for day in range(12):
        hour = float(day * DAY)
        if day not in (5, 6):
            model.backup(hour)
            append(model.host, entry(hour + 1, kind="verify", snapshot=""))
            model.collect(hour + 1.5)
        model.look_after(hour + 2)
        told.append({one.kind for one in model.look(hour + 3).findings})
    assert told[:5] == [set()] * 5
    assert told[5:7] == [{Kind.SILENT}, {Kind.LATE, Kind.SILENT}]
    assert told[7:] == [set()] * 5


def test_a_rooted_client_gains_nothing_by_lying(tmp_path: Path) -> None:
    """It can add lines and snapshots of any date; none of them makes a good one go, and each is told."""
    for lie in (-2000.0, 2000.0):
        model = Model(tmp_path / str(lie))
        for day in range(40):
            model.backup(day * DAY)
            model.collect(day * DAY + 1)
            model.look_after(day * DAY + 2)
        before = {one.id for one in model.vault}
        for number in range(50):
            model.backup(lie + number * DAY)
        model.collect(40 * DAY)
        model.look_after(40 * DAY + 1)
        kinds = {one.kind for one in model.look(40 * DAY + 2).findings}
        assert (Kind.BACK_DATED if lie < 0 else Kind.FUTURE) in kinds
        assert model.retain(40 * DAY + 2, cut_short=False)
        assert before <= {one.id for one in model.vault}
        found = known(model.folder, "release-1", "release")
        lies = tuple(one.id for one in model.vault if one.id not in before)
        vouched: list[Entry] = [*found.control, control(40 * DAY + 2, "accept", ids=lies)]
        does = retention("release-1", "release", KEEP, found.ledger, vouched, model.vault, at(40 * DAY + 3))
        kept_days = {one.time.date() for one in does.verdicts if one.keep and one.recorded in before}
        assert {at(day * DAY).date() for day in range(33, 40)} <= kept_days
