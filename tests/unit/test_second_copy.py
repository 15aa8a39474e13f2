"""What is to be copied, what is to be restored, and what is proved of a repository that was filled from another one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backup import restic_process
from backup.agent.attempt import Refused
from backup.collected import Known
from backup.copying import missing
from backup.coverage import coverage, damage, due, first_held
from backup.entry import Entry
from backup.restic_process import Repository, authorities
from backup.restoring import Choice, by_ledger, choose, unknown
from tests.unit.ledgers import at, control, entry, identity, snapshot


def known(ledger: list[Entry], done: list[Entry] | None = None) -> Known:
    return Known(ledger, done or [], None, "")


def copied(hour: float, identity_there: str = "c" * 64) -> Any:
    return replace(snapshot(hour), id=identity_there, original=identity(hour))


def test_complete_backups_that_are_not_there_are_copied_the_newest_first() -> None:
    ledger = [entry(0), entry(1, outcome="incomplete"), entry(2), entry(3)]
    there = [snapshot(hour) for hour in (0, 1, 2, 3)]
    found = missing(known(ledger), there, [copied(2)], at(4))
    assert list(found) == [identity(3), identity(0)]
    assert found[identity(3)].id == identity(3)


def test_what_no_ledger_knows_or_retention_took_out_is_not_copied() -> None:
    ledger = [entry(0), entry(24)]
    done = [control(25, "retain", store="copy", ids=(identity(0),)), control(26, "retain", ids=(identity(24),))]
    strange = [snapshot(12), snapshot(23.9)]
    assert list(missing(known(ledger, done), [snapshot(0), *strange, snapshot(24)], [], at(48))) == [identity(24)]


def test_a_vault_that_was_filled_from_the_second_copy_is_copied_from_by_the_ledgers_ids() -> None:
    ledger = [entry(0), entry(1)]
    vault = [copied(0, "d" * 64), copied(1, "e" * 64)]
    assert missing(known(ledger), vault, [copied(0), copied(1, "f" * 64)], at(2)) == {}
    assert missing(known(ledger), vault, [], at(2))[identity(1)].id == "e" * 64


def test_a_snapshot_of_an_impossible_date_is_not_copied() -> None:
    ledger = [entry(0), entry(1)]
    done = [control(0.5, "collect", upto=1, head="x"), control(0.9, "collect", upto=2, head="x")]
    wrong = known([entry(0), entry(500)], done)
    assert list(missing(wrong, [snapshot(0), snapshot(500)], [], at(2))) == [identity(0)]
    assert len(missing(known(ledger, []), [snapshot(0), snapshot(1)], [], at(2))) == 2


def test_the_newest_complete_backup_by_the_ledger_is_chosen_not_the_latest_by_clock() -> None:
    order = by_ledger(known([entry(0), entry(1), entry(2, outcome="incomplete")]), at(5))
    assert order == [identity(1), identity(0)]
    planted = [snapshot(0), snapshot(1), snapshot(2), snapshot(4)]
    assert choose(planted, order, "") == Choice(snapshot(1), 0)
    assert choose([snapshot(0)], order, "") == Choice(snapshot(0), 1)
    assert choose([snapshot(4)], order, "") is None
    assert choose([copied(1)], order, "") == Choice(copied(1), 0)


@pytest.mark.parametrize("hour", [-0.05, 0.05])
def test_of_two_that_say_they_are_the_same_and_differ_none_is_chosen(hour: float) -> None:
    """In a vault that was filled from the second copy, a host that somebody broke into can add another one."""
    planted = snapshot(hour, id="e" * 64, original=identity(0), tree="f" * 64)
    listed = sorted([copied(0), planted], key=lambda one: one.time)
    older = copied(-24, "d" * 64)
    assert choose(listed, [identity(0)], "") is None
    assert choose([older, *listed], [identity(0), identity(-24)], "") == Choice(older, 1)
    assert choose([*listed, snapshot(0)], [identity(0)], "") == Choice(snapshot(0))
    assert choose([copied(0), copied(0, "b" * 64)], [identity(0)], "") == Choice(copied(0, "b" * 64))


def test_without_a_ledger_the_newest_that_is_listed_is_chosen() -> None:
    assert choose([snapshot(0), snapshot(1)], [], "") == Choice(snapshot(1))
    assert choose([], [], "") is None


def test_a_named_snapshot_is_found_by_the_id_it_was_copied_from() -> None:
    listed = [copied(0), snapshot(1)]
    assert choose(listed, [identity(1)], identity(0)) == Choice(copied(0))
    assert choose(listed, [], "c" * 10) == Choice(copied(0))
    assert choose(listed, [], "0123456789") is None
    with pytest.raises(Refused, match="2 snapshots are cc"):
        choose([copied(0), copied(1)], [], "cc")


def test_what_was_copied_twice_is_found_by_the_id_it_was_copied_from() -> None:
    """Two copies at once leave two of the same: by no digit more could one of them be meant."""
    twice = [copied(0), copied(0, "d" * 64)]
    assert choose(twice, [], identity(0)) == Choice(copied(0))
    assert choose(twice, [], "dddddddd") == Choice(twice[1])
    forged = replace(snapshot(0, id="e" * 64, original=identity(0)), tree="f" * 64)
    assert choose([forged, snapshot(0)], [], identity(0)) == Choice(snapshot(0))
    with pytest.raises(Refused, match="give more of one's own id"):
        choose([copied(0), forged], [], identity(0))


def test_newer_snapshots_of_which_no_ledger_is_here_are_told() -> None:
    here = known([entry(0)])
    assert unknown(here, [snapshot(-1), snapshot(0), snapshot(3)]) == [snapshot(3)]
    assert unknown(here, [copied(0)]) == []
    assert unknown(known([]), [snapshot(3)]) == []


def test_a_new_vault_is_read_anew_and_old_damage_is_not_its_own() -> None:
    old = [
        *(control(hour, "check", part=(1, 1)) for hour in (1, 2)),
        control(3, "check", part=(1, 1), outcome="damaged", error="pack x"),
    ]
    filled = [control(10, "copy", outcome="started"), control(11, "copy", ids=(identity(0),))]
    assert damage(old, "vault", at(12)) != ""
    assert damage([*old, *filled], "vault", at(12)) == ""
    held = first_held([entry(0)], [*old, *filled], "vault")
    assert held == filled[-1].start
    assert coverage([*old, *filled], "vault", held, at(12)).share == 0
    assert due([*old, *filled], "vault", held, at(12)) == [(1, 20)]


def test_the_second_copy_is_due_since_it_was_begun() -> None:
    assert first_held([entry(0)], [], "copy") is None
    begun = control(10, "copy", store="copy", outcome="started")
    assert first_held([entry(0)], [begun], "copy") == begun.start
    assert first_held([entry(0)], [begun], "vault") == entry(0).start


def test_authorities_of_the_machine_are_trusted_too_where_only_one_store_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, own = tmp_path / "bundle", tmp_path / "own.pem"
    bundle.touch()
    monkeypatch.setattr(restic_process, "BUNDLES", (tmp_path / "none", bundle))
    public, private = Repository("s3:https://s", "p", tmp_path), Repository("rest:https://v", "p", tmp_path, ca=own)
    assert authorities(public, None) == []
    assert authorities(private, None) == [own]
    assert authorities(public, private) == [own, bundle]
    assert authorities(private, private) == [own]


def test_credentials_stand_in_no_error(tmp_path: Path) -> None:
    text = "[default]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = hidden/value+1\n"
    place = Repository("s3:https://s/b", "word", tmp_path, credentials={"AWS_SHARED_CREDENTIALS_FILE": text})
    assert place.without_secrets("403 for AKIAEXAMPLE, hidden/value+1, word") == "403 for ***, ***, ***"
    assert "hidden" not in repr(place)
