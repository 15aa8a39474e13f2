"""A web server that is left out of something catches up, and never leads the others back to what they left."""

from pathlib import Path

import pytest

from roles.common.publishing.servers import Away, Place
from roles.web.archive import MESSAGE
from roles.web.tools.publish import PublishError
from tests.faults.web_world import World, web_world


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return web_world(tmp_path, monkeypatch)


def test_a_server_that_is_down_stops_it_by_words_that_say_how_to_leave_it_out(world: World) -> None:
    away = Place("web-2", str(world.folder / "web-2"), lambda *_: ("false",))
    with pytest.raises(Away, match="nothing is published; --without web-2 leaves it out for now"):
        world.publish("one", places=[world.places[0], away])
    assert world.shown("web-1") == ""


def test_the_same_command_again_brings_it_what_it_missed(world: World) -> None:
    first = world.publish("one")
    second = world.publish("two", places=world.places[:1])
    assert (world.shown("web-1"), world.shown("web-2")) == (second.id, first.id)
    told = world.publish("two", dry=True)
    assert (told.id, told.before, told.changed) == (second.id, first.id, ("about.html",))
    again = world.publish("two")
    assert (again.id, again.before, world.both()) == (second.id, first.id, {second.id})
    assert world.rollback().id == first.id


def test_a_message_that_it_missed_comes_with_the_next_one(world: World) -> None:
    world.publish("one")
    world.publish("two", places=world.places[:1])
    with pytest.raises(PublishError, match=r"web-2: lacks about.html, which is not here either"):
        world.message("Update now.\n")
    world.publish("two")
    missed = world.message("Update now.\n", places=world.places[:1])
    assert world.message("Update now.\n").id == missed.id
    assert world.both() == {missed.id}


def test_after_a_way_back_without_it_nothing_leads_to_what_was_left(world: World) -> None:
    one, two = world.publish("one"), world.publish("two")
    assert world.rollback(places=world.places[:1]).id == one.id
    assert (world.shown("web-1"), world.shown("web-2")) == (one.id, two.id)
    with pytest.raises(PublishError, match=f"web-2 was left out of the way back to {one.id}"):
        world.rollback()
    told = world.message("Update now.\n")
    assert world.both() == {told.id}
    assert (world.file("web-1"), world.file("web-2"), world.file("web-2", MESSAGE)) == ("one", "one", "Update now.\n")
    assert world.rollback().id == one.id


def test_it_goes_back_by_the_name_of_where_the_others_are(world: World) -> None:
    one, two = world.publish("one"), world.publish("two")
    world.rollback(places=world.places[:1])
    done = world.rollback(one.id)
    assert (done.id, done.before, world.both()) == (one.id, two.id, {one.id})


def test_what_is_published_after_a_way_back_without_it_leads_back_there(world: World) -> None:
    one, _ = world.publish("one"), world.publish("two")
    world.rollback(places=world.places[:1])
    three = world.publish("three")
    assert (world.both(), world.rollback().id, world.both()) == ({three.id}, one.id, {one.id})


def test_a_clock_that_is_behind_does_not_make_a_way_back_look_older_than_what_it_left(world: World) -> None:
    one, two = world.publish("one"), world.publish("two")
    world.runs = -10_000
    world.rollback(places=world.places[:1])
    world.runs = 10
    assert world.message("Update now.\n").before in (one.id, two.id)
    assert {world.file(name) for name in ("web-1", "web-2")} == {"one"}


def test_what_each_serves_is_told_though_one_does_not_answer(world: World) -> None:
    first = world.publish("one")
    away = Place("web-2", str(world.folder / "web-2"), lambda *_: ("sh", "-c", "echo gone >&2; exit 1"))
    found = world.status(places=[world.places[0], away])
    assert (found["web-1"]["served"], found["web-2"]) == (first.id, {"wrong": "gone"})
