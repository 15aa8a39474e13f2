"""A host's processes: how they are started, found and ended.

All mounts of a host (root disk, overlay) are made in a mount namespace of its own, so they go with its last process and
no crash can leave them behind. Its processes are told by their control group and network namespace; as long as there
is one, the host's lock is held.
"""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from lab import groups
from lab.disks import loop_files
from lab.engine import EngineError, LabConfig, Machine
from lab.folder import Folder
from lab.network import NETNS, netns
from lab.process import wait

# Of the kernel as a whole, or of one user on it, whom all hosts are: 128 inotify instances are enough for five hosts.
# Numbers of processes as systemd sets them on a machine that it boots: of 32,768 each comes again within minutes, and
# who asks whether a lock's owner is still there takes another process for it.
LIMITS = {
    "fs/inotify/max_user_instances": 8192,
    "fs/inotify/max_user_watches": 1_048_576,
    "kernel/keys/maxkeys": 5000,
    "kernel/keys/maxbytes": 500_000,
    "kernel/pid_max": 4_194_304,
}
PROPAGATE = Path("/run/systemd/nspawn/propagate")
START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 10
POWER_OFF = signal.SIGRTMIN + 4
"""To systemd as init. One that has only just started does not hear it."""
POWER_OFF_AGAIN_S = 1

# nspawn needs the namespace around it, with its own sysfs, for cloud-init to find the interface in /sys/class/net: with
# --network-namespace-path it sees the machine's. It exits with 133 when the host asks for a reboot (with --keep-unit).
# An overlay in `volatile` mode has no fsync: a host's writes are as safe as this machine's page cache, which outlives
# it.
SUPERVISOR = """
set -eu
folder=$1 lower=$2 proxy=$3 boot=$4 name=$5 uuid=$6 groups=$7
cd "$folder"
exec 9>lock
flock -w 5 9
echo $$ > pid
for group in $groups; do echo $$ > "$group/cgroup.procs"; done
mkdir -p disk root outer
mount -o loop,discard,noinit_itable disk.img disk
mkdir -p disk/upper disk/work
rm -rf disk/work/work/incompat
mount -t overlay overlay -o "lowerdir=$lower,upperdir=disk/upper,workdir=disk/work,volatile" root
if [ ! -e disk/made ]; then
    echo "Acquire::http::Proxy \\"$proxy\\";" > root/etc/apt/apt.conf.d/00provider-cache
    touch disk/made
fi
mount --rbind /sys/fs/cgroup outer
mount -t sysfs sysfs /sys
mount --rbind outer /sys/fs/cgroup
umount -l outer
case $boot in
    normal) ;;
    never) exec sleep infinity ;;
    *) sleep $boot ;;
esac
export SYSTEMD_NSPAWN_API_VFS_WRITABLE=network SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
while :; do
    code=0
    systemd-nspawn --quiet --boot --register=no --keep-unit --settings=no --console=read-only --directory=root \\
        --machine="$name" --uuid="$uuid" --capability=CAP_NET_ADMIN \\
        --link-journal=no --resolv-conf=off --timezone=off \\
        --bind-ro="$folder/network:/run/systemd/network" \\
        --bind-ro="$folder/tmpfiles.conf:/run/tmpfiles.d/provider.conf" || code=$?
    [ $code = 133 ] || exit $code
done
"""


def forget(config: LabConfig, machine_id: str) -> None:
    """Removes what nspawn leaves on this machine for each container it has run."""
    with contextlib.suppress(OSError):
        (PROPAGATE / netns(config, machine_id)).rmdir()


def raise_limits() -> None:
    """Makes room for many hosts on this machine; limits that are higher already stay."""
    for name, least in LIMITS.items():
        path = Path("/proc/sys") / name
        if int(path.read_text()) < least:
            path.write_text(str(least))


def start(config: LabConfig, machine: Machine, lower: Path, proxy: str) -> None:
    """Starts the host's supervisor, a process of its own that outlives this one, and returns when init runs."""
    folder = Folder.of(config, machine.id)
    space = netns(config, machine.id)
    wait(lambda: not root_mounted(folder), START_TIMEOUT_S, f"{folder.disk}: still mounted by a host that was stopped")
    tasks = groups.create(config, machine.id, machine.memory_mb)
    with folder.console.open("ab") as console:
        process = subprocess.Popen(
            [
                *("nsenter", f"--net={NETNS / space}", "unshare", "--mount", "--propagation=slave"),
                *("sh", "-c", SUPERVISOR),
                *("supervisor", folder.path, lower, proxy, str(machine.boot), space, machine.id),
                " ".join(map(str, tasks)),
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


def stop(config: LabConfig, machine_id: str, *, force: bool) -> None:
    """Ends everything that runs of a host and waits until its mounts are gone."""
    folder = Folder.of(config, machine_id)
    if not force:
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while (init := init_of(folder.supervisor)) and time.monotonic() < deadline:
            with contextlib.suppress(ProcessLookupError):
                os.kill(init, POWER_OFF)
            with contextlib.suppress(EngineError):
                wait(lambda: not folder.supervisor, POWER_OFF_AGAIN_S, "")
    groups.end(config, machine_id)
    wait(
        lambda: not folder.supervisor and not root_mounted(folder),
        groups.KILL_TIMEOUT_S,
        f"host {machine_id}: does not end",
    )


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
