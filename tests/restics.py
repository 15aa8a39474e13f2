"""restic in the versions that the wrapper promises to work with, built from source once for this machine.

One thing is changed: restic has a key take half a second of a core to open, at each of the thousands of starts of the
tests. One that is made by these takes a millisecond, also when another restic opens it.
"""

import fcntl
import shutil
from pathlib import Path
from typing import Any

import pytest

from lab.go import go, module, run

CACHE = Path.home() / ".cache/mainstay/restic-with-quick-keys"
VERSIONS = ("0.16.5", "0.17.3", "0.18.0", "0.19.1")
USED = "0.18.0"
"""Debian 13's."""
WORK, LITTLE = "KDFTimeout = 500 * time.Millisecond", "KDFTimeout = time.Millisecond"


def by_version(*versions: str) -> list[Any]:
    """Parameters: the version that hosts use in every run, the others when all points of matrices are run."""
    return [pytest.param(version, marks=[] if version == USED else pytest.mark.full) for version in versions]


def restic(version: str = USED) -> str:
    """The path of that version's program."""
    program = CACHE / version
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "building").open("w") as building:
        fcntl.flock(building, fcntl.LOCK_EX)
        if not program.exists():
            _build(version, program)
    return str(program)


def _build(version: str, program: Path) -> None:
    compiler = go()
    source = CACHE / "source"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(module(compiler, f"github.com/restic/restic@v{version}"), source)
    run("chmod", "-R", "u+w", source, cwd=CACHE)
    keys = source / "internal/repository/key.go"
    assert WORK in keys.read_text()
    keys.write_text(keys.read_text().replace(WORK, LITTLE))
    fresh = program.with_suffix(".fresh")
    run(compiler, "build", "-mod=mod", "-o", fresh, "./cmd/restic", cwd=source, GOTOOLCHAIN="local")
    fresh.rename(program)
    shutil.rmtree(source)
