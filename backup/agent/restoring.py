"""`restore`: a snapshot, or a part of one, in a folder of its own. Never over anything but what a restore left."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from backup.agent import owning, refs
from backup.agent.attempt import BadInput, Found, Job, Refused
from backup.agent.watching import RESTORE_GIVE_UP_S, Tell, Watch
from backup.entry import Entry
from backup.ledger import LedgerError
from backup.restic import Restic
from backup.restic_process import Message, ResticError
from backup.restic_results import Snapshot
from backup.sizes import counted

ID_DIGITS = 64
SNAPSHOT = re.compile(rf"[0-9a-f]{{8,{ID_DIGITS}}}")
NAMED_AT_MOST = 10
GO_ON = "`restore --resume --snapshot ID` goes on with what is there"


@dataclass(frozen=True)
class Wish:
    """What is to be restored into a folder: a snapshot ("": the newest), or a part of it.

    include, exact: paths below the plan's root, or absolute ones in it; those of include may be restic's patterns. Of
    both neither: all. resume: the folder holds what a restore of this snapshot left that was broken off.
    """

    target: Path
    snapshot: str = ""
    include: Sequence[str] = ()
    exact: Sequence[str] = ()
    resume: bool = False


def restore(job: Job, wish: Wish, tell: Tell, give_up_s: float = RESTORE_GIVE_UP_S) -> tuple[Entry, list[str]]:
    """Restores; returns the ledger's entry, and what is to be told besides. Raises BadInput.

    give_up_s: how long nothing may move while the repository's server does not answer.
    """
    if wish.snapshot and not SNAPSHOT.fullmatch(wish.snapshot):
        raise BadInput(f"--snapshot {wish.snapshot}: must be at least 8 hexadecimal digits of a snapshot's id")
    if wish.resume and not wish.snapshot:
        raise BadInput("--resume: needs --snapshot, the one that was being restored: the newest may be another by now")
    root, target = job.plan.root, wish.target
    wish = replace(
        wish,
        include=[below(path, root) for path in wish.include],
        exact=[below(path, root, "--include-from") for path in wish.exact],
    )
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise BadInput(f"--to {target}: must be a folder, or not be there")
    if not wish.resume and target.exists() and any(target.iterdir()):
        raise BadInput(f"--to {target}: must be an empty folder, or not be there; --resume goes on with a restore")
    server = "the storage" if job.plan.s3_access_key else "the vault"
    watch = Watch(give_up_s, lambda: job.greet() is not None, tell, server, "restored", GO_ON)
    watched = replace(job, restic=replace(job.restic, idle=watch.look))
    notes: list[str] = []
    return job.attempt("restore", lambda found: _restore(watched, found, wish, watch, notes)), notes


def below(path: str, root: str, option: str = "--include") -> str:
    """A path as it is in the snapshot. Raises BadInput."""
    pure = PurePosixPath(path)
    if not path or ".." in pure.parts:
        raise BadInput(f"{option}: {path!r}: must be a path below {root}")
    if pure.is_absolute() and pure.is_relative_to(root):
        pure = pure.relative_to(root)
    return f"/{str(pure).lstrip('/')}"


def _restore(job: Job, found: Found, wish: Wish, tell: Tell, notes: list[str]) -> None:
    if not job.store.is_there():
        raise Refused("there is no repository at the plan's address: nothing was ever saved there, or it was moved")
    found["snapshot"] = chosen = _chosen(job, wish.snapshot, notes)
    with_refs = job.plan.consistency == "refs"
    try:
        summary, told = put(job.restic, chosen, wish.target, wish.include, with_refs, tell, wish.exact)
    except ResticError:
        # A vault that was filled from the second copy lists it under another id, and so does the copy itself.
        copied = [one for one in _copies(job.restic.readable()[0], chosen) if one != chosen]
        if not copied:
            raise
        found["snapshot"] = chosen = _only(copied, chosen)
        summary, told = put(job.restic, chosen, wish.target, wish.include, with_refs, tell, wish.exact)
    for what in ("files", "bytes"):
        found[what] = summary.get(f"{what}_restored", 0) + summary.get(f"{what}_skipped", 0)
    notes += told
    if job.plan.owner:
        notes += owning.give(wish.target, job.plan.owner)


def put(
    restic: Restic,
    snapshot: str,
    target: Path,
    wanted: Sequence[str],
    with_refs: bool,
    tell: Tell | None,
    exact: Sequence[str] = (),
) -> tuple[Message, list[str]]:
    """Restores, refs of git repositories too; returns restic's summary, and what is to be told.

    wanted: patterns; exact: paths. Raises ResticError, RefsError, and Refused when there is nothing at one of them.
    """
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    include = [*wanted, f"/{refs.MANIFEST}"] if (wanted or exact) and with_refs else wanted
    summary = restic.restore(snapshot, target, include=include, exact=exact, progress=tell)
    notes = []
    if with_refs and not os.path.lexists(target / refs.MANIFEST):
        notes.append(
            "this snapshot has no list of refs, as its plan was another then: see its repositories by git fsck"
        )
    elif with_refs:
        count, unknown = refs.install(target)
        notes.append(f"{counted(count, 'repository', 'repositories')} got the refs of when the backup began")
        notes += [f"{path}: was made while the backup ran: look at it with git fsck" for path in unknown]
    lacking = [path for path in exact if not os.path.lexists(f"{target}{path}")]
    if wanted and not any(target.iterdir()):
        lacking += wanted
    if lacking:
        more = f" and {len(lacking) - NAMED_AT_MOST} more" if len(lacking) > NAMED_AT_MOST else ""
        raise Refused(f"snapshot {snapshot[:8]} holds nothing at {', '.join(lacking[:NAMED_AT_MOST])}{more}")
    return summary, notes


def _chosen(job: Job, snapshot: str, notes: list[str]) -> str:
    """The whole id. The ledger knows those that this host made; the repository is asked for others, and for copies of
    the one that is named. An id that is named in full is taken as it is: to list them costs restic's start."""
    try:
        known = [one.snapshot for one in job.state.entries() if one.kind == "backup" and one.snapshot]
    except LedgerError as error:
        notes.append(f"{error}: going by what the repository lists instead")
        known = []
    if not snapshot and known:
        return known[-1]
    if len(snapshot) == ID_DIGITS:
        return snapshot
    found = [one for one in known if snapshot and one.startswith(snapshot)]
    if not found:
        listed = job.restic.readable()[0]
        if not snapshot and listed:
            return listed[-1].id
        found = [one.id for one in listed if one.id.startswith(snapshot)] or _copies(listed, snapshot)
    return _only(found, snapshot)


def _copies(listed: Sequence[Snapshot], snapshot: str) -> list[str]:
    """What was copied of it: one of each content."""
    return [*{(one.original, one.tree): one.id for one in listed if one.original.startswith(snapshot)}.values()]


def _only(found: Sequence[str], snapshot: str) -> str:
    """Raises Refused where it is not clear which one is meant."""
    if len(set(found)) != 1:
        raise Refused(f"{len(set(found))} snapshots in the repository are {snapshot or 'there'}")
    return found[0]
