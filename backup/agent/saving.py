"""`run`: a backup now. One call of restic where nothing is amiss, as each costs half a second for the password."""

import os
import time
from collections.abc import Callable
from dataclasses import replace

from backup.agent import consistency, making
from backup.agent.attempt import Found, Job, Refused
from backup.agent.consistency import REPLACED, Source
from backup.agent.store import StoreError
from backup.agent.watching import Tell, Watch
from backup.entry import Entry
from backup.restic import Restic
from backup.restic_process import Locked
from backup.restic_results import Backup, Unread

SHORT_WAIT_S = 10
"""For another's lock, before locks whose owner is gone are removed."""


def save(job: Job, tell: Tell | None, note: Callable[[str], None], give_up_s: float) -> Entry:
    """Makes a backup and returns the ledger's entry. Raises Busy when another run is at it.

    One in which something was replaced while it was read does not count, and is made once more at once.
    give_up_s: how long nothing may move while the vault does not answer. tell: None where nobody looks on.
    """
    watch = Watch(give_up_s, lambda: job.greet() is not None, tell)
    with job.state.locked():
        entry = job.attempt("backup", lambda found: _save(job, found, watch, note))
        if replaced := [path for path, why in entry.unread if why == REPLACED]:
            note(f"{', '.join(replaced)} {REPLACED}: saving once more")
            entry = job.attempt("backup", lambda found: _save(job, found, watch, note))
        return entry


def _save(job: Job, found: Found, watch: Watch, note: Callable[[str], None]) -> None:
    for left in consistency.settle(job.plan, job.state):
        note(left)
    _be_there(job, note)
    left_a_lock, begun = job.state.running_mark.exists(), time.time()
    job.state.running_mark.touch(mode=0o600)
    with consistency.source(job.plan, job.state) as source:
        if left_a_lock:
            note("an earlier run did not end well: removing the lock that it may have left")
            job.restic.unlock()
        saved = _patiently(job, source, watch, note)
        replaced = source.replaced()
        job.state.running_mark.unlink()
        _prove(job, saved.snapshot)
        named = [replace(one, path=str(source.root / one.path)) for one in (*replaced, *saved.unread)]
        unread = [*(one for one in named if not _vanished(one, begun)), *source.lacking]
        found |= {
            "outcome": "incomplete" if unread else "ok",
            "snapshot": saved.snapshot,
            "files": saved.files,
            "bytes": saved.bytes,
            "bytes_added": saved.bytes_added,
            "unread": tuple((one.path, one.why) for one in unread),
            "unread_count": len(unread),
        }


def _be_there(job: Job, note: Callable[[str], None]) -> None:
    """Makes the repository if there is none yet. Raises Refused where there was one."""
    there = job.greet()
    if there:
        making.forget(job)
    if there is not False:
        return
    if good := job.state.newest():
        raise Refused(
            f"the repository is gone: there is none any more, and {good.start:%Y-%m-%d %H:%M} UTC saw snapshot "
            f"{good.snapshot[:8]} saved to it. Nothing was made anew: find out why, then restore the repository "
            "from the second copy"
        )
    note("making the repository")
    making.make(job)


def _prove(job: Job, snapshot: str) -> None:
    """That the snapshot restic tells of is in the repository, unaltered. Raises Refused."""
    try:
        if job.store.has(f"snapshots/{snapshot}"):
            return
        problem = "is not in the repository, or not as it was sent"
    except StoreError as error:
        problem = f"may not be in the repository, which could not be asked: {error}"
    raise Refused(f"restic said that it saved snapshot {snapshot[:8]}, but that {problem}: look at the vault's disk")


def _patiently(job: Job, source: Source, watch: Watch, note: Callable[[str], None]) -> Backup:
    """The backup, with what may stand in its way: a lock whose owner is gone."""
    restic = replace(job.restic, lock_wait_s=min(SHORT_WAIT_S, job.restic.lock_wait_s))
    try:
        return _backup(job, restic, source, watch)
    except Locked:
        note("the repository is locked: removing locks whose owner is gone, and waiting for others")
        restic.unlock()
    return _backup(job, job.restic, source, watch)


def _backup(job: Job, restic: Restic, source: Source, watch: Watch) -> Backup:
    plan = job.plan
    if plan.consistency == "command":
        name = f"{plan.name}.out"
        return restic.backup_command(plan.command, name, host=plan.host, tags=[plan.name], progress=watch)
    return restic.backup(
        source.root,
        source.paths,
        host=plan.host,
        tags=[plan.name],
        exclude=source.exclude,
        progress=watch,
        totals=bool(watch.tell),
    )


def _vanished(unread: Unread, begun: float) -> bool:
    """Whether it was deleted while the backup ran, and so was not to be saved: what bears its name now, if anything,
    has come since. begun: Unix seconds."""
    if "no such file" not in unread.why:
        return False
    try:
        return os.lstat(unread.path).st_ctime >= begun
    except OSError:
        return True
