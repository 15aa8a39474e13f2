"""What `restic restore --dry-run -vv` says of a source, as differences between it and a snapshot."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from backup.restic_process import Message, Run
from backup.restic_results import Difference

NO_FOLDER = ("not a directory", "too many levels of symbolic links", "no such device or address")
"""Of a path that is now a file, a link or a socket; before 0.18 the last two have words of their own."""


def pipes(root: Path) -> Iterator[str]:
    """Named pipes below root, as paths from it on: restic would open them, and wait for ever for somebody to write."""
    for folder, _, files in os.walk(root):
        for path in (Path(folder, file) for file in files):
            if path.is_fifo() and not path.is_symlink():
                yield f"/{path.relative_to(root)}"


def literally(path: str) -> str:
    """The pattern of restic that matches this path."""
    return re.sub(r"([\\*?\[])", r"\\\1", path)


def line_of(path: str) -> str:
    """The line of a file with patterns that matches this path: restic trims lines, and takes $ for a variable."""
    pattern = literally(path).replace("$", "$$")
    return f"{pattern[:-1]}[{pattern[-1]}]" if pattern[-1:].isspace() else pattern


def difference(root: Path, message: Message) -> Difference | None:
    """What a `verbose_status` tells; None: nothing that is not as it was."""
    action = message["action"]
    # From 0.18 on these are told with root's own path, all others from root on.
    path = _as_it_is(root, message["item"].removeprefix(str(root) if action == "deleted" else ""))
    if action == "restored" and (found := _kind(path)):
        # restic would make anew whatever is no file of one name: size tells which of these were files with content.
        action = "updated" if message.get("size") and not stat.S_ISREG(found) else "unchanged"
    return None if action == "unchanged" else Difference(f"/{path.relative_to(root)}", action)


def no_folders(root: Path, done: Run) -> list[Difference]:
    """Folders that are none any more: restic tells what is missing in them, and an error for each."""
    none = [one["item"] for one in done.errors if one.get("error", {}).get("message", "").endswith(NO_FOLDER)]
    return [Difference(f"/{_as_it_is(root, item).relative_to(root)}", "updated") for item in none]


def _as_it_is(root: Path, told: str) -> Path:
    """The path below root that restic tells: bytes that are not UTF-8 are told as U+FFFD, each as one."""
    path = root
    for part in filter(None, told.split("/")):
        there = [entry.name for entry in path.iterdir()] if "\ufffd" in part and path.is_dir() else []
        path /= next((name for name in there if re.sub("[\udc80-\udcff]", "\ufffd", name) == part), part)
    return path


def _kind(path: Path) -> int:
    """The mode of what is there and not a file of one name; 0 of such a file, and where nothing is."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return 0
    return 0 if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 else found.st_mode
