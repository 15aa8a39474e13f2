"""Programs of Debian 13 that are needed on this machine, where its own are too old or not there."""

import fcntl
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from backup.restic import version_of
from backup.store import RESTIC_NEEDED
from lab.command import BASE, run
from lab.image import MIRROR, SUITE
from lab.services import LOCAL_CACHE_URL

TOOLS = BASE / "tools"
LOADER = "usr/lib64/ld-linux-x86-64.so.2"
LIBRARIES = "usr/lib/x86_64-linux-gnu"


def restic() -> str:
    """A restic that is new enough: $MAINSTAY_RESTIC, the machine's, or Debian 13's. Raises EngineError."""
    for program in filter(None, (os.environ.get("MAINSTAY_RESTIC"), shutil.which("restic"))):
        if version_of(program) >= RESTIC_NEEDED:
            return program
    return fetched("restic")


def fetched(name: str) -> str:
    """Debian 13's program of a package of the same name, fetched once for this machine. Raises EngineError."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    program, root = TOOLS / name, TOOLS / f"{name}.root"
    with (TOOLS / "fetching").open("w") as fetching:
        fcntl.flock(fetching, fcntl.LOCK_EX)
        if not program.exists():
            extract(root, [name], f'--aptopt=Acquire::http::Proxy "{LOCAL_CACHE_URL}"')
            (root / "usr/bin" / name).rename(program)
            shutil.rmtree(root)
    return str(program)


def root_with(name: str, packages: Sequence[str]) -> Path:
    """A root that has packages of Debian 13, fetched once for this machine by that name. Raises EngineError."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    root = TOOLS / name
    with (TOOLS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            fresh = root.with_name(f"{name}.root")
            extract(fresh, packages)
            fresh.rename(root)
    return root


def words(root: Path, program: str) -> list[str]:
    """How a program in such a root is run, by its path there: with the libraries that it was made for."""
    return [str(root / LOADER), "--library-path", str(root / LIBRARIES), str(root / program)]


def extract(root: Path, packages: Sequence[str], *options: str) -> None:
    """Lays down what is in packages of Debian 13, with all that they depend on, in the place of what is there: not a
    system to boot. options: of mmdebstrap. Raises EngineError."""
    shutil.rmtree(root, ignore_errors=True)
    words = ("mmdebstrap", "--mode=root", "--variant=extract", f"--include={','.join(packages)}", *options)
    run(*words, SUITE, root, f"deb {MIRROR}/debian {SUITE} main", timeout_s=600)
