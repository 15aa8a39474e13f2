"""Gerrit's host loses its power while people push and a backup is made: what was acknowledged is there."""

import fcntl
import struct
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from backup.agent import ref_manifest
from inventories.inventory import load_site
from lab import disks
from lab.hosts import LabEngine
from roles.gerrit.tools.rest import Request
from roles.gerrit.tools.restore import values
from tests.gerrit_client import Pusher, administrator, changes, make_project, pushing
from tests.gerrit_site import HOST, gerrit_site
from tests.labs import disconnect
from tests.saved_site import Saved
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.full, pytest.mark.timeout(1200)]
DATA, ROOT = f"{HOST}:gerrit", "/srv/gerrit"
GIT = f"{ROOT}/site/git"
SNAPSHOT = f"{ROOT}/.mainstay-snapshot-gerrit"
PROJECTS = tuple(f"project-{number}" for number in range(3))
GET_STATUS, SET_STATUS = 0x4C05, 0x4C04
LIMIT = 32
"""ioctls of a loop device, and where in its struct loop_info64 the size is told (linux/loop.h)."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    yield from gerrit_site(tmp_path_factory.mktemp("gerrit"))


def lose_power(saved: Saved) -> float:
    """Of Gerrit's host, at once; returns when. What is not on the disk of its site is lost: that takes nothing any more
    from then on, as if it had no room for any block but its first."""
    (volume,) = load_site(saved.inventory).lock.hosts[HOST].volumes.values()
    told = subprocess.run(
        ["losetup", "-nO", "NAME", "-j", str(disks.disk_file(saved.lab, volume.id))],
        capture_output=True,
        text=True,
        check=True,
    )
    when = time.time()
    with Path(told.stdout.strip()).open("rb+", buffering=0) as device:
        status = bytearray(232)
        fcntl.ioctl(device, GET_STATUS, status)
        struct.pack_into("=Q", status, LIMIT, 4096)
        fcntl.ioctl(device, SET_STATUS, status)
    disconnect(saved.ssh_config, HOST)
    LabEngine(saved.lab).stop(saved.machine(HOST), force=True)
    return when


def test_what_was_acknowledged_is_there_and_the_next_backup_clears_up_and_is_good(saved: Saved, tmp_path: Path) -> None:
    with administrator(saved) as gerrit:
        for project in PROJECTS:
            make_project(gerrit, project)
        pushers = [Pusher.of(saved, gerrit, project, tmp_path / project) for project in PROJECTS]
        for one in pushers:
            one.clone()
        saved.root(HOST, f"head -c 300M /dev/urandom >{ROOT}/site/data/large; sync")
        with pushing(pushers) as crowd, saved.begin("run", DATA) as run:
            saved.root(HOST, f"until [ -e {SNAPSHOT} ] && pgrep -x restic; do sleep 0.01; done")
            until("pushes", lambda: len(crowd.pushed) >= 3)
            when = lose_power(saved)
            run.communicate()
        assert run.returncode
    saved.power(HOST, "start")
    until("Gerrit is up", partial(is_active, saved), timeout_s=180)
    assert saved.root(HOST, f"ls -d {SNAPSHOT}")
    with administrator(saved) as gerrit:
        acknowledged = {one.commit for one in crowd.pushed if one.ended < when}
        refs = {project: values(gerrit, project) for project in PROJECTS}
        found = {one["current_revision"] for one in changes(gerrit, "is:open").values()}
        ondisk = {value for one in refs.values() for value in one.values()}
        assert acknowledged
        assert acknowledged <= ondisk
        assert acknowledged <= found
        for project in PROJECTS:
            gerrit.git("--git-dir", gerrit.place(project), "rev-list", "--objects", "--all", "--quiet")
    done = saved.mainstay("run", DATA)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "removed the snapshot of an earlier run" in done.stdout + done.stderr
    assert saved.root(HOST, f"btrfs subvolume list -o {ROOT}") == ""
    saved.must("restore", DATA, "--to", str(tmp_path / "back"), "--include", ref_manifest.FILE)
    manifest = {one.path: one.refs for one in ref_manifest.read(tmp_path / "back" / ref_manifest.FILE)}
    assert {project: manifest[f"site/git/{project}.git"] for project in PROJECTS} == refs


def is_active(saved: Saved) -> bool:
    return saved.ssh(HOST, "systemctl is-active -q gerrit").returncode == 0


def test_a_server_that_was_killed_leaves_no_lock_that_keeps_others_from_writing(saved: Saved) -> None:
    users = f"{GIT}/All-Users.git"
    locks = (f"{users}/packed-refs.lock", f"{users}/refs/meta/group-names.lock")
    saved.root(HOST, f"touch {' '.join(locks)}; chown gerrit: {' '.join(locks)}; systemctl kill -s KILL gerrit")
    until("it was started again", lambda: saved.root(HOST, "systemctl show -P NRestarts gerrit") != "0")
    until("Gerrit is up", partial(is_active, saved), timeout_s=180)
    with administrator(saved) as gerrit:
        gerrit.server.ask(Request("PUT", "/groups/made-afterwards", {}))
    assert saved.root(HOST, f"find {GIT} -name '*.lock'") == ""
