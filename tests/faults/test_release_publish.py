"""A publication is a transaction: two servers' programs on this machine, real git and rsync, killed at every step."""

import dataclasses
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from inventories.errors import InputError
from roles.common.publishing.servers import Place, ServerError, Session, session
from roles.release.archive import SHA256SUM, Offer
from roles.release.tools import publish as publishing
from roles.release.tools.changes import past, promotion, rollback
from roles.release.tools.offers import lines
from roles.release.tools.publication import Publication
from roles.release.tools.publish import PROGRAM, PublishError, Run, Site, abandon, publish
from roles.release.tools.repository import Repository
from tests.release_world import KEPT, World, made_world
from tests.unit.releases import FULL, Release, built

STEPS = (
    "lock",
    "status",
    "lacks",
    "plan",
    "begin",
    "upload",
    "verify",
    "place",
    "checksums",
    "metadata",
    "switch",
    "close",
)
POINTS = [("before", "look"), *((when, step) for step in STEPS for when in ("before", "after"))]
WORST = (("after", "place"), ("after", "metadata"), ("after", "switch"))


class Killed(BaseException):
    """Where a publisher died."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return built(tmp_path_factory.mktemp("release"))


@pytest.fixture
def world(made: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return made_world(made, tmp_path, monkeypatch)


@pytest.fixture
def traced(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Each step of a publisher passes by `world.at`, before and after it took place."""

    def steps(owner: Any, name: str, called: Callable[..., str]) -> None:
        real = getattr(owner, name)

        def passing(*arguments: Any, **more: Any) -> Any:
            step = called(*arguments)
            world.at("before", step)
            done = real(*arguments, **more)
            world.at("after", step)
            return done

        monkeypatch.setattr(owner, name, passing)

    steps(Session, "ask", lambda _, do, *__: do)
    steps(Session, "upload", lambda *_: "upload")
    steps(publishing, "_push_sums", lambda *_: "checksums")
    steps(Repository, "push", lambda one, *_: Path(one.url).stem)
    return world


def test_a_release_is_published_on_all_servers_by_one_commit(world: World) -> None:
    before = world.repository("metadata").fetch()
    commit = world.run()
    world.must_be_published()
    log = subprocess.run(
        ["git", "--git-dir", world.folder / "metadata.git", "log", "--format=%P%n%B", f"{before}..{commit}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    build = world.what.builds[0]
    assert log[:3] == [before, f"testing: {build} for FP5, panther", ""]
    assert f"panther testing: 1 -> {build}" in log
    assert f"FP5 testing: {build}, the first" in log
    assert world.heard == [
        *("connect", "upload", "verify on the servers", "move in place", "push checksums", "push metadata", "switch"),
        "fetch as phones do",
    ]


def test_what_is_published_already_is_left_alone(world: World) -> None:
    commit = world.run()
    assert world.run() == commit
    world.must_be_published()


@pytest.mark.parametrize(
    ("when", "step"),
    [pytest.param(*one, marks=() if one in WORST else pytest.mark.full, id=" ".join(one)) for one in POINTS],
)
def test_killed_at_any_step_no_phone_is_misled_and_the_next_run_finishes(traced: World, when: str, step: str) -> None:
    """On one server or on both: whichever comes first."""

    def die(moment: str, at: str) -> None:
        for one in traced.places:
            assert traced.broken(one) == []
        if (moment, at) == (when, step):
            raise Killed

    traced.at = die
    with pytest.raises(Killed):
        traced.run()
    when = "no more"
    traced.run()
    traced.must_be_published()


def promoted(world: World) -> Publication:
    return promotion(world.head("metadata"), world.what.builds[0], "testing", "beta", (), ())


def rolled_back(world: World) -> Publication:
    metadata = world.repository("metadata")
    commit = metadata.fetch()
    now = lines(metadata.files(commit))["panther", "testing"]
    return rollback("panther", "testing", past(metadata, commit, "panther", "testing"), "", now)


@pytest.mark.parametrize("change", [promoted, rolled_back])
@pytest.mark.parametrize(
    ("when", "step"),
    [
        pytest.param(*one, marks=() if one == ("after", "metadata") else pytest.mark.full, id=" ".join(one))
        for one in POINTS
        if one[1] != "upload"
    ],
)
def test_a_change_killed_at_any_step_is_finished_by_the_next_run(
    traced: World, change: Callable[[World], Publication], when: str, step: str
) -> None:
    traced.run()
    what = change(traced)

    def die(moment: str, at: str) -> None:
        for one in traced.places:
            assert traced.broken(one) == []
        if (moment, at) == (when, step):
            raise Killed

    traced.at = die
    with pytest.raises(Killed):
        traced.run(what=what)
    when = "no more"
    commit = traced.run(what=what)
    assert commit == traced.repository("metadata").fetch()
    for one in traced.places:
        with session(one, PROGRAM) as to:
            status = to.ask("status")
        assert (status["commit"], status["begun"], what.id in status["published"]) == (commit, None, True)
        for path, text in what.metadata.items():
            assert (Path(one.root) / "metadata" / path).read_text() == text


def test_a_rollback_offers_what_the_channel_offered_before(world: World) -> None:
    world.run()
    what = rolled_back(world)
    assert what.lines == {KEPT[0]: KEPT[1]}
    assert what.title == f"testing: panther back to 1 from {world.what.builds[0]}"
    world.run(what=what)
    with pytest.raises(InputError, match="offered no other build on testing before"):
        rolled_back(world)
    world.run()
    with pytest.raises(PublishError, match="which is later than 1"):
        world.run(what=dataclasses.replace(what, sets_back=False))


def test_a_server_that_is_away_stops_it_before_anything_is_published(world: World) -> None:
    before = world.repository("metadata").fetch()
    away = Place("release-2", str(world.folder / "release-2"), lambda *_: ("false",), (), "")
    site = Site((world.places[0], away), world.repository("metadata"), world.repository("checksums"), world.look)
    with pytest.raises(ServerError, match="release-2"):
        publish(Run(site, world.what, world.release.folder, world, "alice", datetime.now(UTC)))
    assert world.repository("metadata").fetch() == before


def test_a_server_that_was_left_out_catches_up_by_the_same_command(world: World) -> None:
    world.run(("release-1",))
    assert not (world.folder / "release-2/public" / FULL).exists()
    world.run()
    world.must_be_published()


def test_a_file_that_changes_on_its_way_is_not_published(world: World, tmp_path: Path) -> None:
    before = world.repository("metadata").fetch()
    folder = tmp_path / "changed"
    shutil.copytree(world.release.folder, folder)
    content = bytearray((folder / FULL).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / FULL).write_bytes(content)
    with pytest.raises(PublishError, match=f"{FULL}: SHA-256"):
        publish(Run(world.site(), world.what, folder, world, "alice", datetime.now(UTC)))
    assert world.repository("metadata").fetch() == before
    assert not (world.folder / "release-1/public" / FULL).exists()


def test_what_a_server_lost_with_its_power_is_sent_once_more(traced: World) -> None:
    """The right size, and other bytes: rsync takes that for what came before."""

    def spoil(moment: str, at: str) -> None:
        if (moment, at) == ("after", "upload") and "verify on the servers" not in traced.heard:
            here = traced.folder / "release-2/incoming" / traced.what.id / "files" / FULL
            if here.exists():
                here.write_bytes(bytes(here.stat().st_size))

    traced.at = spoil
    traced.run()
    assert any(told.startswith(f"sent once more: release-2: {FULL}: SHA-256") for told in traced.heard)
    traced.must_be_published()


def test_what_is_begun_is_taken_back_whole(traced: World) -> None:
    def die(moment: str, at: str) -> None:
        if (moment, at) == ("before", "checksums"):
            raise Killed

    traced.at = die
    with pytest.raises(Killed):
        traced.run()
    traced.at = lambda _when, _step: None
    assert (traced.folder / "release-1/public" / FULL).exists()
    gone = abandon(traced.places, traced.repository("metadata"), traced)
    assert gone == [f"release-1: {traced.what.id}", f"release-2: {traced.what.id}"]
    for one in traced.places:
        left = [str(path.relative_to(one.root)) for path in Path(one.root, "public").rglob("*") if path.is_file()]
        assert left == ["public/ota/panther/15/panther-ota_update-1.zip"]


def test_what_is_published_is_not_taken_back(traced: World) -> None:
    def die(moment: str, at: str) -> None:
        if (moment, at) == ("after", "metadata"):
            raise Killed

    traced.at = die
    with pytest.raises(Killed):
        traced.run()
    traced.at = lambda _when, _step: None
    with pytest.raises(ServerError, match="is published: finish it"):
        abandon(traced.places, traced.repository("metadata"), traced)
    traced.run()
    traced.must_be_published()


def test_a_checksum_on_record_is_never_overwritten(world: World) -> None:
    sums = world.repository("checksums")
    base = sums.fetch()
    path = f"{FULL}{SHA256SUM}"
    sums.push(sums.commit(base, {path: b"0" * 64}, "another"))
    with pytest.raises(PublishError, match="on record"):
        world.run()
    assert lines(world.head("metadata")) == {("panther", "testing"): Offer("1", 1, "15")}
