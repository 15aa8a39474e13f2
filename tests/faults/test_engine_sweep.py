"""The sweep finds everything that a lab ever made, whatever it was doing when it was killed."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import lifecycle
from lab.engine import LabConfig
from lab.groups import HIERARCHIES
from lab.hosts import LabEngine
from lab.nspawn_process import PROPAGATE
from tests.e2e.engine_hosts import EngineHosts, address, engine_lab, greets, metadata
from tests.faults.engine_killed import STEPS
from tests.labs import lab_name

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

MOST_DANGEROUS = (("start", 0.02), ("create_snapshot", 0.02), ("start_again", 0.1))
POINTS = [
    *MOST_DANGEROUS,
    *(pytest.param(step, after_s, marks=pytest.mark.full) for step in STEPS for after_s in (0.0, 0.05)),
]


@pytest.fixture(scope="module")
def neighbour() -> Iterator[EngineHosts]:
    """Another lab, with a host that all of this must leave alone."""
    with engine_lab("near") as hosts:
        hosts.boot(1)
        yield hosts


def left_of(config: LabConfig) -> list[str]:
    """Everything on this machine that has to do with the lab, but its files."""
    root, prefix = str(config.root), f"{config.prefix}-"
    found = [f"namespace {path.name}" for path in Path("/run/netns").glob(f"{prefix}*")]
    found += [
        f"link {path.name}"
        for path in Path("/sys/class/net").iterdir()
        if path.name == config.prefix or path.name.startswith(prefix)
    ]
    found += [f"cgroup {path}" for hierarchy in HIERARCHIES for path in hierarchy.glob(f"{prefix}*")]
    found += [f"folder {path}" for path in PROPAGATE.glob(f"{prefix}*")]
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    found += [line for line in tables.splitlines() if line.split()[2] == config.prefix]
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        found += [f"loop device {file.parts[3]}" for _ in [1] if root in _read(file)]
    for process in Path("/proc").glob("[0-9]*"):
        if root in _read(process / "mountinfo"):
            found.append(f"mount seen by process {process.name}")
        if prefix in _read(process / "cmdline") or f"{root}/" in _read(process / "cmdline"):
            found.append(f"process {process.name}")
    return found


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""


@pytest.mark.parametrize(("step", "after_s"), POINTS)
def test_nothing_is_left_of_a_lab_killed_at_any_moment(neighbour: EngineHosts, step: str, after_s: float) -> None:
    name = lab_name("killed")
    lifecycle.down(name)
    config = lifecycle.reserve(name)
    words = [sys.executable, "-m", "tests.faults.engine_killed", name]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as maker:
        assert maker.stdout is not None
        assert step in (line.strip() for line in maker.stdout)
        # The one place where time itself is the condition: the moment of the kill.
        time.sleep(after_s)
        assert maker.poll() is None
        maker.kill()
    assert left_of(config)
    LabEngine(config).sweep()
    assert left_of(config) == []
    LabEngine(config).sweep()
    assert left_of(config) == []
    lifecycle.down(name)
    assert not config.root.exists()
    assert greets(address(neighbour.machine(1))), "another lab was touched"


def test_a_swept_lab_can_be_used_again_with_its_hosts_data(neighbour: EngineHosts) -> None:
    with engine_lab("again") as hosts:
        machine = hosts.boot(1)
        hosts.ssh(machine, "sudo touch /kept && sync")
        hosts.engine.sweep()
        assert not hosts.engine.status(machine.id).running
        hosts.engine.prepare()
        # The first service went with the bridge that it was bound to.
        with metadata(hosts):
            hosts.engine.start(machine)
            hosts.wait_for_ssh(machine)
            hosts.ssh(machine, "test -e /kept")
