"""A backup of Gerrit while people push is of one instant, and becomes the same Gerrit on a fresh host."""

import json
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import requests

from backup.agent import ref_manifest
from cloud import provision
from inventories.inventory import load_site
from roles.gerrit.tools.rest import Request
from roles.gerrit.tools.restore import Gerrit, values
from tests.gerrit_client import Pusher, administrator, changes, make_project, pushing
from tests.gerrit_site import HOST, SERVER_ID, gerrit_site
from tests.saved_site import Saved
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.full, pytest.mark.timeout(1200)]
DATA, ROOT = f"{HOST}:gerrit", "/srv/gerrit"
SNAPSHOT = f"{ROOT}/.mainstay-snapshot-gerrit"
BOB = ("bob", "the password of bob")
PROJECTS = tuple(f"project-{number}" for number in range(3))
INSTANT = f"while ! [ -e {SNAPSHOT} ]; do before=$(date +%s.%N); done; echo $before $(date +%s.%N)"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    yield from gerrit_site(tmp_path_factory.mktemp("gerrit"))


@pytest.fixture(scope="module")
def clones(saved: Saved, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a clone of each project, which are there from now on."""
    folder = tmp_path_factory.mktemp("clones")
    with administrator(saved) as gerrit:
        gerrit.server.ask(Request("PUT", f"/accounts/{BOB[0]}", {"name": "Bob", "http_password": BOB[1]}))
        for project in PROJECTS:
            make_project(gerrit, project)
        for pusher in pushers(saved, gerrit, folder):
            pusher.clone()
    return folder


def pushers(saved: Saved, gerrit: Gerrit, clones: Path) -> list[Pusher]:
    return [Pusher.of(saved, gerrit, project, clones / project) for project in PROJECTS]


def commits(gerrit: Gerrit) -> set[str]:
    """Of all changes that Gerrit's index has."""
    return {one["current_revision"] for one in changes(gerrit, "is:open").values()}


def host_keys(saved: Saved) -> list[str]:
    """As anybody is told them."""
    address = load_site(saved.inventory).lock.hosts[HOST].ipv4
    words = ["ssh-keyscan", "-p", "29418", address]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return sorted(line.split(" ", 1)[1] for line in told.splitlines() if not line.startswith("#"))


def test_saved_while_people_push_it_is_the_same_on_a_fresh_host(saved: Saved, clones: Path, tmp_path: Path) -> None:
    instant: list[str] = []
    watch = threading.Thread(target=lambda: instant.extend(saved.root(HOST, INSTANT).split()))
    with administrator(saved) as gerrit, pushing(pushers(saved, gerrit, clones)) as crowd:
        until("pushes", lambda: len(crowd.pushed) >= 6)
        watch.start()
        saved.must("run", DATA)
        watch.join()
        before, after = map(float, instant)
        until("pushes since", lambda: any(one.began > after for one in crowd.pushed))
    keys, snapshot = host_keys(saved), json.loads(saved.must("restic", DATA, "snapshots", "--json"))[-1]["id"]
    lose(saved)
    saved.deploy("provision", "site")
    assert host_keys(saved) != keys
    bring_back(saved, snapshot)

    assert host_keys(saved) == keys
    assert SERVER_ID in saved.root(HOST, f"git config -f {ROOT}/site/etc/gerrit.config gerrit.serverId")
    folder = tmp_path / "manifest"
    saved.must("restore", DATA, "--to", str(folder), "--include", ref_manifest.FILE, "--snapshot", snapshot)
    manifest = {one.path: one for one in ref_manifest.read(folder / ref_manifest.FILE)}
    with administrator(saved) as gerrit:
        found = commits(gerrit)
        for project in PROJECTS:
            assert values(gerrit, project) == manifest[f"site/git/{project}.git"].refs
            gerrit.git("--git-dir", gerrit.place(project), "rev-list", "--objects", "--all", "--quiet")
        url = f"{gerrit.server.url}/a/accounts/self"
        assert requests.get(url, auth=BOB, timeout=30).status_code == 200
        acknowledged = {one.commit for one in crowd.pushed if one.ended < before}
        later = {one.commit for one in crowd.pushed if one.began > after}
        assert acknowledged
        assert acknowledged <= found
        assert later
        assert not later & found
        (pusher, *_) = pushers(saved, gerrit, clones)
        pushed = pusher.push()
        assert pushed
        assert pushed.commit in commits(gerrit)


def lose(saved: Saved) -> None:
    """The host with its volume, at the provider."""
    site = load_site(saved.inventory)
    api, locked = provision.client(site), site.lock.hosts[HOST]
    api.remove(f"/instances/{locked.instance_id}")
    for volume in locked.volumes.values():
        api.remove(f"/blocks/{volume.id}")


def bring_back(saved: Saved, snapshot: str) -> None:
    """What was saved, in the place of what a deploy made."""
    ran = partial(saved.root, HOST)
    ran("systemctl stop mainstay-backup@gerrit.timer gerrit")
    ran(f"/usr/local/lib/mainstay/backup.pyz restore gerrit --to {ROOT}/.restored --snapshot {snapshot}")
    ran(f"mv {ROOT}/site {ROOT}/.before-site; mv {ROOT}/.restored/site {ROOT}/site; rm -r {ROOT}/.restored")
    saved.deploy("gerrit")
