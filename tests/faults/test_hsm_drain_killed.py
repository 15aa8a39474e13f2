"""A drain and an apply that are killed at each of their steps: nothing is lost, nothing is there twice or half."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from yubihsm.defs import OBJECT

from roles.signing.tools.state import folder
from tests.hsm_site import ADMIN, PASSWORDS, Site, site


@pytest.fixture
def hsm(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as one:
        yield one


def killed(one: Site, how: str, words: list[str]) -> list[str]:
    """At which points."""
    done = one.program(how, *words, before=("-m", "tests.faults.hsm_killed"), timeout_s=900)
    assert done.code == 0, done
    return done.out.splitlines()


def test_a_drain_that_is_killed_at_each_step_loses_nothing(hsm: Site) -> None:
    hsm.make()
    points = killed(hsm, "each", hsm.words("drain", "--device", "primary"))
    assert points[-1] == "ended with 0"
    assert set(points[1::2]) == {"then 0"}
    told = set(points[::2])
    assert {"before write", "after write", "before fsync", "before commit", "after commit", "after add"} <= told
    assert hsm.mainstay("drain").code == 0
    lines = hsm.entries()
    assert [one.get("entry") for one in lines] == list(range(1, len(lines) + 1))
    assert len(list((hsm.log / "999000001").iterdir())) > 1
    assert hsm.mainstay("verify").code == 0


def test_an_apply_that_is_killed_after_each_change_goes_on(hsm: Site) -> None:
    words = hsm.words("apply", *hsm.from_factory())
    points = killed(hsm, "first", words)
    assert points[-1] == "ended with 52"
    assert {"PUT_WRAP_KEY", "PUT_AUTHENTICATION_KEY", "SET_OPTION", "GENERATE_ASYMMETRIC_KEY", "IMPORT_WRAPPED"} <= {
        *points
    }
    assert "file" in points
    left = hsm.mainstay("plan", "--json")
    assert [one for one in left.told["differences"] if not one["by_hand"]] == []
    assert sorted(path.name for path in hsm.keys.iterdir() if path.suffix == ".yhw") == [
        "0x0101-asymmetric-key.yhw",
        "0x0102-asymmetric-key.yhw",
    ]
    assert folder.Folder(hsm.keys).wrapped.keys() == {0x0101, 0x0102}
    for one in hsm.devices.values():
        with one.session(ADMIN, PASSWORDS["admin"]) as opened:
            assert len(opened.list_objects(object_type=OBJECT.ASYMMETRIC_KEY)) == 2
    assert hsm.mainstay("drain").code == 0
    assert hsm.mainstay("verify").code == 0


@pytest.mark.parametrize("lock", ["index.lock", "HEAD.lock", "refs/heads/main.lock"])
def test_a_lock_of_git_that_a_loss_of_power_left_is_taken_away(hsm: Site, lock: str) -> None:
    hsm.make()
    left = hsm.log / ".git" / lock
    left.write_text("")
    assert hsm.mainstay("drain", "--device", "primary").code == 1
    then = time.time() - 120
    os.utime(left, (then, then))
    assert hsm.mainstay("drain").code == 0
    assert hsm.mainstay("verify").code == 0
