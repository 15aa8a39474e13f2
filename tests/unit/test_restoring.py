"""A restore, where stores do not answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

from backup import control
from backup.reach import Reach, Unreachable
from backup.store import COPY, VAULT, WORDS, Store
from cli.backup import restoring
from inventories.inventory import LoadedSite
from tests.unit.test_watch import ONE, given, site, vault

__all__ = ["site"]


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

    monkeypatch.setattr(restoring, "chosen", lambda _: site)
    monkeypatch.setattr(restoring, "reach", lambda _: given(Answers(site, tmp_path / "ssh_config")))
    monkeypatch.setattr(control, "collect", lambda *_: {})
    monkeypatch.setattr(Store, "restic", lambda *_: Empty())
    with pytest.raises(typer.Exit) as end:
        restoring.restore(str(ONE), tmp_path / "to")
    assert end.value.exit_code == code
    told = capsys.readouterr().err
    for name in declared:
        assert f"{WORDS[name]}: {f'{name}: no route' if name in silent else 'lacks any complete'}" in told
    assert f"{ONE} could not be restored" in told
