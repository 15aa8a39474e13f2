"""This clone: what git knows of it. Fetches nothing, and writes nothing, not even git's own index."""

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from backup.rules import span
from backup.sizes import counted
from doctor.told import BOUND_S, Told, note, ok, wrong
from inventories.errors import InputError

SHOWN = 3
"""So many files are named."""


@dataclass(frozen=True)
class Standing:
    """What `git status --porcelain=v2 --branch` says. ahead, behind: None without a branch to compare with."""

    commit: str
    branch: str
    upstream: str
    ahead: int | None
    behind: int | None
    changed: tuple[str, ...]
    unmerged: tuple[str, ...]


def look(folder: Path) -> Iterator[Told]:
    """Work tree, upstream and hooks. Raises InputError where there is no clone."""
    found = parse(_git(folder, "status", "--porcelain=v2", "--branch"))
    yield _tree(found)
    yield _upstream(found, _fetched(folder))
    hook = Path(folder, _git(folder, "rev-parse", "--git-path", "hooks/pre-commit").strip())
    if os.access(hook, os.X_OK):
        yield ok("hooks", "the fast checks run before each commit")
    else:
        yield note("hooks", "nothing is checked before a commit", ".venv/bin/pre-commit install")


def parse(said: str) -> Standing:
    """Format: git-status(1), 'Porcelain Format Version 2'."""
    lines = said.splitlines()
    headers = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# "))
    ahead, behind = (abs(int(one)) for one in headers["branch.ab"].split()) if "branch.ab" in headers else (None, None)
    fields = {"1": 8, "2": 9, "u": 10, "?": 1}
    entries = [(line[0], line.split(" ", fields[line[0]])[-1].split("\t")[0]) for line in lines if line[0] in fields]
    return Standing(
        headers["branch.oid"][:10],
        headers["branch.head"],
        headers.get("branch.upstream", ""),
        ahead,
        behind,
        tuple(path for kind, path in entries if kind != "u"),
        tuple(path for kind, path in entries if kind == "u"),
    )


def _tree(found: Standing) -> Told:
    where = f"{found.branch} at {found.commit}"
    if found.unmerged:
        return wrong("clone", f"{where}: a merge is not finished: {_some(found.unmerged)}", "git status")
    if found.changed:
        files = f"{counted(len(found.changed), 'file')} not as committed: {_some(found.changed)}"
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
    path = Path(folder, _git(folder, "rev-parse", "--git-path", "FETCH_HEAD").strip())
    if not path.exists():
        return "not fetched since it was cloned"
    return f"fetched {span(timedelta(seconds=max(0, time.time() - path.stat().st_mtime)))} ago"


def _some(paths: tuple[str, ...]) -> str:
    more = [f"and {len(paths) - SHOWN} more"] if len(paths) > SHOWN else []
    return ", ".join([*paths[:SHOWN], *more])


def _git(folder: Path, *words: str) -> str:
    hint = "git clone REPOSITORY mainstay: deploys, bundles and the control host's software are of what git tracks"
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", folder, *words],
            capture_output=True,
            text=True,
            timeout=BOUND_S / 2,
            check=False,
        )
    except FileNotFoundError:
        raise InputError(folder, "", "git is not on this machine", "as root: apt-get install git") from None
    except subprocess.TimeoutExpired:
        raise InputError(folder, "", f"git {words[0]} does not end", f"git -C {folder} {words[0]}") from None
    if done.returncode:
        raise InputError(folder, "", done.stderr.strip(), hint)
    return done.stdout
