"""What is written down of a check: what it found when it looked twice, and that it failed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backup import checking, collected, control, record
from backup.collected import path_of
from backup.custody import DataSet
from backup.data_set import Kind
from backup.entry import Entry
from backup.ledger import append
from backup.restic_process import Interrupted, Locked, NoRepository, ResticError
from backup.restic_results import Check
from backup.store import COPY, VAULT, Store
from inventories.fleet import Fleet
from inventories.inventory import LoadedSite
from tests.unit.ledgers import at, entry, identity
from tests.unit.ledgers import control as done
from tests.unit.test_status import DAY, NOW, copies, good, good_control, look, only, told

DATA = DataSet("release-1", "release")
DATA_SET = (DATA.host, DATA.plan)
HOST = {"plan": "p", "region": "ams"}
SOUND, DAMAGED = Check((), ()), Check(("pack abc is damaged",), ())


class Played:
    """A restic whose checks end as was said before."""

    def __init__(self, *ends: Check | ResticError) -> None:
        self.ends = list(ends)
        self.parts: list[tuple[int, int]] = []

    def check(self, part: tuple[int, int]) -> Check:
        self.parts.append(part)
        end = self.ends.pop(0)
        if isinstance(end, ResticError):
            raise end
        return end

    def readable(self) -> tuple[list[Any], list[str]]:
        return [], []


@pytest.fixture
def site(tmp_path: Path) -> LoadedSite:
    hosts = {
        "release-1": HOST | {"role": "release"},
        "vault-1": HOST | {"role": "vault", "dns": ["v.example.org"]},
    }
    files = {"name": "s", "domain": "example.org", "files": str(tmp_path)}
    loaded = LoadedSite(tmp_path / "s.toml", Fleet.model_validate({"site": files, "hosts": hosts}))
    append(path_of(record.folder(loaded), *DATA_SET), entry(0))
    return loaded


def verify(
    site: LoadedSite, patch: pytest.MonkeyPatch, restic: Played, store: str = VAULT, removing: Sequence[bool] = ()
) -> bool:
    """removing: at the first look whether somebody removes data, at the second and so on; at later ones nobody does."""
    looks = iter(removing)
    patch.setattr(Store, "restic", lambda self, data_set: restic)
    patch.setattr(checking, "is_removed_from", lambda restic: next(looks, False))
    patch.setattr(checking, "PAUSE_S", 0)
    return control.verify(Store(site, store, "rest:http://v", None, lambda: None), DATA, True, lambda said: None)


def noted(site: LoadedSite) -> Sequence[Entry]:
    return collected.known(record.folder(site), *DATA_SET).control


def test_what_a_second_look_does_not_find_is_no_damage(site: LoadedSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """While an admin's `retain` removes what it no longer needs, a check finds it missing."""
    restic = Played(DAMAGED, SOUND)
    assert verify(site, monkeypatch, restic)
    assert restic.parts == [(1, 1), (1, 1)]
    assert [(one.outcome, one.error) for one in noted(site)] == [("ok", "")]


def test_what_a_second_look_finds_too_is_damage(site: LoadedSite, monkeypatch: pytest.MonkeyPatch) -> None:
    restic = Played(DAMAGED, DAMAGED)
    assert not verify(site, monkeypatch, restic)
    assert [(one.outcome, one.error) for one in noted(site)] == [("damaged", "pack abc is damaged")]
    restic = Played(SOUND)
    assert verify(site, monkeypatch, restic)
    assert restic.parts == [(1, 1)]


def test_a_second_look_waits_until_nobody_removes_data(site: LoadedSite, monkeypatch: pytest.MonkeyPatch) -> None:
    restic = Played(DAMAGED, SOUND)
    assert verify(site, monkeypatch, restic, removing=[True, True])
    assert [(one.outcome, one.error) for one in noted(site)] == [("ok", "")]


@pytest.mark.parametrize(("ends", "removing"), [([DAMAGED], [True] * 9), ([DAMAGED] * 2, [False, True])])
def test_what_is_missing_while_somebody_removes_data_is_a_check_that_failed(
    site: LoadedSite, monkeypatch: pytest.MonkeyPatch, ends: list[Check | ResticError], removing: list[bool]
) -> None:
    monkeypatch.setattr(checking, "REMOVAL_S", 0)
    restic = Played(*ends)
    with pytest.raises(Locked):
        verify(site, monkeypatch, restic, removing=removing)
    assert restic.ends == []
    [one] = noted(site)
    assert one.outcome == "failed"
    assert "somebody removes data" in one.error


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ResticError("check", 1, "out of memory"), "failed"),
        (NoRepository("check", 10, "there is none"), "failed"),
        (Interrupted("check", 130, "by SIGINT"), "interrupted"),
    ],
)
def test_a_check_that_fails_is_written_down(
    site: LoadedSite, monkeypatch: pytest.MonkeyPatch, error: ResticError, outcome: str
) -> None:
    with pytest.raises(type(error)):
        verify(site, monkeypatch, Played(error))
    [one] = noted(site)
    assert (one.kind, one.store, one.part, one.outcome, one.error) == ("check", VAULT, (1, 1), outcome, str(error))


def test_a_second_copy_that_was_not_begun_fails_no_check(site: LoadedSite, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoRepository):
        verify(site, monkeypatch, Played(NoRepository("check", 10, "there is none")), COPY)
    assert noted(site) == []


@pytest.mark.parametrize(("store", "where"), [("vault", "the vault"), ("copy", "the second copy")])
def test_a_check_that_failed_is_told_until_one_comes_to_its_end(store: str, where: str) -> None:
    failed = done(NOW - 0.5, "check", store=store, part=(3, 20), outcome="failed", error="out of memory")
    tried = [*good_control(), failed]
    assert only(good(control=tried), Kind.UNVERIFIED) == f"{where}: the check of 30 min ago failed: out of memory"
    broken_off = replace(failed, start=at(NOW - 0.4), outcome="interrupted")
    late = done(NOW - 3, "check", store=store, part=(5, 20))
    assert told(good(control=[*tried, broken_off, late])) == [Kind.UNVERIFIED]
    assert told(good(control=[*tried, done(NOW - 0.3, "check", store=store, part=(4, 20))])) == []


def test_a_check_of_a_vault_that_is_no_more_is_not_told() -> None:
    failed = done(NOW - 0.5, "check", part=(3, 20), outcome="failed", error="there is none")
    filled = done(NOW - 0.3, "copy", store="vault", ids=(identity(0),))
    assert Kind.UNVERIFIED not in told(good(control=[*good_control(), failed, filled]))


def test_a_copy_that_failed_is_told_until_nothing_is_lacking() -> None:
    newest = identity(40 * DAY)
    own = [one for one in good_control() if newest not in one.ids]
    failed = done(NOW - 2, "copy", store="copy", outcome="failed", error="pack abc: not found")
    behind = good(control=[*own, failed], copy=copies()[:-1])
    assert only(behind, Kind.COPY_BEHIND) == "the copy of 2 h ago failed: pack abc: not found"
    assert told(replace(behind, control=[*own, failed, done(NOW - 1, "copy", store="copy")])) == []
    assert told(good(control=[*good_control(), failed])) == []


def test_an_older_backup_that_never_came_to_the_second_copy_is_told() -> None:
    hole = identity(20 * DAY)
    own = [one for one in good_control() if hole not in one.ids]
    there = [one for one in copies() if one.original != hole]
    what = only(good(control=own, copy=there), Kind.COPY_BEHIND)
    assert what == "1 of the complete backups is not in the second copy; the newest there is of 2 h ago"
    for settled in (done(NOW, "accept", store="", ids=(hole,)), done(NOW, "retain", store="copy", ids=(hole,))):
        assert told(good(control=[*own, settled], copy=there)) == []
    assert told(good(control=own, copy=there, has_copy=False)) == []


def test_a_copy_that_falls_further_behind_is_no_other_finding() -> None:
    found = [
        look(good(control=[one for one in good_control() if one.kind != "copy"], copy=copies()[:count]))
        for count in (30, 20)
    ]
    assert len({one.subject for row in found for one in row.findings if one.kind is Kind.COPY_BEHIND}) == 1
