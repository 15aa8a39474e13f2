"""How a clone stands: what git knows of it, and of the branch it follows. Writes nothing but what `fetch` brings."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from inventories.errors import InputError

BOUND_S = 5
"""How long git may take for what it does alone."""
FETCH_S = 60
"""How long it may take with somebody else's server."""
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


def standing(folder: Path) -> Standing:
    """Raises InputError where there is no clone."""
    return parse(git(folder, "status", "--porcelain=v2", "--branch"))


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


def some(paths: tuple[str, ...]) -> str:
    """The first of them, for people."""
    more = [f"and {len(paths) - SHOWN} more"] if len(paths) > SHOWN else []
    return ", ".join([*paths[:SHOWN], *more])


def fetch(folder: Path) -> None:
    """Asks the server of the branch that is checked out what there is. Raises InputError when it does not say."""
    git(folder, "fetch", "--quiet", bound_s=FETCH_S)


def git(folder: Path, *words: str, bound_s: float = BOUND_S) -> str:
    """What git says in a clone. Raises InputError when it fails, or does not end."""
    hint = "git clone REPOSITORY mainstay: deploys, bundles and the control host's software are of what git tracks"
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", folder, *words],
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=bound_s,
            check=False,
        )
    except FileNotFoundError:
        raise InputError(folder, "", "git is not on this machine", "as root: apt-get install git") from None
    except subprocess.TimeoutExpired:
        raise InputError(folder, "", f"git {words[0]} does not end", f"git -C {folder} {words[0]}") from None
    if done.returncode:
        raise InputError(folder, "", done.stderr.strip(), hint)
    return done.stdout
