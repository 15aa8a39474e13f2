"""A server that was left out, or made anew, gets what the others have: verified, resumed, and before it is offered."""

import hashlib
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from roles.common.publishing.servers import Session, session
from roles.release.archive import SHA256SUM, checksum
from roles.release.tools import syncing
from roles.release.tools.publish import PROGRAM, PublishError
from roles.release.tools.retention import Kept
from roles.release.tools.standing import standing
from roles.release.tools.syncing import Syncing, sync
from tests.release_world import World, made_world
from tests.unit.releases import FULL, Release, built

KEPT = Kept(4, 120)
OLD = "ota/panther/15/panther-ota_update-1.zip"

POINTS = [(when, step) for step in ("download", "upload", "take", "switch", "keep") for when in ("before", "after")]
WORST = (("after", "upload"), ("after", "take"))


class Killed(BaseException):
    """Where it broke off."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return built(tmp_path_factory.mktemp("release"))


@pytest.fixture
def world(made: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """The release is published on the first server alone."""
    found = made_world(made, tmp_path, monkeypatch)
    found.run(("release-1",))
    return found


def synced(world: World, kept: Kept = KEPT) -> list[str]:
    sums = {
        Path(path).name.removesuffix(SHA256SUM): checksum(text.decode())
        for path, text in world.head("checksums").items()
        if path.endswith(SHA256SUM)
    }
    return sync(Syncing(world.site(), world.folder / "staging", sums, kept, world, datetime.now(UTC)))


def served(world: World, server: str) -> dict[str, tuple[str, int]]:
    """Hash and time of all packages and checksums by path."""
    public = world.folder / server / "public"
    return {
        str(path.relative_to(public)): (hashlib.sha256(path.read_bytes()).hexdigest(), int(path.stat().st_mtime))
        for path in public.rglob("*")
        if path.is_file()
    }


def without(world: World, *paths: str) -> dict[str, tuple[str, int]]:
    """What the first server holds but for these."""
    return {path: seen for path, seen in served(world, "release-1").items() if path not in paths}


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_server_that_was_left_out_gets_its_packages_and_then_the_commit(world: World) -> None:
    assert synced(world) == ["release-2"]
    world.must_be_published()
    assert without(world, OLD) == {path: it for path, it in served(world, "release-2").items() if path != OLD}
    assert sorted(path.name for path in (world.folder / "release-2/incoming").iterdir()) == [".lock"]
    assert not (world.folder / "staging").exists()
    assert synced(world) == []


def test_a_server_that_was_made_anew_gets_all_but_what_no_checksum_is_known_of(world: World) -> None:
    shutil.rmtree(world.folder / "release-2")
    (world.folder / "release-2/public").mkdir(parents=True)
    assert synced(world) == ["release-2"]
    world.must_be_published()
    assert served(world, "release-2") == without(world, OLD)
    assert synced(world) == []


@pytest.mark.parametrize("change", ["changed", "removed", "added"])
def test_metadata_that_somebody_changed_there_is_told_and_put_back(world: World, change: str) -> None:
    synced(world)
    lines = world.folder / "release-2/metadata/ota/panther"
    match change:
        case "changed":
            (lines / "panther-testing").write_text("none\n")
        case "removed":
            (lines / "panther-testing").unlink()
        case "added":
            (lines / "panther-gamma").symlink_to("panther-testing")
    whole = standing(world.site().places, world.site().metadata)
    assert [(one.name, one.behind, one.altered) for one in whole.servers] == [
        ("release-1", 0, False),
        ("release-2", 0, True),
    ]
    assert synced(world) == ["release-2"]
    world.must_be_published()
    assert all(one.current for one in standing(world.site().places, world.site().metadata).servers)


def test_a_checksum_alone_comes_too(world: World) -> None:
    synced(world)
    beside = world.folder / f"release-2/public/{FULL}{SHA256SUM}"
    beside.unlink()
    assert synced(world) == ["release-2"]
    assert checksum(beside.read_text()) == served(world, "release-2")[FULL][0]


@pytest.mark.parametrize("is_agreed", [False, True], ids=["package", "package and the checksum beside it"])
def test_what_is_damaged_where_it_is_goes_nowhere(world: World, is_agreed: bool) -> None:
    package = world.folder / "release-1/public" / FULL
    damage(package)
    if is_agreed:
        package.with_name(f"{package.name}{SHA256SUM}").write_text(served(world, "release-1")[FULL][0])
    with pytest.raises(PublishError, match=f"release-2: lacks {FULL}"):
        synced(world)
    assert any(f"release-1: {FULL}: SHA-256" in told for told in world.heard)
    assert FULL not in served(world, "release-2")
    assert (world.folder / "release-2/metadata/ota/panther/panther-testing").read_text() == "1 1 15\n"


def test_what_is_damaged_on_its_way_is_not_served_and_comes_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Session.upload

    def spoilt(self: Session, folder: Path, paths: list[str], into: str, tell: Any) -> None:
        real(self, folder, paths, into, tell)
        damage(Path(self.place.root, into, paths[0]))

    with monkeypatch.context() as patched:
        patched.setattr(Session, "upload", spoilt)
        with pytest.raises(PublishError, match=r"release-2: .* is not as it is on other servers"):
            synced(world)
    assert [*served(world, "release-2")] == [OLD]
    assert synced(world) == ["release-2"]
    world.must_be_published()


@pytest.mark.parametrize(
    ("when", "step"),
    [pytest.param(*one, marks=() if one in WORST else pytest.mark.full, id=" ".join(one)) for one in POINTS],
)
def test_killed_anywhere_the_next_run_ends_it(
    world: World, monkeypatch: pytest.MonkeyPatch, when: str, step: str
) -> None:
    name = step if step in ("download", "upload") else "ask"
    real = getattr(Session, name)

    def dying(self: Session, *arguments: Any, **more: Any) -> Any:
        here = name == step or arguments[0] == step
        if here and when == "before":
            raise Killed
        found = real(self, *arguments, **more)
        if here:
            raise Killed
        return found

    with monkeypatch.context() as patched:
        patched.setattr(Session, name, dying)
        with pytest.raises(Killed):
            synced(world)
    assert world.broken(world.places[1]) == []
    synced(world)
    world.must_be_published()
    assert synced(world) == []


def test_what_came_is_not_sent_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    here = world.folder / "release-2/incoming/synced/files" / FULL
    here.parent.mkdir(parents=True)
    content = (world.folder / "release-1/public" / FULL).read_bytes()
    here.write_bytes(content[: len(content) // 2])
    before = here.stat().st_ino
    taken = []
    real = Session.ask

    def ask(self: Session, do: str, *arguments: Any, **more: Any) -> Any:
        if do == "take":
            taken.append(here.stat().st_ino if here.exists() else 0)
        return real(self, do, *arguments, **more)

    monkeypatch.setattr(Session, "ask", ask)
    synced(world)
    assert before in taken  # rsync went on in the same file
    world.must_be_published()


def test_what_prune_would_remove_is_not_brought_back(world: World) -> None:
    beside = world.folder / f"release-1/public/{OLD}{SHA256SUM}"
    beside.write_text(hashlib.sha256(b"old").hexdigest())
    (world.folder / "release-2/public" / OLD).unlink()
    synced(world, Kept(1, -1))
    assert OLD not in served(world, "release-2")
    assert synced(world, Kept(1, 1)) == ["release-2"]
    assert OLD in served(world, "release-2")


def test_what_is_under_way_elsewhere_is_not_brought(world: World) -> None:
    synced(world)
    before = served(world, "release-2")
    with session(world.places[0], PROGRAM) as to:
        to.ask("lock")
        coming = next(one for one in world.release.check().packages if one.device not in ("panther", "FP5"))
        file = {"path": coming.path, "size": coming.size, "sha256": coming.sha256, "time": 1}
        beside = f"{coming.sha256}\n"
        digest = hashlib.sha256(beside.encode()).hexdigest()
        path = f"{coming.path}{SHA256SUM}"
        text = {"path": path, "size": len(beside), "sha256": digest, "time": 1, "text": beside}
        begun = {"id": "p", "who": "bob", "begun": "now", "base": "", "reserve": 0, "files": [file, text]}
        to.ask("begin", manifest=begun)
        to.upload(world.release.folder, [coming.path], "incoming/p/files", lambda _: None)
        assert to.ask("verify") == {"wrong": {}}
        to.ask("place")
    assert coming.path in served(world, "release-1")
    assert synced(world) == []
    assert served(world, "release-2") == before


def test_without_room_nothing_comes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncing, "RESERVE", 1 << 60)
    with pytest.raises(PublishError, match=r"release-2: needs .* bytes, and .* to spare"):
        synced(world)
    assert [*served(world, "release-2")] == [OLD]
