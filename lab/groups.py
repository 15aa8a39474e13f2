"""A host's control groups: one named after it in each hierarchy that matters; by them its processes are ended.

nspawn makes a host's own groups beneath the one it is started in: hosts that share it wait for each other's processes.
With version 2 of cgroups there is one hierarchy; else the memory controller's (limit and use), systemd's and the
unified one.
"""

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path

from lab.engine import LabConfig
from lab.network import NETNS, netns
from lab.process import wait

ROOT = Path("/sys/fs/cgroup")
V2 = (ROOT / "cgroup.controllers").exists()
HIERARCHIES = (
    (ROOT,) if V2 else tuple(path for name in ("memory", "systemd", "unified") if (path := ROOT / name).is_dir())
)
KILL_TIMEOUT_S = 20
LIMIT, USE = ("memory.max", "memory.current") if V2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")


def create(config: LabConfig, machine_id: str, memory_mb: int) -> list[Path]:
    """Makes a host's groups with that memory limit, and returns those that its supervisor puts itself into."""
    found = []
    for hierarchy in HIERARCHIES:
        group = hierarchy / netns(config, machine_id)
        group.mkdir(exist_ok=True)
        if (group / LIMIT).exists():
            (group / LIMIT).write_text(str(memory_mb * 2**20))
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


def end(config: LabConfig, machine_id: str = "*") -> None:
    """SIGKILL to every process in the groups and the namespace of a host, or of all hosts, until there is none."""
    pattern = f"{config.prefix}-*" if machine_id == "*" else netns(config, machine_id)
    spaces = {space.stat().st_ino for space in NETNS.glob(pattern)}
    wait(
        lambda: not _kill({*processes(pattern), *_in_namespaces(spaces)}),
        KILL_TIMEOUT_S,
        f"processes of {pattern} do not end on SIGKILL within {KILL_TIMEOUT_S} s",
    )


def _in_namespaces(inodes: set[int]) -> list[int]:
    found = []
    # No glob over all of it: pathlib ends the whole search, silently, at a process that is just exiting.
    for process in Path("/proc").iterdir() if inodes else ():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and (process / "ns/net").stat().st_ino in inodes:
                found.append(int(process.name))
    return found


def _kill(pids: Iterable[int]) -> int:
    count = 0
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            count += 1
    return count


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
