"""`verify`: the whole source compared with the newest snapshot, by content; no data is fetched.

A live source goes on changing, so a difference counts only when the file system does not tell of a change since the
backup began: a file whose content differs though its change time is older is damaged, here or in the backup.
"""

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from backup.agent import btrfs, ref_manifest, refs
from backup.agent.attempt import Found, Job, Refused
from backup.entry import Entry
from backup.restic_results import Difference, Snapshot

NAMED_AT_MOST = 10
SLACK_S = 1
"""The ledger counts whole seconds, and the kernel's clock for change times is a few milliseconds behind."""
INTERNAL = {"btrfs": (f"/{btrfs.PREFIX}*", f"/{ref_manifest.FILE}"), "refs": (f"/{refs.MANIFEST}", refs.GC_LOCK)}
"""By consistency: what the agent itself puts there."""


def verify(job: Job) -> Entry:
    """Compares and returns the ledger's entry. Raises Busy when another verification is at it."""
    with job.state.locked("lock.verify"):
        return job.attempt("verify", lambda found: _verify(job, found))


def _verify(job: Job, found: Found) -> None:
    job.greet()
    snapshot, since = _newest(job)
    found |= {"snapshot": snapshot.id, "files": snapshot.files or 0, "bytes": snapshot.bytes or 0}
    plan = job.plan
    if plan.consistency == "command":
        if snapshot.bytes == 0:
            raise Refused(f"snapshot {snapshot.id[:8]}: what the command said is empty")
        return
    root = Path(plan.root)
    differences = job.restic.compare(snapshot.id, root, (*plan.exclude, *INTERNAL.get(plan.consistency, ())))
    wanted = [one for one in differences if _is_below(one.path, plan.paths)]
    if left := unexplained(root, wanted, since):
        names = ", ".join(f"{one.path} ({MEANINGS.get(one.action, one.action)})" for one in left[:NAMED_AT_MOST])
        more = f" and {len(left) - NAMED_AT_MOST} more" if len(left) > NAMED_AT_MOST else ""
        raise Refused(f"not as in snapshot {snapshot.id[:8]}, though nothing tells of a change since: {names}{more}")


MEANINGS = {"restored": "is missing here", "updated": "has other content", "deleted": "was not saved"}


def _newest(job: Job) -> tuple[Snapshot, datetime]:
    """The newest snapshot by the ledger, else as listed, and when it was begun. Raises Refused."""
    entry = job.state.newest()
    # Listed after the ledger was read: a backup may end meanwhile.
    listed = job.restic.snapshots()
    if entry:
        for snapshot in listed:
            if entry.snapshot in (snapshot.id, snapshot.original):
                return snapshot, entry.start
        raise Refused(f"snapshot {entry.snapshot[:8]} of {entry.start:%Y-%m-%d %H:%M} UTC is gone from the repository")
    if not listed:
        raise Refused("the repository holds no snapshot")
    return listed[-1], listed[-1].time


def _is_below(path: str, paths: Iterable[str]) -> bool:
    return any(wanted == "." or Path(path).is_relative_to(f"/{wanted}") for wanted in paths)


def unexplained(root: Path, differences: Iterable[Difference], since: datetime) -> list[Difference]:
    """Those that no change since explains: change times (ctime), which no program can set, are older."""
    new_folders: set[Path] = set()
    left = []
    for one in sorted(differences, key=lambda difference: difference.path):
        path = root / one.path.lstrip("/")
        if one.action == "restored":
            explained = _changed(next(folder for folder in path.parents if os.path.lexists(folder)), since)
        else:
            explained = path.parent in new_folders or _changed(path, since)
        if explained and one.action == "deleted":
            new_folders.add(path)
        if not explained:
            left.append(one)
    return left


def _changed(path: Path, since: datetime) -> bool:
    try:
        return path.lstat().st_ctime >= int(since.timestamp()) - SLACK_S
    except (FileNotFoundError, NotADirectoryError):
        return True
