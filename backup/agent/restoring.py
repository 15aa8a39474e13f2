"""`restore`: a snapshot, or a part of one, in a folder of its own. Never over what is there."""

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from backup.agent import refs
from backup.agent.attempt import BadInput, Found, Job, Refused
from backup.agent.watching import Tell
from backup.entry import Entry
from backup.ledger import LedgerError
from backup.restic import Restic
from backup.restic_process import Message, ResticError
from backup.sizes import counted

SNAPSHOT = re.compile(r"[0-9a-f]{8,64}")


def restore(
    job: Job, target: Path, snapshot: str = "", include: Sequence[str] = (), tell: Tell | None = None
) -> tuple[Entry, list[str]]:
    """Restores the newest snapshot, unless another is named; returns the ledger's entry, and what to be told besides.

    include: paths below the plan's root (or absolute ones in it), restic's patterns allowed. Raises BadInput.
    """
    if snapshot and not SNAPSHOT.fullmatch(snapshot):
        raise BadInput(f"--snapshot {snapshot}: must be at least 8 hexadecimal digits of a snapshot's id")
    wanted = [below(path, job.plan.root) for path in include]
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise BadInput(f"--to {target}: must be an empty folder, or not be there")
    notes: list[str] = []
    return job.attempt("restore", lambda found: _restore(job, found, target, snapshot, wanted, tell, notes)), notes


def below(path: str, root: str) -> str:
    """A path as it is in the snapshot. Raises BadInput."""
    pure = PurePosixPath(path)
    if not path or ".." in pure.parts:
        raise BadInput(f"--include {path!r}: must be a path below {root}")
    if pure.is_absolute() and pure.is_relative_to(root):
        pure = pure.relative_to(root)
    return f"/{str(pure).lstrip('/')}"


def _restore(
    job: Job, found: Found, target: Path, snapshot: str, wanted: list[str], tell: Tell | None, notes: list[str]
) -> None:
    job.greet()
    found["snapshot"] = chosen = _chosen(job, snapshot, notes)
    with_refs = job.plan.consistency == "refs"
    try:
        summary, told = put(job.restic, chosen, target, wanted, with_refs, tell)
    except ResticError:
        # A vault that was filled from the second copy lists it under another id.
        copied = [one.id for one in job.restic.readable()[0] if one.original == chosen != one.id]
        if not copied:
            raise
        summary, told = put(job.restic, copied[0], target, wanted, with_refs, tell)
    found |= {"files": summary.get("files_restored", 0), "bytes": summary.get("bytes_restored", 0)}
    notes += told


def put(
    restic: Restic, snapshot: str, target: Path, wanted: Sequence[str], with_refs: bool, tell: Tell | None
) -> tuple[Message, list[str]]:
    """Restores into an empty folder, refs of git repositories too; returns restic's summary, and what is to be told.

    Raises ResticError, RefsError, and Refused when there is nothing of what was wanted.
    """
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    include = [*wanted, f"/{refs.MANIFEST}"] if wanted and with_refs else wanted
    summary = restic.restore(snapshot, target, include=include, progress=tell)
    notes = []
    if with_refs and not os.path.lexists(target / refs.MANIFEST):
        notes.append(
            "this snapshot has no list of refs, as its plan was another then: see its repositories by git fsck"
        )
    elif with_refs:
        count, unknown = refs.install(target)
        notes.append(f"{counted(count, 'repository', 'repositories')} got the refs of when the backup began")
        notes += [f"{path}: was made while the backup ran: look at it with git fsck" for path in unknown]
    if wanted and not any(target.iterdir()):
        raise Refused(f"snapshot {snapshot[:8]} holds nothing at {', '.join(wanted)}")
    return summary, notes


def _chosen(job: Job, snapshot: str, notes: list[str]) -> str:
    """The whole id. The ledger knows those that this host made; the repository is asked for others."""
    try:
        known = [one.snapshot for one in job.state.entries() if one.kind == "backup" and one.snapshot]
    except LedgerError as error:
        notes.append(f"{error}: going by what the repository lists instead")
        known = []
    if not snapshot and known:
        return known[-1]
    found = [one for one in known if snapshot and one.startswith(snapshot)]
    if not found:
        found = [one.id for one in job.restic.readable()[0] if one.id.startswith(snapshot)]
    if not snapshot and found:
        return found[-1]
    if len(set(found)) != 1:
        raise Refused(f"{len(set(found))} snapshots in the repository are {snapshot or 'there'}")
    return found[0]
