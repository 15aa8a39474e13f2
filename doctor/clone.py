"""This clone: what git knows of it. Fetches nothing, and writes nothing, not even git's own index."""

import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from backup.rules import span
from backup.sizes import counted
from doctor.told import Told, note, ok, wrong
from inventories.standing import Standing, git, some, standing


def look(folder: Path) -> Iterator[Told]:
    """Work tree, upstream and hooks. Raises InputError where there is no clone."""
    found = standing(folder)
    yield _tree(found)
    yield _upstream(found, _fetched(folder))
    hook = Path(folder, git(folder, "rev-parse", "--git-path", "hooks/pre-commit").strip())
    if os.access(hook, os.X_OK):
        yield ok("hooks", "the fast checks run before each commit")
    else:
        yield note("hooks", "nothing is checked before a commit", ".venv/bin/pre-commit install")


def _tree(found: Standing) -> Told:
    where = f"{found.branch} at {found.commit}"
    if found.unmerged:
        return wrong("clone", f"{where}: a merge is not finished: {some(found.unmerged)}", "git status")
    if found.changed:
        files = f"{counted(len(found.changed), 'file')} not as committed: {some(found.changed)}"
        return note("clone", f"{where}, {files}", "git status")
    return ok("clone", f"{where}, clean")


def _upstream(found: Standing, fetched: str) -> Told:
    if found.branch == "(detached)":
        return note("upstream", "no branch is checked out", "git switch main")
    if found.ahead is None or found.behind is None:
        to = f"git branch --set-upstream-to=origin/{found.branch}"
        return note("upstream", f"{found.branch} is compared with no branch of others", to)
    of = f"{found.upstream}, {fetched}"
    ahead, behind = counted(found.ahead, "commit"), counted(found.behind, "commit")
    if found.behind and found.ahead:
        return wrong("upstream", f"{behind} behind and {ahead} ahead of {of}", "git pull --rebase")
    if found.behind:
        says = f"{behind} behind {of}: a deploy from here would put back what they changed"
        return wrong("upstream", says, "git pull --ff-only")
    if found.ahead:
        return note("upstream", f"{ahead} ahead of {of}: nobody else has them", "git push")
    return ok("upstream", f"as {of}")


def _fetched(folder: Path) -> str:
    """When that was last asked for."""
    path = Path(folder, git(folder, "rev-parse", "--git-path", "FETCH_HEAD").strip())
    if not path.exists():
        return "not fetched since it was cloned"
    return f"fetched {span(timedelta(seconds=max(0, time.time() - path.stat().st_mtime)))} ago"
