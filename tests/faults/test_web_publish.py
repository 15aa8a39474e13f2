"""The website changes on all servers or on none: two servers' programs on this machine, real rsync, killed anywhere."""

import shutil
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from roles.common.publishing.servers import Away, Place, ServerError, session
from roles.web.archive import MESSAGE
from roles.web.tools import on_server
from roles.web.tools import publish as publishing
from roles.web.tools.content import digest_of, read
from roles.web.tools.publish import PROGRAM, PublishError
from tests.faults.web_world import NAMES, START, Killed, World, alive, die_at, names, web_world

STEPS = ("lock", "begin", "upload", "verify", "place", "switch", "close")
POINTS = [("before", "look"), *((when, step) for step in STEPS for when in ("before", "after"))]
WORST = (("after", "begin"), ("after", "place"), ("after", "switch"))
BACK = [(when, step) for step in ("go back", "switch", "close") for when in ("before", "after")]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return web_world(tmp_path, monkeypatch)


def test_a_site_is_published_on_all_servers_and_the_same_again_changes_nothing(world: World) -> None:
    first = world.publish("one")
    assert (first.before, first.id[:15]) == ("", "20261126-120100")
    assert world.both() == {first.id}
    again = world.publish()
    assert (again.anything, again.id) == (False, first.id)
    assert world.both() == {first.id}


def test_what_is_equal_is_one_file_and_what_changed_has_the_time_of_its_publication(world: World) -> None:
    world.publish("one")
    style = world.folder / "web-1/public/assets/css/style.css"
    before = style.stat()
    world.publish("two")
    after = style.stat()
    assert (after.st_ino, after.st_mtime) == (before.st_ino, before.st_mtime)
    about = world.folder / "web-1/public/about.html"
    assert about.stat().st_mtime == (START + timedelta(minutes=2)).timestamp()
    assert about.stat().st_mode & 0o777 == 0o644
    assert "upload" not in world.notes


@pytest.mark.parametrize(
    ("when", "step"),
    [pytest.param(*one, marks=() if one in WORST else pytest.mark.full, id=" ".join(one)) for one in POINTS],
)
def test_killed_at_any_step_each_server_serves_a_whole_release_and_the_next_run_finishes(
    world: World, when: str, step: str
) -> None:
    first = world.publish("one")
    die_at(world, when, step, {first.id, "20261126-120200-" + _digest(world, "two")})
    with pytest.raises(Killed):
        world.publish("two")
    alive(world)
    second = world.publish()
    assert second.id.startswith(
        "20261126-1202" if step not in ("lock",) and (when, step) != ("before", "begin") else ""
    )
    assert world.both() == {second.id}
    assert {world.file(name) for name in NAMES} == {"two"}
    assert world.rollback().id == first.id


def _digest(world: World, text: str) -> str:
    (world.site / "about.html").write_text(text)
    found = read(world.site, world.folder / "scratch-digest")
    return digest_of({path: file.sha256 for path, file in found.files.items()})[:8]


@pytest.mark.parametrize(
    ("when", "step"),
    [
        pytest.param(*one, marks=() if one == ("after", "switch") else pytest.mark.full, id=" ".join(one))
        for one in BACK
    ],
)
def test_killed_on_the_way_back_the_next_run_goes_where_it_went_and_no_further(
    world: World, when: str, step: str
) -> None:
    changes = [world.publish(text) for text in ("one", "two", "three")]
    die_at(world, when, step, {changes[1].id, changes[2].id})
    with pytest.raises(Killed):
        world.rollback()
    alive(world)
    closed = {(world.folder / name / "incoming/back").exists() for name in NAMES} == {False}
    if not closed or {world.shown(name) for name in NAMES} == {changes[2].id}:
        assert world.rollback().id == changes[1].id
    assert world.both() == {changes[1].id}


@pytest.mark.parametrize(
    "step", [pytest.param(one, marks=() if one == "switch" else pytest.mark.full) for one in STEPS if one != "upload"]
)
def test_a_server_that_dies_is_told_and_the_next_run_finishes(world: World, step: str) -> None:
    world.publish("one")

    def at(when: str, name: str) -> None:
        if (when, name) == ("before", step) and world.to:
            world.to.running.kill()

    world.at = at
    with pytest.raises(Away, match="web-"):
        world.publish("two")
    alive(world)
    second = world.publish("two")
    assert (world.both(), world.file("web-1"), world.file("web-2")) == ({second.id}, "two", "two")


def test_something_else_may_be_published_after_one_that_was_killed(world: World) -> None:
    first = world.publish("one")
    die_at(world, "after", "switch", {first.id, "20261126-120200-" + _digest(world, "two")})
    with pytest.raises(Killed):
        world.publish("two")
    alive(world)
    third = world.publish("three")
    assert world.both() == {third.id}
    assert world.rollback().id in {first.id, "20261126-120200-" + _digest(world, "two")}


def test_one_goes_back_to_the_one_before_or_to_a_named_one(world: World) -> None:
    one, two, three = (world.publish(text) for text in ("one", "two", "three"))
    assert world.rollback(dry=True).id == two.id
    assert world.both() == {three.id}
    assert (world.rollback().id, world.file("web-2")) == (two.id, "two")
    assert (world.rollback().id, world.both()) == (one.id, {one.id})
    assert world.rollback(three.id).id == three.id
    world.rollback(one.id)
    four = world.publish("four")
    assert four.before == one.id
    assert world.rollback().id == one.id
    with pytest.raises(PublishError, match="nothing before"):
        world.rollback()
    with pytest.raises(PublishError, match="web-1: does not hold 2020"):
        world.rollback("2020")


def test_the_last_ones_stay_with_what_is_needed(world: World) -> None:
    changes = [world.publish(str(number)) for number in range(5)]
    assert names(world.folder / "web-1/releases") == [one.id for one in changes[2:]]
    world.rollback(changes[2].id)
    last = world.publish("last")
    assert {changes[2].id, last.id} <= {*names(world.folder / "web-1/releases")}


def test_a_message_is_published_alone_and_taken_back(world: World) -> None:
    one = world.publish("one")
    changed = world.message("Update now.\n")
    assert (changed.changed, changed.added, changed.removed) == ((MESSAGE,), (), ())
    assert {world.file(name, MESSAGE) for name in NAMES} == {"Update now.\n"}
    assert world.file("web-1") == "one"
    assert world.rollback().id == one.id
    assert world.file("web-1", MESSAGE) != "Update now.\n"


def test_a_site_does_not_replace_a_message_that_was_published_alone_unless_told(world: World) -> None:
    world.publish("one")
    world.message("Update now.\n")
    with pytest.raises(PublishError, match="--replace-message"):
        world.publish("two")
    assert world.file("web-1") == "one"
    old = (world.site / MESSAGE).read_text()
    (world.site / MESSAGE).unlink()
    world.publish("two")
    assert (world.file("web-2"), world.file("web-2", MESSAGE)) == ("two", "Update now.\n")
    (world.site / MESSAGE).write_text(old)
    world.publish("three", replace_message=True)
    assert world.file("web-2", MESSAGE) == old


def test_a_message_that_was_killed_between_two_servers_is_finished(world: World) -> None:
    world.publish("one")
    seen: list[str] = []

    def at(when: str, step: str) -> None:
        seen.append(step)
        if (when, step) == ("after", "switch"):
            raise Killed

    world.at = at
    with pytest.raises(Killed):
        world.message("Update now.\n")
    alive(world)
    changed = world.message("Update now.\n")
    assert world.both() == {changed.id}
    assert world.file("web-2", MESSAGE) == "Update now.\n"


def test_no_message_goes_out_while_a_way_back_is_half_done(world: World) -> None:
    one, two = world.publish("one"), world.publish("two")
    die_at(world, "after", "switch", {one.id, two.id})
    with pytest.raises(Killed):
        world.rollback()
    alive(world)
    with pytest.raises(PublishError, match="run it again first"):
        world.message("Update now.\n")
    assert world.rollback().id == one.id
    world.message("Update now.\n")
    assert world.file("web-2") == "one"


def test_a_clock_that_is_behind_is_told_before_anything_is_changed(world: World) -> None:
    first = world.publish("one")
    with pytest.raises(PublishError, match="set this machine's clock"):
        world.publish("two", now=START - timedelta(days=1))
    assert world.both() == {first.id}
    assert world.publish("one", now=START - timedelta(days=1)).id == first.id


def test_a_server_that_is_away_stops_it_before_anything_is_changed(world: World) -> None:
    first = world.publish("one")
    away = Place("web-2", str(world.folder / "web-2"), lambda *_: ("false",))
    with pytest.raises(Away, match="web-2"):
        world.publish("two", places=[world.places[0], away])
    assert world.both() == {first.id}


def test_a_server_that_was_made_anew_gets_all_of_it_by_the_same_command(world: World) -> None:
    world.publish("one")
    changed = world.message("Update now.\n")
    shutil.rmtree(world.folder / "web-2")
    (world.folder / "web-2/public").mkdir(parents=True)
    (world.site / MESSAGE).write_text("Update now.\n")
    assert world.publish("one").id == changed.id
    assert world.both() == {changed.id}


def test_two_publish_at_once_and_one_is_told_so(world: World) -> None:
    first = world.publish("one")
    with session(world.places[1], PROGRAM) as other:
        other.ask("lock")
        with pytest.raises(ServerError, match="web-2: somebody publishes there now"):
            world.publish("two")
    assert {world.shown(name) for name in NAMES} == {first.id}


def test_a_file_that_changes_on_its_way_is_not_published_and_comes_again(world: World) -> None:
    first = world.publish("one")

    def at(when: str, step: str) -> None:
        if (when, step) == ("before", "upload"):
            (world.site / "about.html").write_text("owt")

    world.at = at
    with pytest.raises(PublishError, match=r"about\.html: SHA-256"):
        world.publish("two")
    assert {world.shown(name) for name in NAMES} == {first.id}
    alive(world)
    second = world.publish("two")
    assert (world.both(), world.file("web-1")) == ({second.id}, "two")


def test_what_changed_on_a_server_since_it_was_read_is_not_published(world: World) -> None:
    first = world.publish("one")

    def at(when: str, step: str) -> None:
        if (when, step) == ("before", "place"):
            for path in world.folder.glob("web-*/incoming/*/public/about.html"):
                path.write_text("owt")

    world.at = at
    with pytest.raises(ServerError, match=r"about\.html is not what was verified"):
        world.publish("two")
    assert {world.shown(name) for name in NAMES} == {first.id}


def test_a_file_that_broke_on_a_servers_disk_is_found_before_it_is_gone_back_to(world: World) -> None:
    one, two = world.publish("one"), world.publish("two")
    path = world.folder / "web-2/releases" / one.id / "public/about.html"
    path.write_text("eno")
    with pytest.raises(PublishError, match=f"web-2: {one.id}: about.html: SHA-256"):
        world.rollback()
    assert world.both() == {two.id}
    again = world.publish("one")
    assert (world.both(), world.file("web-2")) == ({again.id}, "one")


def test_the_same_is_published_anew_where_what_is_served_broke(world: World) -> None:
    one = world.publish("one")
    (world.folder / "web-1/public/about.html").write_text("eno")
    again = world.publish("one")
    assert (again.id != one.id, world.both(), world.file("web-1")) == (True, {again.id}, "one")
    assert any("is published anew" in note for note in world.notes)


def test_a_full_disk_is_told_before_anything_comes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first = world.publish("one")
    monkeypatch.setattr(on_server, "RESERVE", 1 << 60)
    with pytest.raises(PublishError, match=r"web-1: [0-9,]+ bytes are new"):
        world.publish("two", dry=True)
    source = Path(on_server.__file__).read_text().replace("RESERVE = 256 << 20", "RESERVE = 1 << 60")
    fake = world.folder / "fake.py"
    fake.write_text(source)
    module = type(sys)("roles.web.tools.on_server")
    module.__file__ = str(fake)
    monkeypatch.setattr(publishing, "PROGRAM", type(PROGRAM)(module))
    with pytest.raises(ServerError, match="to spare"):
        world.publish("two")
    assert {world.shown(name) for name in NAMES} == {first.id}


def test_a_dry_run_tells_the_truth_and_changes_nothing(world: World) -> None:
    first = world.publish("one")
    (world.site / "new.html").write_text("new")
    (world.site / "feed.xml").unlink()
    before = sorted((world.folder / "web-1").rglob("*"))
    told = world.publish("two", dry=True)
    assert (told.added, told.changed, told.removed) == (("new.html",), ("about.html",), ("feed.xml",))
    assert sorted((world.folder / "web-1").rglob("*")) == before
    assert world.both() == {first.id}
    done = world.publish()
    assert (done.added, done.changed, done.removed, done.size) == (told.added, told.changed, told.removed, told.size)


def test_what_was_served_before_there_were_releases_is_kept(world: World) -> None:
    (world.folder / "web-1/public/index.html").write_text("old")
    first = world.publish("one")
    assert world.both() == {first.id}
    kept = world.folder / f"web-1/releases/before-{first.id}/public/index.html"
    assert kept.read_text() == "old"


def test_a_name_that_leads_elsewhere_is_refused(world: World) -> None:
    world.publish("one")
    with session(world.places[0], PROGRAM) as to:
        to.ask("lock")
        for path in ("../x", "/x", "a//b", ".git/HEAD", ""):
            manifest = {"id": "x", "time": 1, "files": [{"path": path, "size": 1, "sha256": "0" * 64}]}
            with pytest.raises(ServerError, match="no path of what is published"):
                to.ask("begin", manifest=manifest)
        for name in ("../x", ".", "a/b/../c"):
            with pytest.raises(ServerError, match="no path of what is published"):
                to.ask("switch", id=name, since=1)
