"""Copies between repositories: from a server that is full, while others prune, and of what is not there any more."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from backup.reach import of_begun
from backup.restic import Restic
from backup.restic_process import Locked, NoRepository, Repository, ResticError
from backup.store import COPY, VAULT, WORDS
from tests.e2e.repositories import (
    PASSWORD,
    SINCE_017,
    a_pack_of,
    every,
    held,
    made,
    save,
    small_disk,
    source,
    unmade,
    what_a_shell_left,
)
from tests.rest_server import rest_server
from tests.restics import VERSIONS, by_version, restic

__all__ = ["made", "source", "unmade", "what_a_shell_left"]


def two(folder: Path, url: str, version: str) -> tuple[Restic, Restic]:
    """A repository at a server, and one beside it that it can be copied to."""
    made = Restic(Repository(url, PASSWORD, cache=folder / "cache"), restic(version), lock_wait_s=0)
    second = replace(made, repository=Repository(str(folder / "second"), "other", cache=folder / "second-cache"))
    made.init()
    second.init(made.repository)
    return made, second


def fill(disk: Path) -> None:
    room = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(room.f_bavail * room.f_frsize))


@every(*VERSIONS)
def test_a_second_copy_knows_what_it_was_copied_from(made: Restic, source: Path, tmp_path: Path) -> None:
    snapshot = save(made, source)
    second = replace(made, repository=Repository(str(tmp_path / "second"), "other", cache=tmp_path / "second-cache"))
    second.init(made.repository)
    for _ in range(2):
        second.copy(made.repository, [snapshot])
    [copied] = second.snapshots()
    assert copied.original == snapshot
    assert second.check((1, 1)).errors == ()


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("version", by_version(*VERSIONS))
def test_a_full_server_is_copied_from(tmp_path: Path, source: Path, version: str) -> None:
    """It takes no lock, which restic would try to write for a quarter of an hour."""
    with small_disk(tmp_path / "served", 16) as disk, rest_server(disk) as gate:
        made, second = two(tmp_path, f"rest:http://127.0.0.1:{gate.server_port}/", version)
        snapshot = save(made, source)
        fill(disk)
        with pytest.raises(HTTPError, match="507"):
            urlopen(Request(f"http://127.0.0.1:{gate.server_port}/locks/{'0' * 64}", os.urandom(100)))
        second.copy(made.repository, [snapshot])
        assert [one.original for one in second.snapshots()] == [snapshot]
        assert second.check((1, 1)).errors == ()


@pytest.mark.parametrize("version", by_version(*VERSIONS))
def test_a_copy_waits_for_a_prune_of_the_copy_and_not_of_its_source(tmp_path: Path, source: Path, version: str) -> None:
    with rest_server(tmp_path / "served") as gate:
        made, second = two(tmp_path, f"rest:http://127.0.0.1:{gate.port}/", version)
        snapshot = save(made, source)
        around = replace(made, repository=replace(made.repository, url=f"rest:http://127.0.0.1:{gate.server_port}/"))
        with held(gate, made.prune):
            second.copy(around.repository, [snapshot])
            with pytest.raises(Locked):
                around.copy(second.repository, [second.snapshots()[0].id])


@every(*SINCE_017)
def test_what_cannot_be_copied_is_told_and_no_half_of_it_is_there(made: Restic, source: Path, tmp_path: Path) -> None:
    """restic passes over snapshots that are not there any more, or damaged, and says that all is well."""
    gone, damaged, halved = (save(made, source) for _ in range(3))
    second = replace(made, repository=replace(made.repository, url=str(tmp_path / "second")))
    second.init(made.repository)
    snapshots = Path(made.repository.url, "snapshots")
    for file in snapshots.iterdir():
        file.chmod(0o600)
    (snapshots / gone).unlink()
    (snapshots / damaged).write_bytes(b"rubbish")
    shutil.rmtree(made.repository.cache)
    with pytest.raises(ResticError, match="gone from where they were, or damaged") as failed:
        second.copy(made.repository, [gone, damaged])
    assert gone in str(failed.value)
    assert damaged in str(failed.value)
    a_pack_of(made).unlink()
    with pytest.raises(ResticError):
        second.copy(made.repository, [halved])
    assert second.snapshots() == []


@every(*VERSIONS)
def test_a_copy_that_was_not_begun_is_left_out_of_what_is_done_to_all_and_a_lost_vault_is_told(
    made: Restic, tmp_path: Path
) -> None:
    absent = replace(made, repository=replace(made.repository, url=str(tmp_path / "second")))
    listed = of_begun({WORDS[VAULT]: made, WORDS[COPY]: absent}, Restic.snapshots)
    assert listed == {WORDS[VAULT]: []}
    with pytest.raises(NoRepository):
        of_begun({WORDS[VAULT]: absent, WORDS[COPY]: made}, Restic.snapshots)
