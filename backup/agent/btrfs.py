"""A btrfs snapshot of one instant, read-only when it is saved. It lies in the plan's own root, so that the agent
need write nowhere else.

A snapshot leaves out other subvolumes and what is mounted below: that is told instead of saved as an empty folder.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

PREFIX = ".mainstay-snapshot-"
ROOT_INODE = 256
"""Of every subvolume's top folder (btrfs-subvolume(8))."""


class SnapshotError(Exception):
    """No snapshot can be made or removed, or it would not hold all of the data."""


def place(root: Path, plan: str) -> Path:
    """Where the snapshot of a plan is."""
    return root / f"{PREFIX}{plan}"


def take(root: Path, plan: str, paths: Sequence[str], exclude: Sequence[str], *, writable: bool = False) -> Path:
    """Makes the snapshot and returns where root is in it. writable: until `seal`. Raises SnapshotError."""
    subvolume = _subvolume(root)
    if left_out := [
        path
        for path in [*_nested(subvolume), *_mounted()]
        if _is_wanted(path, root, paths, exclude) and not path.name.startswith(PREFIX)
    ]:
        names = ", ".join(map(str, left_out))
        raise SnapshotError(f"{names}: a file system or subvolume of its own, of which a snapshot holds nothing")
    made = place(root, plan)
    _btrfs("subvolume", "snapshot", *([] if writable else ["-r"]), str(subvolume), str(made))
    return made / root.relative_to(subvolume)


def seal(root: Path, plan: str) -> None:
    """Makes the plan's snapshot read-only. Raises SnapshotError."""
    _btrfs("property", "set", "-t", "subvol", str(place(root, plan)), "ro", "true")


def remove(root: Path, plan: str) -> bool:
    """Removes the plan's snapshot; False if there was none. Raises SnapshotError."""
    made = place(root, plan)
    if not os.path.lexists(made):
        return False
    if made.is_symlink() or made.stat().st_ino != ROOT_INODE:
        raise SnapshotError(f"{made}: stands where the snapshot goes, and is none; move it away")
    _btrfs("subvolume", "delete", str(made))
    return True


def _subvolume(root: Path) -> Path:
    """The subvolume that holds root."""
    for folder in (root, *root.parents):
        if folder.stat().st_ino == ROOT_INODE:
            return folder
        if os.path.ismount(folder):
            break
    raise SnapshotError(f"{root}: is not on btrfs")


def _nested(subvolume: Path) -> list[Path]:
    """Subvolumes directly in this one; `list` tells their paths from the file system's top on."""
    top = _btrfs("subvolume", "show", str(subvolume)).split("\n", 1)[0].strip()
    prefix = "" if top in ("/", "<FS_TREE>") else f"{top}/"
    lines = _btrfs("subvolume", "list", "-o", str(subvolume)).splitlines()
    return [subvolume / line.split(" path ", 1)[1].removeprefix(prefix) for line in lines if " path " in line]


def _mounted() -> list[Path]:
    """Mount points; octal escapes as in proc_pid_mountinfo(5)."""
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    return [Path(os.fsdecode(line.split(b" ")[4].decode("unicode_escape").encode("latin-1"))) for line in lines]


def _is_wanted(path: Path, root: Path, paths: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether the plan saves a path (other than its root), as far as its anchored excludes tell."""
    saved = path != root and any(path.is_relative_to(root / wanted) for wanted in paths)
    skipped = [root / pattern.lstrip("/") for pattern in exclude if pattern.startswith("/")]
    return saved and not any(path.is_relative_to(skip) for skip in skipped)


def _btrfs(*words: str) -> str:
    try:
        return subprocess.run(
            ["btrfs", *words],
            check=True,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            process_group=0,
        ).stdout
    except FileNotFoundError:
        raise SnapshotError("there is no program btrfs: install btrfs-progs") from None
    except subprocess.CalledProcessError as error:
        raise SnapshotError(f"btrfs {' '.join(words[:2])}: {error.stderr.strip()}") from None
