"""Root disks (ext4 in sparse files), block storage (loop devices over such files), snapshots (copies of root disks)."""

import contextlib
import os
import shutil
import stat
from pathlib import Path

from inventories.files import replace
from lab.command import run
from lab.engine import GIB, EngineError, LabConfig
from lab.image import root_of
from lab.nspawn_folder import Attached, Folder
from lab.nspawn_process import init_of, loop_files, wait

LETTERS = "bcdefghijklmnop"
RELEASE_TIMEOUT_S = 60
"""What a host had not written yet is written then, on a disk that others may keep busy."""
COPY_TIMEOUT_S = 1800

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
    _sparse(fresh, size_gb)
    run("mkfs.ext4", "-q", "-F", "-m0", "-L", "root", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1", fresh)
    replace(folder.path / "image", image)
    fresh.replace(folder.disk)


def copy_root(folder: Folder, snapshot: Path) -> None:
    """A root disk that is the copy of a snapshot; the first start grows it."""
    if not (snapshot / "image").exists():
        raise EngineError(f"{snapshot}: no such snapshot")
    image = (snapshot / "image").read_text()
    root_of(image)
    fresh = folder.path / "disk.new"
    copy = ("cp", "--sparse=always", "--reflink=auto", snapshot / "disk.img", fresh)
    run("setpriv", "--pdeathsig=KILL", *copy, timeout_s=COPY_TIMEOUT_S)
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


def snapshot(folder: Folder, target: Path) -> int:
    """Copies a root disk, running or not, and returns what the copy takes up in bytes. The host stands still meanwhile.
    If this process is killed, the copying ends and the host goes on."""
    if (target / "disk.img").exists():
        return _used(target / "disk.img")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    pid = folder.supervisor
    fresh = target / "disk.new"
    if pid > 0:
        inside = ("nsenter", f"--mount=/proc/{pid}/ns/mnt", "sh", "-ec", COPY_FROZEN, "copy", folder.path / "disk")
        run("setsid", "setpriv", "--pdeathsig=TERM", *inside, folder.disk, fresh, timeout_s=COPY_TIMEOUT_S)
    else:
        copy = ("cp", "--sparse=always", "--reflink=auto", folder.disk, fresh)
        run("setpriv", "--pdeathsig=KILL", *copy, timeout_s=COPY_TIMEOUT_S)
    (target / "image").write_text(folder.image)
    fresh.replace(target / "disk.img")
    return _used(target / "disk.img")


def _used(path: Path) -> int:
    return path.stat().st_blocks * 512


def fill_root(folder: Folder, *, full: bool) -> None:
    """Takes every free block of a root disk, or gives them back; of a stopped host too."""
    script, mounted, pid = FILL if full else FREE, folder.path / "disk", folder.supervisor
    if full and pid > 0:
        fill_root(folder, full=False)
    if pid > 0:
        run("nsenter", f"--mount=/proc/{pid}/ns/mnt", "sh", "-ec", script, "fill", mounted)
    else:
        mounted.mkdir(exist_ok=True)
        run("unshare", "--mount", "sh", "-ec", f'mount -o loop "$2" "$1"\n{script}', "fill", mounted, folder.disk)


# --- block storage


def disk_file(config: LabConfig, disk_id: str) -> Path:
    return config.root / "disks" / f"{disk_id}.img"


def create(config: LabConfig, disk_id: str, size_gb: int) -> None:
    path = disk_file(config, disk_id)
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        fresh = path.with_suffix(".new")
        _sparse(fresh, size_gb)
        fresh.replace(path)


def resize(config: LabConfig, disk_id: str, size_gb: int) -> None:
    """Larger only: what is cut off is gone. A host that has it sees the new size at once."""
    path = disk_file(config, disk_id)
    if size_gb * GIB < path.stat().st_size:
        raise EngineError(f"disk {disk_id}: cannot shrink from {path.stat().st_size // GIB} to {size_gb} GiB")
    os.truncate(path, size_gb * GIB)
    for device in loop_files(str(path)):
        run("losetup", "--set-capacity", device)


def _sparse(path: Path, size_gb: int) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    os.truncate(path, size_gb * GIB)


def bring_up(config: LabConfig, folder: Folder) -> None:
    """A loop device for each disk attached, the list of nodes that the host makes at boot, and the nodes if it runs."""
    lines = ""
    for disk_id, disk in folder.disks.items():
        number = _loop(disk_file(config, disk_id))
        node, by_id = f"/dev/vd{disk.letter}", f"/dev/disk/by-id/virtio-{disk.serial}"
        lines += f"b {node} 0660 root disk - 7:{number}\nd /dev/disk/by-id 0755 root root -\n"
        lines += f"L {by_id} - - - - ../../vd{disk.letter}\n"
        if init := init_of(folder.supervisor):
            _make_nodes(Path(f"/proc/{init}/root"), node, by_id, number)
    # Written in place: a running host has this very file bound in.
    (folder.path / "tmpfiles.conf").write_text(lines)


def _loop(path: Path) -> int:
    if not path.exists():
        raise EngineError(f"{path}: no such disk")
    there = loop_files(str(path))
    device = there[0] if there else run("losetup", "--find", "--show", "--nooverlap", path).strip()
    return int(device.removeprefix("/dev/loop"))


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
    """Raises EngineError; a disk that could not be attached does not come with the next boot either."""
    before = folder.disks
    if disk_id not in before:
        taken = {disk.letter for disk in before.values()}
        free = next((letter for letter in LETTERS if letter not in taken), None)
        if free is None:
            raise EngineError(f"host {folder.path.name}: no more than {len(LETTERS)} disks can be attached")
        folder.save_disks(before | {disk_id: Attached(free, serial)})
    try:
        _loop(disk_file(config, disk_id))
        if folder.supervisor:
            bring_up(config, folder)
    except Exception:
        folder.save_disks(before)
        raise


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


def release(path: Path) -> None:
    """Removes the loop devices on a file, or in a folder when it ends with a slash."""
    for device in loop_files(str(path)):
        run("losetup", "--detach", device)
    wait(lambda: not loop_files(str(path)), RELEASE_TIMEOUT_S, f"{path}: still in use after {RELEASE_TIMEOUT_S} s")


def release_all(config: LabConfig) -> None:
    """Removes every loop device on a file of the lab, root disks of hosts that have just ended included."""
    root = f"{config.root}/"
    for device in loop_files(root):
        with contextlib.suppress(EngineError):
            run("losetup", "--detach", device)
    wait(lambda: not loop_files(root), RELEASE_TIMEOUT_S, f"{root}: loop devices still in use: see `losetup --list`")
