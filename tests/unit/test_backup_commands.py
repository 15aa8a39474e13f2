"""How commands of `mainstay backup` end, and what they say, when something goes wrong on the way."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from backup import control, copying, restoring
from backup.custody import DataSet
from backup.ledger import LedgerError, append
from backup.reach import Reach, Unreachable
from backup.restic_process import NoRepository, ResticError
from backup.store import COPY, VAULT, WORDS, Store
from cli.backup import app, keeping
from cli.backup import copying as cli_copying
from cli.backup import restoring as cli_restoring
from cli.backup.app import each
from inventories.errors import InputError
from inventories.inventory import LoadedSite
from tests.unit.ledgers import entry, identity, snapshot
from tests.unit.test_watch import FULL, ONE, TWO, ledgers, site, vault

__all__ = ["ledgers", "site"]

UNFORESEEN = TypeError("of a kind that nobody foresaw")


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (FULL, 1, "[Errno 28] No space left on device"),
        (LedgerError("x", 1, "is not JSON"), 1, "x: line 1: is not JSON"),
        (InputError("secrets.age", "x", "no such secret", "make it"), 2, "secrets.age: x: no such secret make it"),
        (UNFORESEEN, 1, "TypeError: of a kind that nobody foresaw"),
    ],
)
def test_work_on_the_other_data_sets_goes_on(
    site: LoadedSite, capsys: pytest.CaptureFixture[str], error: Exception, code: int, told: str
) -> None:
    worked = []

    def work(store: Store, data_set: DataSet) -> bool:
        if data_set == ONE:
            raise error
        worked.append(data_set)
        return True

    assert list(each([ONE, TWO], vault(site), work)) == [code, 0]
    assert worked == [TWO]
    assert capsys.readouterr().err == f"{ONE} in the vault: {told}\n"


@contextmanager
def given(one: Any) -> Iterator[Any]:
    yield one


class Stores(Reach):
    """Both, of which nothing is asked."""

    def store(self, name: str, listener: str = "") -> Any:
        return given(replace(vault(self.site), name=name))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ResticError("copy", 1, "one\ntwo"), "restic copy: one two (exit code 1)"),
        (NoRepository("snapshots", 10, "none"), "the vault has no repository of it"),
        (copying.Refused("it is not a new one"), "it is not a new one"),
        (UNFORESEEN, "TypeError: of a kind that nobody foresaw"),
    ],
)
def test_copies_of_the_other_data_sets_go_on(
    site: LoadedSite,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    told: str,
) -> None:
    worked = []

    def to_copy(begin: Store, end: Store, data_set: DataSet, tell: object) -> str:
        if data_set == ONE:
            raise error
        worked.append(data_set)
        return "copied"

    bucket = {"endpoint": "https://s3.example.org", "bucket": "backups"}
    fleet = site.fleet.model_copy(update={"backup": site.fleet.backup.model_validate({"copy": bucket})})
    copied = replace(site, fleet=fleet)
    monkeypatch.setattr(cli_copying, "chosen", lambda _: copied)
    monkeypatch.setattr(cli_copying, "reach", lambda _: given(Stores(copied, Path("ssh_config"))))
    monkeypatch.setattr(control, "collect", lambda *_: {})
    monkeypatch.setattr(copying, "to_copy", to_copy)
    with pytest.raises(typer.Exit) as end:
        cli_copying.copy([str(ONE), str(TWO)])
    assert (end.value.exit_code, worked) == (1, [TWO])
    assert capsys.readouterr().out == f"{ONE}: FAILED: {told}\n{TWO}: copied\n"


def test_a_vault_past_all_understanding_is_no_reason_not_to_restore_from_the_copy(
    site: LoadedSite, ledgers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Listing:
        def __init__(self, store: str) -> None:
            self.store = store

        def readable(self) -> tuple[list[Any], list[str]]:
            if self.store == VAULT:
                raise TypeError("'NoneType' object is not iterable")
            return [snapshot(0)], []

    monkeypatch.setattr(Stores, "declared", lambda self: (VAULT, COPY))
    monkeypatch.setattr(Store, "restic", lambda self, data_set: Listing(self.name))
    monkeypatch.setattr(
        restoring, "_put", lambda store, wish, choice, *_: restoring.Done(choice.snapshot.id, store.name)
    )
    append(ledgers / "release-1/release.jsonl", entry(0))
    said: list[str] = []
    wish = restoring.Wish(ONE, tmp_path / "to")
    done = restoring.restore(Stores(site, Path("ssh_config")), wish, said.append, lambda progress: None)
    assert str(done) == f"{identity(0)}, copy"
    assert said == ["the vault: TypeError: 'NoneType' object is not iterable"]


class Empty:
    """A repository without snapshots."""

    def readable(self) -> tuple[list[Any], list[str]]:
        return [], []


@pytest.mark.parametrize(
    ("declared", "silent", "code"),
    [
        ((VAULT,), (VAULT,), 3),
        ((VAULT, COPY), (VAULT, COPY), 3),
        ((VAULT, COPY), (VAULT,), 1),
        ((VAULT, COPY), (COPY,), 1),
        ((VAULT, COPY), (), 1),
    ],
)
def test_that_nothing_answers_is_told_apart_from_a_restore_that_failed(
    site: LoadedSite,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    declared: tuple[str, ...],
    silent: tuple[str, ...],
    code: int,
) -> None:
    class Answers(Reach):
        def declared(self) -> tuple[str, ...]:
            return declared

        @contextmanager
        def store(self, name: str, listener: str = "") -> Iterator[Store]:
            if name in silent:
                raise Unreachable(f"{name}: no route to host")
            yield replace(vault(self.site), name=name)

    monkeypatch.setattr(cli_restoring, "chosen", lambda _: site)
    monkeypatch.setattr(cli_restoring, "reach", lambda _: given(Answers(site, tmp_path / "ssh_config")))
    monkeypatch.setattr(control, "collect", lambda *_: {})
    monkeypatch.setattr(Store, "restic", lambda *_: Empty())
    with pytest.raises(typer.Exit) as end:
        cli_restoring.restore(str(ONE), tmp_path / "to")
    assert end.value.exit_code == code
    told = capsys.readouterr().err
    for name in declared:
        assert f"{WORDS[name]}: {f'{name}: no route' if name in silent else 'lacks any complete'}" in told
    assert f"{ONE} could not be restored" in told


@pytest.mark.parametrize("command", ["accept", "forget"])
@pytest.mark.parametrize("why", ["", " \n"])
def test_who_vouches_or_removes_says_why(monkeypatch: pytest.MonkeyPatch, command: str, why: str) -> None:
    begun: list[object] = []
    monkeypatch.setattr(keeping, "chosen", begun.append)
    done = CliRunner().invoke(app, [command, str(ONE), identity(0), "--why", why])
    assert (done.exit_code, begun) == (2, [])
    assert "is blank" in done.output
