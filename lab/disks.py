"""What hosts of every kind have their disks in: files of this machine, sparse, and loop devices over them.

Block storage is a raw file `disks/ID.img` in the lab's folder, whatever it is attached to.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from lab.command import run
from lab.engine import GIB, EngineError, LabConfig
from lab.folder import Attached, Folder
from lab.process import wait

LETTERS = "bcdefghijklmnop"
"""Of block storage inside a host, /dev/vdX; its root disk has the first."""
RELEASE_TIMEOUT_S = 60
"""What a host had not written yet is written then, on a disk that others may keep busy."""
COPY_TIMEOUT_S = 1800


def disk_file(config: LabConfig, disk_id: str) -> Path:
    return config.root / "disks" / f"{disk_id}.img"


def create(config: LabConfig, disk_id: str, size_gb: int) -> None:
    path = disk_file(config, disk_id)
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        fresh = path.with_suffix(".new")
        sparse(fresh, size_gb)
        fresh.replace(path)


def resize(config: LabConfig, disk_id: str, size_gb: int) -> None:
    """The file alone, and larger only: what is cut off is gone."""
    path = disk_file(config, disk_id)
    if size_gb * GIB < path.stat().st_size:
        raise EngineError(f"disk {disk_id}: cannot shrink from {path.stat().st_size // GIB} to {size_gb} GiB")
    os.truncate(path, size_gb * GIB)


def destroy(config: LabConfig, disk_id: str) -> None:
    path = disk_file(config, disk_id)
    release(path)
    path.unlink(missing_ok=True)


def existing(config: LabConfig, disk_id: str) -> Path:
    """The file of a disk; raises EngineError where there is none."""
    path = disk_file(config, disk_id)
    if not path.exists():
        raise EngineError(f"{path}: no such disk")
    return path


@contextlib.contextmanager
def attaching(folder: Folder, disk_id: str, serial: str, most: int = len(LETTERS)) -> Iterator[None]:
    """Writes down that a disk is attached to a host, before it is made so inside; after a failure there it is not, and
    does not come with the next boot either. Raises EngineError where `most` are attached already."""
    before = folder.disks
    if disk_id not in before:
        taken = {disk.letter for disk in before.values()}
        free = next((letter for letter in LETTERS[:most] if letter not in taken), None)
        if free is None:
            raise EngineError(f"host {folder.path.name}: no more than {most} disks can be attached")
        folder.save_disks(before | {disk_id: Attached(free, serial)})
    try:
        yield
    except Exception:
        folder.save_disks(before)
        raise


def sparse(path: Path, size_gb: int) -> None:
    """An empty file of that size which takes up nothing, in the place of whatever was there."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    os.truncate(path, size_gb * GIB)


def copy(source: Path, target: Path) -> None:
    """As sparse as the source, and broken off when this process ends."""
    words = ("cp", "--sparse=always", "--reflink=auto", source, target)
    run("setpriv", "--pdeathsig=KILL", *words, timeout_s=COPY_TIMEOUT_S)


def used(path: Path) -> int:
    """Bytes that a sparse file takes up."""
    return path.stat().st_blocks * 512


# --- loop devices


def loop(path: Path) -> int:
    """The number of the loop device over a file, made where there is none."""
    there = loop_files(str(path))
    device = there[0] if there else run("losetup", "--find", "--show", "--nooverlap", path).strip()
    return int(device.removeprefix("/dev/loop"))


def loop_files(backing: str) -> list[str]:
    """The loop devices on a file, as /dev/loopN; with a trailing slash on any file in that folder."""
    found = []
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            name = path.read_text().strip().removesuffix(" (deleted)")
            if name == backing or (backing.endswith("/") and name.startswith(backing)):
                found.append(f"/dev/{path.parts[3]}")
    return found


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
