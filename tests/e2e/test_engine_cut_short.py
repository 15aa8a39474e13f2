"""What an engine was doing to a disk when it failed or was killed: nothing is lost by it, and it can be done again."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.converge import REPOSITORY
from lab.engine import GIB, EngineError, Machine
from tests.e2e.engine_hosts import EngineHosts, engine_lab
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def hosts() -> Iterator[EngineHosts]:
    with engine_lab("cut") as found:
        yield found


@pytest.fixture(scope="module")
def host(hosts: EngineHosts) -> Machine:
    return hosts.boot(1)


def killed_in(hosts: EngineHosts, program: str, lasts_s: int, call: str, folder: Path) -> None:
    """Makes a call of the engine in a process of its own, and kills it when it has begun to run that program, of which
    something that lasts is in the place."""
    slow = folder / program
    slow.write_text(f"#!/bin/sh\ntouch {folder}/begun\nexec sleep {lasts_s}\n")
    slow.chmod(0o755)
    script = (
        "from lab import lifecycle; from lab.hosts import LabEngine; "
        f"from tests.e2e.engine_hosts import EngineHosts; hosts = EngineHosts(lifecycle.find({hosts.config.name!r})); "
        f"hosts.engine.{call}"
    )
    path = {"PATH": f"{folder}:{os.environ['PATH']}"}
    with subprocess.Popen([sys.executable, "-c", script], cwd=REPOSITORY, env=os.environ | path) as caller:
        until(f"{program} is run", (folder / "begun").exists)
        caller.kill()


def test_a_snapshot_cut_short_lets_the_host_go_on_and_can_be_taken_again(
    hosts: EngineHosts, host: Machine, tmp_path: Path
) -> None:
    killed_in(hosts, "cp", 600, f"create_snapshot({host.id!r}, 'again')", tmp_path)
    hosts.ssh(host, "sudo touch /goes-on", timeout_s=60)
    assert hosts.engine.create_snapshot(host.id, "again") > 0
    hosts.engine.destroy_snapshot("again")


def test_a_root_disk_whose_growing_was_cut_short_grows_at_the_next_start(
    hosts: EngineHosts, host: Machine, tmp_path: Path
) -> None:
    hosts.engine.stop(host.id)
    killed_in(hosts, "resize2fs", 3, "start(hosts.machine(1, disk_gb=55))", tmp_path)
    hosts.engine.start(hosts.machine(1, disk_gb=55))
    hosts.wait_for_ssh(host)
    assert int(hosts.ssh(host, "df --output=size -B1 / | tail -1")) > 50 * GIB


def test_a_volume_that_could_not_be_attached_is_not_attached_at_the_next_boot(
    hosts: EngineHosts, host: Machine
) -> None:
    with pytest.raises(EngineError, match="no such disk"):
        hosts.engine.attach_disk(host.id, "late", "late-1")
    hosts.engine.create_disk("late", 10)
    hosts.reboot(host)
    assert hosts.ssh(host, "ls /dev/disk/by-id", check=False) == ""
    hosts.engine.stop(host.id)
    hosts.engine.destroy_disk("late")
    hosts.engine.start(host)
