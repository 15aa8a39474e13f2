"""What is remembered of a history: the same is told as by all of it, little is parsed, every changed byte is found."""

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backup import remembered
from backup.collected import collect, known, note, path_of
from backup.control import looked
from backup.data_set import DataSet
from backup.entry import Entry, parse
from backup.ledger import append, chain, content, lines
from backup.remembered import ANEW_AFTER, recall
from backup.status import as_json, status
from tests.unit.ledgers import at, control, entry, failed, started
from tests.unit.test_backup_year import DAY, PLAN, Model

HOST = ("release-1", "release")
DAYS = 40
LATER = at(DAYS * DAY)
HAPPENS = {"ok": 40, "killed": 3, "left": 3, "failed": 3, "none": 3, "early": 0.5, "late": 0.5}
"""In a day, by chance."""


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about surviving a crash."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history in which all is well, looked at after each day."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        patch.setattr(remembered, "ANEW_AFTER", 0)
        model = Model(tmp_path_factory.mktemp("history"))
        for day in range(DAYS):
            model.backup(day * DAY)
            if day % 7 == 1:
                append(model.host, entry(day * DAY + 1, kind="verify", snapshot=""))
            model.collect(day * DAY + 1.5)
            model.look_after(day * DAY + 2)
            if day == DAYS - 2:
                retain(model, day * DAY + 3)
            recall(model.folder, *HOST, at(day * DAY + 4))
    return model.host.parent


@pytest.fixture
def history(made: Path, tmp_path: Path) -> Path:
    """The control side's folder of it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "control"


def retain(model: Model, hour: float, *, cut_short: bool = False) -> None:
    """Retention in the vault and, of the same, in the second copy."""
    before = {one.id for one in model.vault}
    if not model.retain(hour, cut_short=cut_short) and not cut_short:
        gone = before - {one.id for one in model.vault}
        model.copy = [one for one in model.copy if one.original not in gone]
        record(model, control(hour, "retain", took=0, store="copy", ids=tuple(sorted(gone))))


def forget(model: Model, hour: float, chance: random.Random) -> None:
    """Retention that asks nobody: some of the older ones go, from one store or both, or only half of them do."""
    old = [one for one in model.vault[:-5] if chance.random() < 0.7]
    ids = tuple(one.original for one in old)
    record(model, control(hour, "retain", took=None, outcome="started", ids=ids))
    gone = old if chance.random() < 0.7 else old[::2]
    model.vault = [one for one in model.vault if one not in gone]
    record(model, control(hour, "retain", took=0, ids=ids))
    if chance.random() < 0.7:
        record(model, control(hour, "retain", took=0, store="copy", ids=ids))


def both(model: Model, hour: float) -> tuple[Any, Any]:
    """What is told of it by what is remembered, and by all."""
    found = known(model.folder, *HOST, whole=True)
    whole = DataSet(PLAN, found.ledger, found.control, found.heard, model.vault, None, False, found.disputed)
    quick = looked(model.folder, PLAN, {"vault": (model.vault, ()), "copy": (None, ())}, at(hour), has_copy=False)
    said = [as_json(status([one], at(hour)), at(hour)) for one in (quick, whole)]
    return said[0], said[1]


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.full) for seed in range(1, 12))])
def test_the_same_is_told_whatever_happens_meanwhile(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed, failed and missed runs, clocks that jump, snapshots that go or come back, damage found and mended."""
    monkeypatch.setattr(remembered, "ANEW_AFTER", 0)
    chance = random.Random(seed)
    model = Model(tmp_path)
    told: set[str] = set()
    put_aside = []
    for day in range(DAYS):
        hour = day * DAY + chance.random()
        match chance.choices(("ok", "killed", "left", "failed", "none", "early", "late"), (40, 2, 2, 2, 2, 0.3, 0.3))[
            0
        ]:
            case "ok":
                model.backup(hour)
            case "killed":
                append(model.host, started(hour))
            case "left":
                model.backup(hour)
                model.host.write_bytes(b"".join(content(model.host).splitlines(keepends=True)[:-1]))
            case "failed":
                append(model.host, started(hour))
                append(model.host, failed(hour))
            case "early":
                model.backup(hour - 10 * DAY - 0.3)
            case "late":
                model.backup(hour + 3 * DAY + 0.3)
        if chance.random() < 0.2:
            outcome = chance.choices(("ok", "failed"), (9, 1))[0]
            append(model.host, entry(hour + 1, kind="verify", snapshot="", outcome=outcome))
        if chance.random() < 0.95:
            model.collect(hour + 1.5)
        if known(model.folder, *HOST).ledger and model.vault:
            model.look_after(hour + 2)
        if chance.random() < 0.05:
            record(model, control(hour + 2.5, "check", took=0, part=(chance.randint(1, 20), 20), outcome="damaged"))
        if chance.random() < 0.2:
            forget(model, hour + 3, chance)
        if chance.random() < 0.05 and model.vault:
            put_aside.append(model.vault.pop(chance.randrange(len(model.vault))))
        if chance.random() < 0.1 and put_aside:
            model.vault.append(put_aside.pop())
        if chance.random() < 0.05:
            record(model, control(hour + 3, "accept", took=0, ids=tuple(one.id for one in put_aside)))
        quick, whole = both(model, hour + 3.5)
        assert quick == whole, day
        told |= {one["kind"] for one in whole["data_sets"][0]["findings"]}
    assert len(told) > 2


def record(model: Model, entry: Entry) -> None:
    append(model.folder / "release-1/release.control.jsonl", entry)


def test_only_what_is_new_is_parsed(history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[int] = []

    def counted(where: Path | str, found: list[bytes], last: bytes = b"") -> list[Entry]:
        parsed.append(len(found))
        return chain(where, found, last)

    monkeypatch.setattr(remembered, "chain", counted)
    found = recall(history, *HOST, LATER)
    assert sum(parsed) <= ANEW_AFTER
    assert len(found.ledger) < len(lines(history / "release-1/release.jsonl")) / 2
    assert len(found.control) < len(lines(history / "release-1/release.control.jsonl")) / 1.5


@pytest.mark.parametrize("which", ["release.jsonl", "release.control.jsonl"])
@pytest.mark.parametrize("where", [0, 0.5, 0.98])
def test_a_byte_that_was_changed_anywhere_is_found(history: Path, which: str, where: float) -> None:
    assert recall(history, *HOST, LATER).disputed == ""
    path = history / "release-1" / which
    all_ = path.read_bytes().split(b"\n")
    number = int(len(all_[:-1]) * where)
    all_[number] = all_[number].replace(b'"bytes_added": 0', b'"bytes_added": 1')
    path.write_bytes(b"\n".join(all_))
    assert "does not continue the line before it" in recall(history, *HOST, LATER).disputed


def test_a_history_made_anew_as_a_whole_is_found(history: Path) -> None:
    """Each line continues the one before; only the control side's own ledger knows better."""
    copy = history / "release-1/release.jsonl"
    entries = [parse(line) for line in lines(copy)]
    copy.unlink()
    for one in entries:
        append(copy, replace(one, bytes=one.bytes + 1))
    assert "is not what was collected" in recall(history, *HOST, LATER).disputed


def test_a_line_that_does_not_continue_is_found(history: Path) -> None:
    path = history / "release-1/release.jsonl"
    with path.open("ab") as ledger:
        ledger.write(lines(path)[3] + b"\n")
    assert "lines are missing or out of order" in recall(history, *HOST, LATER).disputed


def test_a_new_line_that_was_collected_otherwise_is_found(history: Path) -> None:
    copy = history / "release-1/release.jsonl"
    append(copy, failed(DAYS * DAY))
    number = len(lines(copy))
    note(history, control(DAYS * DAY, "collect", took=0, store="", upto=number, head="0" * 64))
    assert f"line {number}: is not what was collected" in recall(history, *HOST, LATER).disputed


def test_what_a_host_reported_and_was_not_believed_is_told(history: Path) -> None:
    assert collect(history, *HOST, [], LATER) == recall(history, *HOST, LATER).disputed != ""


@pytest.mark.parametrize("kind", [".pending", ".other", ".control.other"])
def test_beside_what_is_not_settled_all_is_read(history: Path, kind: str) -> None:
    append(path_of(history, *HOST, kind), control(DAYS * DAY, "accept", took=0, ids=("0",), who="alice", why="looked"))
    found = recall(history, *HOST, LATER)
    assert found == known(history, *HOST, whole=True)
    assert bool(found.disputed) == (kind != ".pending")
    assert (found.control[-1].why == "looked") == (kind == ".pending")


def test_a_shortened_history_is_told(history: Path) -> None:
    path = history / "release-1/release.jsonl"
    path.write_bytes(b"".join(content(path).splitlines(keepends=True)[:-1]))
    assert "is not what was collected" in recall(history, *HOST, LATER).disputed


@pytest.mark.parametrize(
    "damage", [lambda said: b"", lambda said: b"rubbish\n", lambda said: said.replace(b"ok", b"no")]
)
def test_a_damaged_memory_is_no_memory(history: Path, damage: Callable[[bytes], bytes]) -> None:
    memory = history / "release-1/release.known.json"
    damaged = damage(memory.read_bytes())
    memory.unlink()
    anew = recall(history, *HOST, LATER)
    memory.write_bytes(damaged)
    assert recall(history, *HOST, LATER) == anew
