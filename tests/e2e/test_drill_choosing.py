"""What a drill restores: real repositories, and a ledger that says what should be in them."""

import grp
import os
import pwd
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from backup import control, record
from backup.drills import choosing
from backup.drills.checks import Drill, File
from backup.drills.choosing import Asked, Chosen, NothingToRestore
from backup.entry import Entry
from backup.ledger import append
from backup.reach import Reach, Unreachable
from backup.restic import Restic
from backup.restic_process import Repository, ResticError
from backup.store import COPY, VAULT
from inventories.errors import InputError
from inventories.inventory import LoadedSite, load_site
from tests.restics import restic
from tests.unit.drill_site import DATA, drill_site

ALL = Drill(checks=())
PART = Drill(checks=(), size_gb=0, parts=4)
"""Anything is larger than it restores."""


@dataclass
class Stores:
    """A Reach whose stores are folders, and whose host's ledger is what was saved."""

    site: LoadedSite
    folder: Path
    hour: int = 0
    silent: bool = False
    said: list[str] = field(default_factory=list)

    def declared(self) -> tuple[str, ...]:
        return (VAULT, COPY) if self.site.fleet.backup.copy_ else (VAULT,)

    @contextmanager
    def store(self, name: str) -> Iterator["Stores"]:
        self.now = name
        yield self

    def restic(self, _: Any = None, name: str = "") -> Restic:
        where = self.folder / (name or self.now)
        return Restic(Repository(str(where), "word", cache=self.folder / "cache"), restic(), lock_wait_s=0)

    @property
    def root(self) -> Path:
        return self.folder / "root"

    def save(self, text: str = "", *, entered: bool = True) -> str:
        """A backup of what lies below the root, with one more change; entered: the ledger knows of it."""
        self.hour += 1
        (self.root / "public/newest").write_text(text or f"change {self.hour}")
        start = datetime.now(UTC)
        snapshot = self.restic(name=VAULT).backup(self.root, ("public",), host=DATA.host, tags=[DATA.plan]).snapshot
        if entered:
            known: dict[str, Any] = {
                "host": DATA.host,
                "plan": DATA.plan,
                "kind": "backup",
                "outcome": "ok",
                "snapshot": snapshot,
            }
            entry = Entry(**known, start=start, end=datetime.now(UTC), files=1, bytes=1)
            append(record.folder(self.site) / DATA.host / f"{DATA.plan}.jsonl", entry)
        return snapshot

    def greet(self) -> None:
        if self.silent:
            raise Unreachable("the vault does not answer")

    def copy(self, *snapshots: str) -> None:
        self.restic(name=COPY).copy(self.restic(name=VAULT).repository, snapshots)

    def remove(self, snapshot: str) -> None:
        self.restic(name=VAULT).forget([snapshot])

    def choose(self, drill: Drill = ALL, store: str = VAULT, **asked: Any) -> Chosen:
        with choosing.chosen(cast(Reach, self), Asked(DATA, store, **asked), drill, self.said.append) as chosen:
            return chosen


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> LoadedSite:
    return drill_site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def stores(site: LoadedSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stores:
    monkeypatch.setattr(control, "collect", lambda *_: None)
    monkeypatch.setattr(record, "folder", lambda _: tmp_path / "ledgers")
    made = Stores(site, tmp_path)
    (made.root / "public/ota").mkdir(parents=True)
    for number in range(40):
        (made.root / f"public/ota/{number}.zip").write_text(f"{number}" * 100)
    made.restic(name=VAULT).init()
    made.restic(name=COPY).init(made.restic(name=VAULT).repository)
    return made


def names(files: tuple[File, ...]) -> set[str]:
    return {file.path for file in files if file.type == "file"}


def test_the_newest_complete_one_whole(stores: Stores) -> None:
    stores.save()
    newest = stores.save()
    chosen = stores.choose()
    assert (chosen.snapshot.id, chosen.behind, chosen.should_be) == (newest, 0, newest)
    assert chosen.is_whole
    assert (chosen.part, chosen.parts) == (1, 1)
    assert names(chosen.wanted) == {"public/newest", *(f"public/ota/{number}.zip" for number in range(40))}
    assert chosen.bytes == sum(path.stat().st_size for path in stores.root.rglob("*") if path.is_file())
    changed = (stores.root / "public/newest").stat().st_mtime
    assert chosen.newest_saved
    assert chosen.newest_saved.timestamp() == pytest.approx(changed, abs=0.001)
    assert chosen.budget == timedelta(hours=2)


def test_what_is_chosen_is_known_with_its_owners_by_name(stores: Stores) -> None:
    """Restores are compared by them: numbers differ between hosts."""
    os.chown(stores.root / "public/ota/3.zip", 65534, -1)
    stores.save()
    owners = {file.path: (file.user, file.group) for file in stores.choose().saved}
    own = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    assert owners.pop("public/ota/3.zip") == ("nobody", own[1])
    assert {*owners.values()} == {own}


def test_one_that_the_ledger_does_not_know_is_not_taken(stores: Stores) -> None:
    known = stores.save()
    stores.save(entered=False)
    assert stores.choose().snapshot.id == known


def test_one_that_is_asked_for_by_name(stores: Stores) -> None:
    wanted, _ = stores.save(), stores.save()
    assert stores.choose(snapshot=wanted[:8]).snapshot.id == wanted
    with pytest.raises(NothingToRestore, match="holds no complete backup"):
        stores.choose(snapshot="ffffffff" if not wanted.startswith("f") else "00000000")


def test_a_newest_one_that_is_gone_is_named_and_an_older_one_taken_only_when_that_will_do(stores: Stores) -> None:
    older, newest = stores.save(), stores.save()
    stores.remove(newest)
    with pytest.raises(NothingToRestore, match=f"the vault lacks the newest complete backup, {newest[:8]}: --fallback"):
        stores.choose()
    chosen = stores.choose(fallback=True)
    assert (chosen.snapshot.id, chosen.behind, chosen.should_be) == (older, 1, newest)


def broken(stores: Stores) -> str:
    """One more, which is listed, and nothing that came with it can be read."""
    packs = {*stores.folder.glob("vault/data/*/*")}
    snapshot = stores.save()
    for pack in {*stores.folder.glob("vault/data/*/*")} - packs:
        pack.unlink()
    shutil.rmtree(stores.folder / "cache")
    return snapshot


def test_a_newest_one_that_cannot_be_read_is_named_and_an_older_one_taken_only_when_that_will_do(
    stores: Stores,
) -> None:
    older = stores.save()
    newest = broken(stores)
    with pytest.raises((NothingToRestore, ResticError), match=newest[:8]):
        stores.choose()
    chosen = stores.choose(fallback=True)
    assert (chosen.snapshot.id, chosen.behind, chosen.should_be) == (older, 1, newest)
    assert newest[:8] in " ".join(stores.said)


def test_a_store_that_is_lost_meanwhile_says_nothing_of_the_backup(stores: Stores) -> None:
    broken(stores)
    stores.silent = True
    for fallback in (False, True):
        with pytest.raises(Unreachable):
            stores.choose(fallback=fallback)


@pytest.mark.full
def test_a_store_that_is_silent_is_asked_whether_it_is_there(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "restic"
    program.write_text("#!/bin/sh\nexec sleep 300\n")
    program.chmod(0o755)
    real = stores.restic
    monkeypatch.setattr(choosing, "SILENT_S", 2)
    monkeypatch.setattr(stores, "restic", lambda data_set: replace(real(data_set), program=str(program)))
    stores.silent = True
    with pytest.raises(Unreachable):
        stores.choose()


def test_the_second_copy_may_be_behind_and_its_age_may_be_more(stores: Stores) -> None:
    copied, newest = stores.save(), stores.save()
    stores.copy(copied)
    chosen = stores.choose(store=COPY)
    assert (chosen.snapshot.original, chosen.behind, chosen.should_be) == (copied, 1, newest)
    assert chosen.snapshot.id != copied
    assert chosen.budget > stores.choose().budget
    stores.copy(newest)
    assert stores.choose(store=COPY).behind == 0
    assert stores.choose(store=COPY, snapshot=copied[:8]).snapshot.original == copied


def test_a_site_without_a_second_copy_says_so(stores: Stores, tmp_path: Path) -> None:
    text = stores.site.path.read_text()
    path = tmp_path / "lab.toml"
    path.write_text(text.replace(text[text.index("[backup.copy]") : text.index("[drill]")], ""))
    stores.site = load_site(path)
    with pytest.raises(InputError, match="this site has no second copy"):
        stores.choose(store=COPY)


def test_an_empty_repository_has_nothing_to_restore(stores: Stores) -> None:
    with pytest.raises(NothingToRestore, match="the vault holds no complete backup of release-1:release"):
        stores.choose()


def test_one_from_the_future_is_no_proof(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    stores.save()

    class Behind(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Behind":
            return cls.fromtimestamp(time.time() - 7200, tz)

    monkeypatch.setattr(choosing, "datetime", Behind)
    with pytest.raises(NothingToRestore, match="yet to come: a clock is wrong"):
        stores.choose()


def test_of_much_data_each_drill_restores_what_is_needed_and_a_part_and_all_in_turn(stores: Stores) -> None:
    newest = stores.save("which one: 7")

    def needed(saved: Any, read: Any) -> frozenset[str]:
        number = read("public/newest").decode().rpartition(" ")[2]
        return frozenset({"public/newest", f"public/ota/{number}.zip"})

    drill = Drill(checks=(), size_gb=0, parts=4, needed=needed)
    shares = []
    for turn in range(8, 12):
        chosen = stores.choose(drill, turn=turn)
        assert (chosen.snapshot.id, chosen.part, chosen.parts, chosen.is_whole) == (newest, turn % 4 + 1, 4, False)
        assert {"public/newest", "public/ota/7.zip"} <= names(chosen.wanted)
        assert {file.path for file in chosen.wanted if file.type == "dir"} == {"public", "public/ota"}
        assert chosen.bytes == sum(file.size for file in chosen.wanted) < sum(file.size for file in chosen.saved)
        shares.append(names(chosen.wanted))
    assert set.union(*shares) == names(chosen.saved)
    assert set.intersection(*shares) == {"public/newest", "public/ota/7.zip"}
    assert stores.choose(drill, turn=12).wanted == stores.choose(drill, turn=8).wanted


def test_what_a_restore_of_a_part_is_told_brings_that_part_with_its_folders_and_nothing_else(stores: Stores) -> None:
    for name in ("empty", "deep/er"):
        (stores.root / "public" / name).mkdir(parents=True)
    for number in range(20):
        (stores.root / f"public/deep/er/{number}").write_text("x" * 50)
    (stores.root / "public/deep").chmod(0o750)
    stores.save()
    chosen = stores.choose(PART)
    target = stores.folder / "target"
    exact = [f"/{path}" for path in chosen.named]
    stores.restic(name=VAULT).restore(chosen.snapshot.id, target, exact=exact)
    there = {str(path.relative_to(target)): path for path in target.rglob("*")}
    assert there.keys() == {file.path for file in chosen.wanted}
    assert "public/empty" in there
    assert {file.path: file.mode for file in chosen.wanted} == {
        path: found.stat().st_mode & 0o777 for path, found in there.items()
    }


def test_all_of_much_data_when_that_is_asked_for(stores: Stores) -> None:
    stores.save()
    assert not stores.choose(PART).is_whole
    chosen = stores.choose(PART, full=True)
    assert chosen.is_whole
    assert (chosen.part, chosen.parts) == (1, 1)
