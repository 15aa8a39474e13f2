"""A host's processes: how they are started, found and ended.

All mounts of a host (root disk, overlay) are made in a mount namespace of its own, so they go with its last process and no
crash can leave them behind. Its processes are told by their network namespace and by the lock they hold.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from lab.engine import EngineError, LabConfig, Machine
from lab.network import NETNS, netns
from lab.nspawn_folder import Folder

START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 10
KILL_TIMEOUT_S = 20
SLOW_BOOT_S = 60

# nspawn 252 needs the namespace around it, with its own sysfs, for cloud-init to find the interface in /sys/class/net; so
# --network-namespace-path will not do. It exits with 133 when the host asks for a reboot (with --keep-unit).
# An overlay in `volatile` mode has no fsync: a host's writes are as safe as this machine's page cache, which outlives it.
SUPERVISOR = """
set -eu
folder=$1 lower=$2 proxy=$3 boot=$4 name=$5 uuid=$6 limit=$7
cd "$folder"
exec 9>lock
flock -n 9
echo $$ > pid
for tasks in $limit; do echo $$ > "$tasks"; done
mkdir -p disk root outer
mount -o loop,discard,noinit_itable disk.img disk
fresh=; [ -d disk/upper ] || fresh=1
mkdir -p disk/upper disk/work
rm -rf disk/work/work/incompat
mount -t overlay overlay -o "lowerdir=$lower,upperdir=disk/upper,workdir=disk/work,volatile" root
if [ "$fresh" ]; then
    echo "Acquire::http::Proxy \\"$proxy\\";" > root/etc/apt/apt.conf.d/00provider-cache
fi
mount --rbind /sys/fs/cgroup outer
mount -t sysfs sysfs /sys
mount --rbind outer /sys/fs/cgroup
umount -l outer
case $boot in
    slow) sleep %(slow)s ;;
    never) exec sleep infinity ;;
esac
export SYSTEMD_NSPAWN_API_VFS_WRITABLE=network
while :; do
    code=0
    systemd-nspawn --quiet --boot --register=no --keep-unit --settings=no --directory=root --machine="$name" --uuid="$uuid" \\
        --capability=CAP_NET_ADMIN --link-journal=no --resolv-conf=off --timezone=off --console=read-only \\
        --bind-ro="$folder/network:/run/systemd/network" \\
        --bind-ro="$folder/tmpfiles.conf:/run/tmpfiles.d/provider.conf" || code=$?
    [ $code = 133 ] || exit $code
done
""" % {"slow": SLOW_BOOT_S}


def start(config: LabConfig, machine: Machine, lower: Path, proxy: str) -> None:
    """Starts the host's supervisor, a process of its own that outlives this one, and returns when init runs."""
    folder = Folder.of(config, machine.id)
    space = netns(config, machine.id)
    wait(lambda: not root_mounted(folder), START_TIMEOUT_S, f"{folder.disk}: still mounted by a host that was stopped")
    tasks = memory_limit(config, machine)
    with folder.console.open("ab") as console:
        process = subprocess.Popen(
            [
                *(
                    "nsenter",
                    f"--net={NETNS / space}",
                    "unshare",
                    "--mount",
                    "--propagation=slave",
                    "sh",
                    "-c",
                    SUPERVISOR,
                ),
                *("supervisor", folder.path, lower, proxy, machine.boot, space, machine.id, " ".join(map(str, tasks))),
            ],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
        )
    if machine.boot == "normal":
        wait(
            lambda: init_of(process.pid) or process.poll() is not None,
            START_TIMEOUT_S,
            f"host {machine.id}: no init within {START_TIMEOUT_S} s: see {folder.console}",
        )
    else:
        wait(
            lambda: folder.supervisor == process.pid or process.poll() is not None,
            START_TIMEOUT_S,
            f"host {machine.id}: nothing runs: see {folder.console}",
        )
    if process.poll() is not None and not folder.supervisor:
        said = folder.console.read_bytes()[-600:].decode(errors="replace").strip()
        raise EngineError(f"host {machine.id}: ended at once; {folder.console} ends with:\n{said}")


def root_mounted(folder: Folder) -> bool:
    """Whether a loop device still holds the root disk: it goes a moment after the last process."""
    return any(loop_files(str(folder.disk)))


def loop_files(backing: str) -> list[str]:
    """The loop devices on a file, as /dev/loopN; with a trailing slash on any file in that folder."""
    found = []
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            name = path.read_text().strip().removesuffix(" (deleted)")
            if name == backing or (backing.endswith("/") and name.startswith(backing)):
                found.append(f"/dev/{path.parts[3]}")
    return found


def stop(config: LabConfig, machine_id: str, *, force: bool) -> None:
    """Ends everything that runs of a host and waits until its mounts are gone."""
    folder = Folder.of(config, machine_id)
    if not force and (nspawn := _nspawn_of(folder.supervisor)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(nspawn, signal.SIGTERM)
        with contextlib.suppress(EngineError):
            wait(lambda: not folder.supervisor, STOP_TIMEOUT_S, "")
    kill_all(config, [machine_id])
    wait(lambda: not folder.supervisor and not root_mounted(folder), KILL_TIMEOUT_S, f"host {machine_id}: does not end")


def kill_all(config: LabConfig, machine_ids: list[str]) -> None:
    """SIGKILL to every process of the hosts: supervisors first, so that none starts anew."""
    supervisors = [Folder.of(config, machine_id).supervisor for machine_id in machine_ids]
    _kill(pid for pid in supervisors if pid > 0)
    spaces = [NETNS / netns(config, machine_id) for machine_id in machine_ids]
    end_in([space for space in spaces if space.exists()])


def end_in(spaces: list[Path]) -> None:
    """Kills every process in the network namespaces, until there is none."""
    inodes = {space.stat().st_ino for space in spaces}
    if inodes:
        wait(lambda: not _kill(in_namespaces(inodes)), KILL_TIMEOUT_S, f"processes in {spaces} do not end on SIGKILL")


def in_namespaces(inodes: set[int]) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        with contextlib.suppress(OSError):
            if path.stat().st_ino in inodes:
                found.append(int(path.parts[2]))
    return found


def _kill(pids: "list[int] | object") -> int:
    count = 0
    for pid in pids:  # type: ignore[attr-defined]
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            count += 1
    return count


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _nspawn_of(supervisor: int) -> int:
    for child in children(supervisor):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd-nspawn":
                return child
    return 0


def init_of(supervisor: int) -> int:
    """The host's init as this machine numbers it, or 0 before there is one."""
    for child in children(_nspawn_of(supervisor)):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return child
    return 0


# --- memory


def _groups(config: LabConfig) -> tuple[Path, bool]:
    """Where groups of hosts are made, and whether by version 2 of cgroups."""
    v2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    return Path("/sys/fs/cgroup") if v2 else Path("/sys/fs/cgroup/memory"), v2


def memory_group(config: LabConfig, machine_id: str) -> Path:
    return _groups(config)[0] / netns(config, machine_id)


def memory_limit(config: LabConfig, machine: Machine) -> list[Path]:
    """Makes the host's memory group and returns the files that its supervisor puts itself into."""
    group, v2 = memory_group(config, machine.id), _groups(config)[1]
    group.mkdir(exist_ok=True)
    limit = group / ("memory.max" if v2 else "memory.limit_in_bytes")
    limit.write_text(str(machine.memory_mb * 2**20))
    if not v2:
        return [group / "cgroup.procs"]
    (group / "supervisor").mkdir(exist_ok=True)
    return [group / "supervisor" / "cgroup.procs"]


def memory_of(config: LabConfig, machine_id: str) -> int:
    """Bytes in use by the host's processes and its part of the page cache."""
    group, v2 = memory_group(config, machine_id), _groups(config)[1]
    try:
        return int((group / ("memory.current" if v2 else "memory.usage_in_bytes")).read_text())
    except OSError:
        return 0


def remove_groups(config: LabConfig, machine_id: str = "*") -> None:
    """Removes the memory groups of one host or of all, which must be without processes."""
    name = netns(config, machine_id) if machine_id != "*" else f"{config.prefix}-*"
    for group in _groups(config)[0].glob(name):
        for path in sorted((*(path for path in group.rglob("*") if path.is_dir()), group), reverse=True):
            with contextlib.suppress(OSError):
                path.rmdir()


def wait(done: Callable[[], object], timeout_s: float, otherwise: str) -> None:
    """Waits for a condition, looking every 10 ms. Raises EngineError with `otherwise` when it does not come."""
    end = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > end:
            raise EngineError(otherwise)
        time.sleep(0.01)
