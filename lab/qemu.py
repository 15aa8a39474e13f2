"""Hosts as virtual machines: a kernel, USB and a console of their own, up in half a minute without KVM.

For hosts whose kernel matters. What is not offered raises EngineError: other interfaces while it runs, and filling its
disk from without. The functions are those of `lab.hosts.Kind`; what only a VM can is in lab/vm.py.
"""

import contextlib
import os
import subprocess
import time
from dataclasses import replace as altered
from pathlib import Path

from inventories.files import replace
from lab import disks, groups, kvm, network, prepared, services, vm_image
from lab import qemu_command as command
from lab.command import run
from lab.engine import GIB, EngineError, LabConfig, Machine
from lab.folder import Folder
from lab.process import wait
from lab.qmp import Qmp, Refused, talk

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 60
POWER_OFF_AGAIN_S = 10
"""A press of the button that came before the system listens to it is lost."""
UNPLUG_TIMEOUT_S = 60
"""The system inside must let go of a device first."""
OVERHEAD_MB = 512
"""What QEMU itself takes, translated code included."""

# As the supervisor of a container, and then QEMU itself.
SUPERVISOR = """
set -eu
folder=$1 boot=$2 groups=$3
shift 3
for group in $groups; do echo $$ > "$group/cgroup.procs"; done
cd "$folder"
exec 9>lock
flock -w 5 9
rm -f qmp console
echo $$ > pid
case $boot in
    normal | never) ;;
    *) sleep $boot ;;
esac
exec "$@"
"""


def make_root(folder: Folder, machine: Machine) -> None:
    """The image is built with the first VM that needs it."""
    image_id = vm_image.build(prepared.packages_of(machine.image))
    fresh = folder.path / "disk.new"
    _over_image(image_id, fresh, machine.disk_gb * GIB)
    replace(folder.path / "image", image_id)
    fresh.replace(folder.disk)


def _over_image(image_id: str, path: Path, size: int) -> None:
    """An empty qcow2 over an image; size in bytes."""
    base = vm_image.folder_of(image_id) / "root.img"
    path.unlink(missing_ok=True)
    run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, path, str(size))


def require(image_id: str) -> None:
    vm_image.folder_of(image_id)


def start(config: LabConfig, folder: Folder, machine: Machine) -> None:
    image = vm_image.folder_of(folder.image)
    if _size(folder.disk) < machine.disk_gb * GIB:
        run("qemu-img", "resize", "-q", "-f", "qcow2", folder.disk, f"{machine.disk_gb}G")
    files = {path.name: path.read_text() for path in sorted((folder.path / "network").iterdir())}
    wires = {wire: tap for tap, wire in network.links(config, machine.id).items()}
    parts = command.Parts(
        kernel=image / "vmlinuz",
        initrd=image / "initrd.img",
        root=folder.disk,
        disks={disks.existing(config, disk_id): disk for disk_id, disk in folder.disks.items()},
        taps={nic.mac: wires[network.bridge(config, nic.network)] for nic in machine.nics},
        credentials=command.credentials(config, machine, files, services.cache_url(config)),
        kvm=kvm.usable(image / "vmlinuz"),
    )
    fitting = altered(machine, vcpus=min(machine.vcpus, os.cpu_count() or 1))
    _run(config, folder, machine, command.command(fitting, parts))


def _size(disk: Path) -> int:
    """Of the disk that a qcow2 is, as its header has it: big-endian at offset 24 (docs/interop/qcow2.txt)."""
    with disk.open("rb") as file:
        return int.from_bytes(file.read(32)[24:], "big")


def _run(config: LabConfig, folder: Folder, machine: Machine, words: list[str]) -> None:
    """Starts QEMU, which outlives this process, and returns when it can be talked to."""
    tasks = groups.create(config, machine.id, machine.memory_mb + OVERHEAD_MB)
    with folder.console.open("ab") as console:
        process = subprocess.Popen(
            [
                *("sh", "-c", SUPERVISOR, "supervisor"),
                folder.path,
                str(machine.boot),
                " ".join(map(str, tasks)),
                *words,
            ],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
        )
    at_once = machine.boot in ("normal", "never")
    wait(
        lambda: process.poll() is not None or (folder.supervisor == process.pid and (not at_once or _talks(folder))),
        START_TIMEOUT_S,
        f"host {machine.id}: no QEMU within {START_TIMEOUT_S} s: see {folder.console}",
    )
    if process.poll() is not None and not folder.supervisor:
        said = folder.console.read_bytes()[-600:].decode(errors="replace").strip()
        raise EngineError(f"host {machine.id}: ended at once; {folder.console} ends with:\n{said}")


def _talks(folder: Folder) -> bool:
    with contextlib.suppress(EngineError), talk(qmp_of(folder)):
        return True
    return False


def init_of(supervisor: int) -> int:
    return supervisor


def qmp_of(folder: Folder) -> Path:
    return folder.path / command.QMP


def stop(config: LabConfig, folder: Folder, *, force: bool) -> None:
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while not force and folder.supervisor and time.monotonic() < deadline:
        try:
            with talk(qmp_of(folder)) as qmp:
                if qmp("query-status")["status"] != "running":
                    break
                qmp("system_powerdown")
        except EngineError:
            break
        with contextlib.suppress(EngineError):
            wait(lambda: not folder.supervisor, POWER_OFF_AGAIN_S, "")
    groups.end(config, folder.path.name)
    wait(lambda: not folder.supervisor, groups.KILL_TIMEOUT_S, f"host {folder.path.name}: does not end")


def nics_changed(folder: Folder, machine: Machine) -> None:
    before = folder.machine
    if folder.supervisor and before and before.nics != machine.nics:
        raise EngineError(f"host {machine.id}: a VM's interfaces and addresses can be changed only while it is off")


def attach(config: LabConfig, folder: Folder, disk_id: str, serial: str) -> None:
    with disks.attaching(folder, disk_id, serial, command.MOST_DISKS):
        path, disk = disks.existing(config, disk_id), folder.disks[disk_id]
        if not folder.supervisor:
            return
        with talk(qmp_of(folder)) as qmp:
            if command.node_name(disk) not in nodes(qmp):
                qmp("blockdev-add", **command.disk_node(path, disk))
            if not _has_device(qmp, command.node_name(disk)):
                qmp("device_add", **command.disk_device(disk))


def nodes(qmp: Qmp) -> set[str]:
    return {node["node-name"] for node in qmp("query-named-block-nodes", flat=True)}


def _has_device(qmp: Qmp, name: str) -> bool:
    return name in {device["name"] for device in qmp("qom-list", path="/machine/peripheral")}


def detach(config: LabConfig, folder: Folder, disk_id: str) -> None:
    """As at the provider, whatever is mounted inside."""
    disk = folder.disks.get(disk_id)
    if disk is None:
        return
    if folder.supervisor:
        with talk(qmp_of(folder)) as qmp:
            unplug(qmp, command.node_name(disk))
            if command.node_name(disk) in nodes(qmp):
                qmp("blockdev-del", node_name=command.node_name(disk))
    folder.save_disks({other: value for other, value in folder.disks.items() if other != disk_id})


def unplug(qmp: Qmp, name: str) -> None:
    """Takes a device out, if it is there; returns when the system inside has let go of it."""
    if not _has_device(qmp, name):
        return
    try:
        qmp("device_del", id=name)
    except Refused as refused:
        if "already in the process of unplug" not in str(refused):
            raise
    qmp.event("DEVICE_DELETED", UNPLUG_TIMEOUT_S, device=name)


def resized(config: LabConfig, folder: Folder, disk_id: str) -> None:
    if folder.supervisor:
        size = disks.disk_file(config, disk_id).stat().st_size
        with talk(qmp_of(folder)) as qmp:
            qmp("block_resize", node_name=command.node_name(folder.disks[disk_id]), size=size)


def copy_out(folder: Folder, target: Path) -> None:
    """Of a VM that runs, QEMU copies what it is at one moment, while it goes on: as after a loss of power, then."""
    if not folder.supervisor:
        disks.copy(folder.disk, target)
        return
    _over_image(folder.image, target, _size(folder.disk))
    file = {"driver": "file", "filename": str(target), "cache": {"no-flush": True}}
    with talk(qmp_of(folder)) as qmp:
        _end_copying(qmp)
        qmp("blockdev-add", driver="qcow2", node_name="copy", file=file)
        try:
            qmp("blockdev-backup", job_id="copy", device="root", target="copy", sync="top", auto_dismiss=False)
            wait(lambda: _job(qmp)["status"] == "concluded", disks.COPY_TIMEOUT_S, f"{target}: not copied in time")
            if error := _job(qmp).get("error"):
                raise EngineError(f"{target}: {error}")
        finally:
            _end_copying(qmp)


def _job(qmp: Qmp) -> dict[str, str]:
    """Of copying; concluded where there is none."""
    jobs: list[dict[str, str]] = qmp("query-jobs")
    return next((job for job in jobs if job["id"] == "copy"), {"status": "concluded"})


def _end_copying(qmp: Qmp) -> None:
    """Also what was left of it by a process that was killed."""
    if _job(qmp)["status"] != "concluded":
        qmp("job-cancel", id="copy")
        wait(lambda: _job(qmp)["status"] == "concluded", disks.COPY_TIMEOUT_S, "copying does not end")
    if "id" in _job(qmp):
        qmp("job-dismiss", id="copy")
    if "copy" in nodes(qmp):
        qmp("blockdev-del", node_name="copy")


def fill(folder: Folder, *, full: bool) -> None:
    if full:
        raise EngineError(f"host {folder.path.name}: a VM's disk cannot be filled from without: do it inside")
