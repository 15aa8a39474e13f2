"""Repositories and clones of them, by the git of this machine alone."""

import os
import subprocess
from pathlib import Path

import pytest


def git(folder: Path, *words: str) -> str:
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    own |= {f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return subprocess.run(["git", "-C", folder, *words], env=own, capture_output=True, text=True, check=True).stdout


def commit(folder: Path, name: str) -> None:
    (folder / name).write_text(name)
    git(folder, "add", name)
    git(folder, "commit", "-q", "-m", name)


def cloned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`work`, a clone of the repository `origin` beside it, which has one commit. A fixture's body."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    origin = tmp_path / "origin"
    origin.mkdir()
    git(origin, "init", "-q", "-b", "main")
    commit(origin, "one")
    git(tmp_path, "clone", "-q", "origin", "work")
    return tmp_path / "work"
