"""What restic tells, typed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from backup.restic_process import Message, ResticError, Run

INCOMPLETE = 3
PASSED_OVER = ("does not exist", "cannot be accessed")
SAVED_AGAIN = "storing the file again"
"""Ends the error of a file that did not change, and of which the repository had lost a part: it is read anew."""


@dataclass(frozen=True)
class Progress:
    """How far a run is: fraction from 0 to 1, bytes, seconds left (None: not known yet)."""

    fraction: float
    files: int
    files_total: int
    bytes: int
    bytes_total: int
    seconds_left: int | None


@dataclass(frozen=True)
class Unread:
    """A source that restic could not read."""

    path: str
    why: str


def unread(done: Run, root: Path, paths: Sequence[str]) -> list[Unread]:
    """What a backup of paths below root left out. Of a path that is not there up to 0.18 only words tell."""
    told = [
        Unread(error.get("item", ""), error.get("error", {}).get("message") or "not readable")
        for error in done.errors
        if error.get("during") == "archival"
    ]
    told += [Unread(path, why) for path in paths for why in PASSED_OVER if f"{path} {why}, skipping" in done.words]
    if done.code == INCOMPLETE and not told:
        told = [Unread(str(root), "restic could not read all of it")]
    return [one for one in told if not one.why.endswith(SAVED_AGAIN)]


@dataclass(frozen=True)
class Backup:
    """A backup that ended. snapshot is "" when nothing had changed and none was asked for; sizes in bytes."""

    snapshot: str
    files: int
    files_new: int
    files_changed: int
    bytes: int
    bytes_added: int
    unread: tuple[Unread, ...]


@dataclass(frozen=True)
class Snapshot:
    """A snapshot as the repository lists it. files and bytes are None where restic did not note them (before 0.17)."""

    id: str
    time: datetime
    host: str
    tags: tuple[str, ...]
    paths: tuple[str, ...]
    tree: str
    original: str
    """The id that it was copied from; its own where it was not copied."""
    files: int | None
    bytes: int | None


class Unreadable(ResticError):
    """Snapshots that are there and cannot be read. ids: theirs."""

    def __init__(self, ids: Sequence[str]) -> None:
        self.ids = tuple(ids)
        names = ", ".join(one[:8] for one in ids)
        super().__init__("snapshots", 0, f"these are there, and damaged: {names}")


@dataclass(frozen=True)
class Check:
    """What a check found: errors in restic's words, ids of packs that are damaged or missing."""

    errors: tuple[str, ...]
    packs: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """A path that is not as in the snapshot: 'restored' is missing, 'updated' differs, 'deleted' is not in it."""

    path: str
    action: str


@dataclass(frozen=True)
class Hit:
    """A file of a snapshot that needs a certain pack."""

    snapshot: str
    path: str


@dataclass(frozen=True)
class File:
    """A file, folder or link as a snapshot lists it. path: below the plan's root, as `public/ota/panther`."""

    path: str
    type: str
    """`file`, `dir`, `symlink`, ..."""
    size: int = 0
    """Bytes."""
    mtime: datetime | None = None
    mode: int = 0
    """Permissions alone: 0o644."""
    user: str = ""
    group: str = ""
    """Their names, where they are told: `restic ls` tells numbers alone."""
    uid: int | None = None
    gid: int | None = None


def file_of(node: Message) -> File:
    """Of a file that restic lists. Go keeps kind and special bits of a mode elsewhere (io/fs.FileMode)."""
    bits = node.get("mode", 0)
    special = sum(mode for go, mode in ((1 << 23, 0o4000), (1 << 22, 0o2000), (1 << 20, 0o1000)) if bits & go)
    return File(
        path=node["path"].lstrip("/"),
        type=node["type"],
        size=node.get("size", 0),
        mtime=_moment(node["mtime"]) if "mtime" in node else None,
        mode=bits & 0o777 | special,
        user=node.get("user", ""),
        group=node.get("group", ""),
        uid=node.get("uid"),
        gid=node.get("gid"),
    )


def _moment(text: str) -> datetime:
    """Python knows no nanoseconds."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))


def snapshot_of(listed: Message) -> Snapshot:
    """Of a snapshot that restic did not write itself anything may be missing."""
    summary = listed.get("summary", {})
    return Snapshot(
        id=listed["id"],
        time=_moment(listed["time"]),
        host=listed.get("hostname", ""),
        tags=tuple(listed.get("tags") or ()),
        paths=tuple(listed["paths"] or ()),
        tree=listed["tree"] or "",
        original=str(listed.get("original", listed["id"])),
        files=summary.get("total_files_processed"),
        bytes=summary.get("total_bytes_processed"),
    )
