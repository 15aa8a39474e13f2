"""Production is deployed from what is committed, and from nothing that is older than what others have.

A change that is nowhere but on one laptop is put back by the next deploy of somebody else, as is what others changed by
a deploy from a clone that lacks it. `--data clone=as-is` deploys all the same.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inventories import command_line
from inventories.errors import InputError
from inventories.standing import fetch, some, standing

if TYPE_CHECKING:
    from inventories.inventory import LoadedSite

SWITCH, AS_IS = "clone", "as-is"
HINT = f"to deploy all the same: --data {SWITCH}={AS_IS}"


def check(site: "LoadedSite", words: Sequence[str], clone: Path) -> None:
    """Whether a site may be deployed from a clone by these words of a command line. Raises InputError if not.

    Rehearsals, dry runs, and what is no deploy go on from any clone.
    """
    deploys = command_line.deploys(words)
    if not deploys or not site.production or command_line.dry(words) or _as_is(command_line.data(words)):
        return
    found = standing(clone)
    # What a run of provision leaves there is taken up by the next one, and committed by a person.
    left = {str(site.lock_path)} if deploys == {"provision"} else set()
    changed = tuple(path for path in found.unmerged + found.changed if str(clone / path) not in left)
    if changed:
        raise InputError(clone, "", f"not as committed: {some(changed)}", f"git status; {HINT}")
    if not found.upstream:
        problem = f"{found.branch} follows no branch of others, which this clone could be behind"
        raise InputError(clone, "", problem, f"git switch main; {HINT}")
    try:
        fetch(clone)
    except InputError as error:
        problem = f"{found.upstream} cannot be asked for what others changed: {error.problem.splitlines()[0]}"
        raise InputError(clone, "", problem, f"offline: {HINT}") from None
    if behind := standing(clone).behind:
        problem = f"{behind} commits behind {found.upstream}: a deploy from here would put back what they changed"
        raise InputError(clone, "", problem, f"git pull --ff-only; {HINT}")


def _as_is(data: Mapping[str, str]) -> bool:
    given = data.get(SWITCH)
    if given not in (None, AS_IS):
        raise InputError(f"--data {SWITCH}", "", f"cannot read {given!r}", f"it takes: {AS_IS}")
    return given is not None
