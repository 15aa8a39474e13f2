"""Disks of containers: root disks (ext4 in sparse files), and the nodes of block storage."""

import contextlib
import os
import stat
from pathlib import Path

from inventories.files import replace
from lab.command import run
from lab.disks import COPY_TIMEOUT_S, attaching, copy, disk_file, existing, loop, loop_files, release, sparse
from lab.engine import GIB, LabConfig
from lab.folder import Folder
from lab.image import root_of
from lab.nspawn_process import init_of

# Fills what is left, to the last block; the file lies beside the overlay's layers, where the host cannot see it.
FILL = """
size=$(stat -f -c '%a * %S' "$1"); fallocate -l $(($size)) "$1/fill" || true
dd if=/dev/zero of="$1/fill.rest" bs=4k 2>/dev/null || true
"""
FREE = 'rm -f "$1/fill" "$1/fill.rest"'

# Copies a root disk while its host stands still. A host that stays frozen can neither go on nor be ended: so the trap
# must be reached, also when who asked is gone, and reads no more of what is said here.
COPY_FROZEN = """
trap '' PIPE
trap 'kill $! || true; fsfreeze -u "$1"' EXIT
trap 'exit 1' TERM
fsfreeze -f "$1"
cp --sparse=always --reflink=auto "$2" "$3" &
wait $!
"""
# Grows a root disk's filesystem to its file. 1: there was something to put right, and it is.
GROW = 'e2fsck -f -p "$1" || [ $? = 1 ]; resize2fs "$1"'


def create_root(folder: Folder, size_gb: int, image: str) -> None:
    """An empty root disk over an image."""
    root_of(image)
    fresh = folder.path / "disk.new"
    sparse(fresh, size_gb)
    run("mkfs.ext4", "-q", "-F", "-m0", "-L", "root", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1", fresh)
    replace(folder.path / "image", image)
    fresh.replace(folder.disk)


def grow_root(disk: Path, size_gb: int) -> None:
    """Disk and filesystem of a host that does not run, as the provider and growpart do for a larger plan. The mark is
    there until both have grown, and locked for as long as anything works on it."""
    mark = disk.with_name("growing")
    if size_gb * GIB > disk.stat().st_size:
        mark.touch()
        os.truncate(disk, size_gb * GIB)
    if mark.exists():
        run("flock", mark, "sh", "-ec", GROW, "grow", disk, timeout_s=COPY_TIMEOUT_S)
        mark.unlink()


def copy_out(folder: Folder, target: Path) -> None:
    """Copies a root disk, running or not. The host stands still meanwhile. If this process is killed, the copying ends
    and the host goes on."""
    pid = folder.supervisor
    if pid > 0:
        inside = ("nsenter", f"--mount=/proc/{pid}/ns/mnt", "sh", "-ec", COPY_FROZEN, "copy", folder.path / "disk")
        run("setsid", "setpriv", "--pdeathsig=TERM", *inside, folder.disk, target, timeout_s=COPY_TIMEOUT_S)
    else:
        copy(folder.disk, target)


def fill(folder: Folder, *, full: bool) -> None:
    """Takes every free block of a root disk, or gives them back; of a stopped host too."""
    script, mounted, pid = FILL if full else FREE, folder.path / "disk", folder.supervisor
    if full and pid > 0:
        fill(folder, full=False)
    if pid > 0:
        run("nsenter", f"--mount=/proc/{pid}/ns/mnt", "sh", "-ec", script, "fill", mounted)
    else:
        mounted.mkdir(exist_ok=True)
        run("unshare", "--mount", "sh", "-ec", f'mount -o loop "$2" "$1"\n{script}', "fill", mounted, folder.disk)


# --- block storage


def bring_up(config: LabConfig, folder: Folder) -> None:
    """A loop device for each disk attached, the list of nodes that the host makes at boot, and the nodes if it runs."""
    lines = ""
    for disk_id, disk in folder.disks.items():
        number = loop(existing(config, disk_id))
        node, by_id = f"/dev/vd{disk.letter}", f"/dev/disk/by-id/virtio-{disk.serial}"
        lines += f"b {node} 0660 root disk - 7:{number}\nd /dev/disk/by-id 0755 root root -\n"
        lines += f"L {by_id} - - - - ../../vd{disk.letter}\n"
        if init := init_of(folder.supervisor):
            _make_nodes(Path(f"/proc/{init}/root"), node, by_id, number)
    # Written in place: a running host has this very file bound in.
    (folder.path / "tmpfiles.conf").write_text(lines)


def _make_nodes(root: Path, node: str, by_id: str, number: int) -> None:
    device, link = root / node.lstrip("/"), root / by_id.lstrip("/")
    wanted = os.makedev(7, number)
    with contextlib.suppress(FileNotFoundError):
        if device.stat().st_rdev != wanted:
            device.unlink()
    with contextlib.suppress(FileExistsError):
        os.mknod(device, stat.S_IFBLK | 0o660, wanted)
    link.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        link.symlink_to(f"../../{device.name}")


def attach(config: LabConfig, folder: Folder, disk_id: str, serial: str) -> None:
    with attaching(folder, disk_id, serial):
        existing(config, disk_id)
        if folder.supervisor:
            bring_up(config, folder)


def resized(config: LabConfig, folder: Folder, disk_id: str) -> None:
    """A host that has it sees the new size at once."""
    for device in loop_files(str(disk_file(config, disk_id))):
        run("losetup", "--set-capacity", device)


def detach(config: LabConfig, folder: Folder, disk_id: str) -> None:
    """Takes a disk away. Raises EngineError while a process of the host has a file open on it: the real thing would
    have it fail, and its data with it."""
    disks = folder.disks
    disk = disks.get(disk_id)
    if disk is None:
        return
    init = init_of(folder.supervisor)
    devices = loop_files(str(disk_file(config, disk_id)))
    if init:
        mounts = Path(f"/proc/{init}/mountinfo").read_text().splitlines()
        numbers = {f"7:{device.removeprefix('/dev/loop')}" for device in devices}
        for mount in [line.split()[4] for line in mounts if line.split()[2] in numbers]:
            run("nsenter", f"--mount=/proc/{init}/ns/mnt", f"--root=/proc/{init}/root", "umount", mount)
    release(disk_file(config, disk_id))
    if init:
        for name in (f"dev/disk/by-id/virtio-{disk.serial}", f"dev/vd{disk.letter}"):
            (Path(f"/proc/{init}/root") / name).unlink(missing_ok=True)
    folder.save_disks({other: value for other, value in disks.items() if other != disk_id})
    if folder.supervisor:
        bring_up(config, folder)
