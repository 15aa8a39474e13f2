"""Two admins, a kill, a host that is down: one deploy at a time on a host, and each in its record."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from cloud.converge import PYINFRA, REPOSITORY
from lab.engine import LabConfig
from roles.base.deployed import LOOK, Deployed, last
from tests import bare_host
from tests.bare_host import BareHost
from tests.waiting import until

pytestmark = pytest.mark.lab
SITE = """
from inventories.inventory import load_site as _load
bare = [(name, data | {"site": _load("inventories/prod.py")}) for name, data in bare]
"""
# Waits in the middle for as long as a file is there, and fails where another one is.
DEPLOY = """
from pyinfra.operations import server
from roles.base.deploying import deploying
with deploying():
    server.shell(name="first", commands=["echo x >> /root/first"])
    server.shell(name="middle", commands=["touch /root/middle; while [ -e /root/wait ]; do sleep 0.1; done"])
    server.shell(name="after", commands=["[ ! -e /root/fail ] && echo x >> /root/after"])
"""


@pytest.fixture(scope="module")
def hosts(lab: LabConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[BareHost]]:
    made = bare_host.create(lab, ["locked-1", "locked-2"], tmp_path_factory.mktemp("locked"))
    yield made
    for host in made:
        host.destroy()


@pytest.fixture
def words(hosts: list[BareHost], tmp_path: Path) -> list[str]:
    """pyinfra, on hosts where nothing waits or fails."""
    for host in hosts:
        host.root("rm -f /root/first /root/middle /root/wait /root/fail /root/after")
    inventory = bare_host.inventory(hosts, tmp_path)
    inventory.write_text(inventory.read_text() + SITE)
    (tmp_path / "halves.py").write_text(DEPLOY)
    return [str(inventory), str(tmp_path / "halves.py"), "-y"]


def deploy(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PYINFRA, *words], cwd=REPOSITORY, capture_output=True, text=True, check=False)


@contextmanager
def half_way(words: Sequence[str], hosts: list[BareHost]) -> Iterator["subprocess.Popen[str]"]:
    """A deploy that is in the middle of all hosts, and goes on when nothing waits there any more."""
    for host in hosts:
        host.root("touch /root/wait")
    with subprocess.Popen(
        [PYINFRA, *words], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        try:
            for host in hosts:
                look = partial(host.root, "ls /root/middle", check=False)
                until(f"{host.name} half-way", look, timeout_s=120)
            yield running
        finally:
            for host in hosts:
                host.root("rm -f /root/wait")
            running.communicate(timeout=120)


def recorded(host: BareHost) -> Deployed:
    found = last(host.root(LOOK))
    assert found
    return found


def ended(host: BareHost, result: str) -> bool:
    return recorded(host).result == result


def test_a_deploy_is_recorded_with_who_what_and_how_it_ended(hosts: list[BareHost], words: list[str]) -> None:
    done = deploy(words)
    assert done.returncode == 0, done.stderr
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=REPOSITORY, text=True)[:10]
    for host in hosts:
        said = recorded(host)
        assert (said.deploy, said.result, said.changes, said.admin) == ("halves", "finished", 3, "lab")
        assert (said.commit, said.machine) == (commit, os.uname().nodename)
        assert said.address == host.ssh("echo ${SSH_CONNECTION%% *}").strip()
        assert host.ssh("stat -c %a:%G /var/lib/mainstay/deploys.jsonl").strip() == "640:adm"


def test_a_dry_run_locks_and_records_nothing(hosts: list[BareHost], words: list[str]) -> None:
    with half_way(words, hosts):
        before = [host.root("cat /var/lib/mainstay/deploys.jsonl") for host in hosts]
        dry = deploy([*words[:-1], "--dry"])
        assert dry.returncode == 0, dry.stderr
        assert [host.root("cat /var/lib/mainstay/deploys.jsonl") for host in hosts] == before


def test_of_two_deploys_at_once_the_second_is_told_who_is_at_it_and_nothing_of_it_runs(
    hosts: list[BareHost], words: list[str]
) -> None:
    with half_way([*words, "--limit", hosts[1].name], hosts[1:]):
        for options in ([], ["--serial"]):
            second = deploy([*words, *options])
            assert second.returncode == 1
            assert "another deploy is under way here: halves, of " in second.stderr, second.stderr
            pid = json.loads(hosts[1].root("cat /run/mainstay-deploy.lock"))["pid"]
            assert f"mainstay ssh --inventory inventories/prod.py locked-2 sudo kill {pid}" in second.stderr
        assert [host.root("cat /root/first 2>/dev/null", check=False).split() for host in hosts] == [[], ["x"]]
        assert recorded(hosts[1]).result == "running"
    assert recorded(hosts[1]).result == "finished"
    assert deploy(words).returncode == 0


def test_a_deploy_that_is_killed_leaves_no_lock_and_is_recorded_as_stopped(
    hosts: list[BareHost], words: list[str]
) -> None:
    with half_way(words, hosts) as running:
        running.send_signal(signal.SIGKILL)
        running.wait(timeout=30)
        for host in hosts:
            until(f"{host.name}: the end", partial(ended, host, "stopped"))
    again = deploy(words)
    assert again.returncode == 0, again.stderr


def test_who_breaks_a_lock_ends_the_deploy_that_had_it(hosts: list[BareHost], words: list[str]) -> None:
    with half_way(words, hosts) as running:
        host = hosts[0]
        host.ssh(f"sudo kill {json.loads(host.root('cat /run/mainstay-deploy.lock'))['pid']}")
        until("the end", partial(ended, host, "broken"))
        for one in hosts:
            one.root("rm -f /root/wait")
        said, _ = running.communicate(timeout=120)
    assert running.returncode == 1
    assert "locked-1: the lock of this deploy was broken: nothing more is done there" in said
    assert "No such file" in host.root("cat /root/after 2>&1", check=False)
    assert deploy(words).returncode == 0


def test_one_host_after_the_other_ends_at_the_first_that_fails(hosts: list[BareHost], words: list[str]) -> None:
    """Whichever that is: pyinfra's order is its own."""
    for host in hosts:
        host.root("touch /root/fail")
    done = deploy([*words, "--serial"])
    assert done.returncode == 1
    [first] = [host for host in hosts if host.root("ls /root/first 2>/dev/null", check=False)]
    assert f"failed: {first.name}" in done.stderr
    said = recorded(first)
    assert (said.result, said.at) == ("failed", "after")


def test_a_lock_costs_one_remote_command(hosts: list[BareHost], words: list[str]) -> None:
    counted = [sys.executable, "-m", "tests.faults.killed", "0", *words, "--limit", hosts[0].name]
    done = subprocess.run(counted, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert int(done.stdout.splitlines()[-1]) == 3 + 1
