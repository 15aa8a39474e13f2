"""Whether what a check of a repository finds is damage, and what it hits."""

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from backup.restic import Restic
from backup.restic_process import Locked, ResticError, run
from backup.restic_results import Check

STALE = timedelta(minutes=30)
"""As restic has it, which writes a lock anew every five minutes: an older one was left by a run that was killed."""
REMOVAL_S, PAUSE_S = 3600, 5
"""How long a check that found errors waits for somebody who removes data, and after how long it looks again."""


def checked(restic: Restic, part: tuple[int, int]) -> Check:
    """What a check finds, looked at again before it is called damage: an admin's `retain` that runs meanwhile removes
    what the check, which takes no lock, has just read of. Raises ResticError, also when that does not come to its end.
    """
    found = restic.check(part)
    deadline = time.monotonic() + REMOVAL_S
    while found.errors and (removing := is_removed_from(restic)) and time.monotonic() < deadline:
        time.sleep(PAUSE_S)
    if found.errors and not removing:
        found = restic.check(part)
        removing = bool(found.errors) and is_removed_from(restic)
    if found.errors and removing:
        raise Locked("check", 11, "somebody removes data meanwhile, so what is missing proves nothing")
    return found


def damage(restic: Restic, found: Check) -> list[str]:
    """What is damaged, in restic's words, and the snapshots and files that need it."""
    lines = list(found.errors)
    if found.errors:
        lines += _without_a_tree(restic, found.errors)
    for hit in restic.hits(found.packs) if found.packs else ():
        lines.append(f"hits {hit.path} of snapshot {hit.snapshot[:8]}")
    return list(dict.fromkeys(lines))


def _without_a_tree(restic: Restic, errors: Sequence[str]) -> list[str]:
    """The snapshots whose top folder is missing, as when an index was deleted: `restic repair index` finds it again."""
    said = "\n".join(errors)
    hit = [one for one in restic.readable()[0] if one.tree and one.tree in said]
    return [f"hits all of snapshot {one.id[:8]}: see `restic repair index`" for one in hit]


def is_removed_from(restic: Restic) -> bool:
    """Whether anybody holds a lock that keeps all others out, as prune does. Raises ResticError."""
    for lock in run(restic.program, restic.repository, "list", "--no-lock", "locks").plain:
        # It may have gone meanwhile; and a host that somebody broke into may have written anything.
        with suppress(ResticError, ValueError, LookupError, TypeError):
            held = json.loads("".join(run(restic.program, restic.repository, "cat", "--no-lock", "lock", lock).plain))
            if held["exclusive"] and datetime.now(UTC) - datetime.fromisoformat(held["time"]) < STALE:
                return True
    return False
