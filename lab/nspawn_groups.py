"""A host's control groups: one named after it in each hierarchy that matters.

nspawn makes a host's own groups beneath the one it is started in: hosts that share it wait for each other's processes.
With version 2 of cgroups there is one hierarchy; else the memory controller's (limit and use), systemd's and the
unified one.
"""

import contextlib
import os
from pathlib import Path

from lab.engine import LabConfig, Machine
from lab.network import netns

ROOT = Path("/sys/fs/cgroup")
V2 = (ROOT / "cgroup.controllers").exists()
HIERARCHIES = (
    (ROOT,) if V2 else tuple(path for name in ("memory", "systemd", "unified") if (path := ROOT / name).is_dir())
)
LIMIT, USE = ("memory.max", "memory.current") if V2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")


def create(config: LabConfig, machine: Machine) -> list[Path]:
    """Makes a host's groups with its memory limit, and returns those that its supervisor puts itself into."""
    found = []
    for hierarchy in HIERARCHIES:
        group = hierarchy / netns(config, machine.id)
        group.mkdir(exist_ok=True)
        if (group / LIMIT).exists():
            (group / LIMIT).write_text(str(machine.memory_mb * 2**20))
        # Version 2 has processes in leaves only, and nspawn makes groups beside itself.
        leaf = group / "host" if V2 else group
        leaf.mkdir(exist_ok=True)
        found.append(leaf)
    return found


def memory_of(config: LabConfig, machine_id: str) -> int:
    """Bytes in use by the host's processes and its part of the page cache."""
    with contextlib.suppress(OSError):
        return int((HIERARCHIES[0] / netns(config, machine_id) / USE).read_text())
    return 0


def processes(pattern: str) -> set[int]:
    """The processes in groups of that name, and below."""
    found = set()
    for group in _all(pattern):
        with contextlib.suppress(OSError):
            found |= {int(line) for line in (group / "cgroup.procs").read_text().split()}
    return found - {0}


def remove(config: LabConfig, machine_id: str) -> None:
    """Removes the groups of a host without processes."""
    _remove(netns(config, machine_id))


def sweep(config: LabConfig) -> None:
    """Removes the groups of all hosts."""
    _remove(f"{config.prefix}-*")


def _remove(pattern: str) -> None:
    for group in reversed(_all(pattern)):
        with contextlib.suppress(OSError):
            group.rmdir()


def _all(pattern: str) -> list[Path]:
    """Groups of that name and those below, outer ones first. os.walk does not mind that hosts end theirs meanwhile."""
    tops = [group for hierarchy in HIERARCHIES for group in hierarchy.glob(pattern)]
    return [Path(path) for top in tops for path, _, _ in os.walk(top)]
