"""Hosts as systemd-nspawn containers: Debian's own init over a shared image, up in about a second.

Needs nothing but root, and no systemd as this machine's init. What it cannot be: a kernel of its own (the clock,
kernel.* sysctls, modules and audit are this machine's), a CPU limit (`vcpus`), or a wall against a hostile root inside.
The functions are those of `lab.hosts.Kind`.
"""

from lab import image, nspawn_disks, prepared, services
from lab import nspawn_process as process
from lab.disks import disk_file, release
from lab.engine import LabConfig, Machine
from lab.folder import Folder
from lab.nspawn_disks import attach, copy_out, detach, fill, resized
from lab.nspawn_process import init_of

__all__ = [
    "attach",
    "copy_out",
    "detach",
    "fill",
    "init_of",
    "make_root",
    "nics_changed",
    "require",
    "resized",
    "start",
    "stop",
]


def make_root(folder: Folder, machine: Machine) -> None:
    is_prepared = machine.image.startswith(prepared.PREFIX)
    nspawn_disks.create_root(
        folder, machine.disk_gb, prepared.image_id(machine.image) if is_prepared else image.image_id()
    )


def require(image_id: str) -> None:
    image.root_of(image_id)


def start(config: LabConfig, folder: Folder, machine: Machine) -> None:
    nspawn_disks.grow_root(folder.disk, machine.disk_gb)
    nspawn_disks.bring_up(config, folder)
    process.start(config, machine, image.root_of(folder.image), services.cache_url(config))


def stop(config: LabConfig, folder: Folder, *, force: bool) -> None:
    process.stop(config, folder.path.name, force=force)
    for disk_id in folder.disks:
        release(disk_file(config, disk_id))


def nics_changed(folder: Folder, machine: Machine) -> None:
    """They can be changed at any moment."""
