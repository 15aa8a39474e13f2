"""An upgrade of Gerrit that is killed at each step: the old version is there again by itself, with all it had."""

import shlex
from collections.abc import Iterator

import pytest

from cloud.converge import converge
from inventories.inventory import load_site
from roles.gerrit.upgrading import PROGRAM, unit
from tests.gerrit_site import HOST, VERSION
from tests.gerrit_upgrade import OLD, begin, ended, serves, told, upgradable
from tests.labs import disconnect, provider
from tests.saved_site import Saved
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.full, pytest.mark.timeout(1200)]
SITE = "/srv/gerrit/site"
POINTS = {
    "the server ends": "systemctl is-active gerrit | grep -q deactivating",
    "init": "pgrep -f 'gerrit-[0-9.]*.war init'",
    "reindex": "pgrep -f 'gerrit-[0-9.]*.war reindex'",
    "the new version is asked": "pgrep -f 'daemon -d /srv/gerrit/site/tmp/[a]ccount-'",
}
"""What an upgrade is at, and what tells so on its host."""
LATE = "grep -q starting /srv/gerrit/upgrade/state.json"


@pytest.fixture(scope="module")
def gerrit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    yield from upgradable(tmp_path_factory.mktemp("killed"))


def reach(gerrit: Saved, point: str) -> None:
    """Begins an upgrade, and returns when it is there. The host looks by itself: to ask it takes a core from it."""
    begin(gerrit)
    gerrit.root(HOST, f"timeout 600 sh -c {shlex.quote(f'until {point} >/dev/null; do sleep 0.1; done')}")


def must_be_as(gerrit: Saved, before: tuple[str, str]) -> None:
    until("it serves again", lambda: ended(gerrit), timeout_s=600)
    assert serves(gerrit) == before
    assert told(gerrit)["version"] == OLD
    assert gerrit.root(HOST, f"ls {SITE}/etc | grep upgrading || true") == ""


@pytest.mark.parametrize("at", POINTS)
def test_killed_it_leaves_the_old_version_in_service(gerrit: Saved, at: str) -> None:
    before = serves(gerrit)
    reach(gerrit, POINTS[at])
    busy = gerrit.ssh(HOST, f"python3 -I {PROGRAM} rollback /srv/gerrit lose")
    assert (busy.returncode, "another upgrade is at work" in busy.stderr) == (1, True)
    gerrit.root(HOST, f"systemctl kill -s KILL {unit(VERSION)}")
    must_be_as(gerrit, before)
    assert told(gerrit)["step"] == "back"


def test_a_host_that_dies_in_it_comes_up_with_the_old_version(gerrit: Saved) -> None:
    before = serves(gerrit)
    reach(gerrit, POINTS["reindex"])
    instance = load_site(gerrit.inventory).lock.hosts[HOST].instance_id
    provider(gerrit.lab, "POST", f"instances/{instance}/halt")
    disconnect(gerrit.ssh_config, HOST)
    provider(gerrit.lab, "POST", f"instances/{instance}/start")
    until("it is up", lambda: gerrit.up(HOST), timeout_s=300)
    must_be_as(gerrit, before)


def test_killed_when_all_was_found_good_the_new_version_stays_and_can_be_taken_back(gerrit: Saved) -> None:
    before = serves(gerrit)
    reach(gerrit, LATE)
    gerrit.root(HOST, f"systemctl kill -s KILL {unit(VERSION)}")
    until("it serves again", lambda: ended(gerrit), timeout_s=600)
    assert serves(gerrit) == (VERSION, before[1])
    again = converge(gerrit.inventory, "gerrit")
    assert again.ok, again.output
    assert serves(gerrit) == (VERSION, before[1])
    gerrit.root(HOST, f"python3 -I {PROGRAM} rollback /srv/gerrit")
    must_be_as(gerrit, before)
    assert gerrit.root(HOST, "btrfs subvolume list /srv/gerrit") == ""
