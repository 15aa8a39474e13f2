"""This machine: Python's packages, and the programs that an admin's commands run."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from backup.restic import version_of
from backup.store import INSTALL_RESTIC, RESTIC_NEEDED, restic_program
from doctor.told import BOUND_S, Told, ok, wrong
from inventories.inventory import CLONE
from roles.control.software import uv

SSHD = CLONE / "roles/base/access/etc/ssh/sshd_config.j2"
PACKAGES = {"git": "git", "rsync": "rsync", "ssh": "openssh-client"}
"""Debian's, by the program."""


def environment(folder: Path) -> Iterator[Told]:
    """Whether the packages of a clone are those of its uv.lock. Asks no registry."""
    words = [uv(), "sync", "--frozen", "--check", "--inexact", "--offline"]
    words += ["--no-install-project"]  # it is this clone, and would be made again for each new date of pyproject.toml
    own = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    try:
        done = subprocess.run(
            words, cwd=folder, env=own, capture_output=True, text=True, timeout=BOUND_S / 2, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        yield wrong("python", f"uv cannot be asked: {error}", "bin/setup")
        return
    version = f"Python {platform.python_version()}"
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "project environment" not in line]
        would = [line for line in lines if line.startswith("Would ")]
        what = "; ".join(would or lines)
        yield wrong("python", f"{version}: packages are not as uv.lock says: {what}", "bin/setup")
    else:
        yield ok("python", f"{version}, packages as uv.lock says")


def there(program: str, option: str) -> Iterator[Told]:
    """Whether a program is on this machine. option: has it tell its version."""
    if not shutil.which(program):
        yield wrong(program, "is not on this machine", f"as root: apt-get install {PACKAGES[program]}")
        return
    said = _said([program, option])
    version = re.search(r"\d+(\.\d+)+\w*", said)
    yield ok(program, version[0] if version else said.partition("\n")[0])


def ssh() -> Iterator[Told]:
    """Hosts agree to few key exchanges: one that is too old gets into none of them."""
    [found] = there("ssh", "-V")
    if not found.mend and not {*_said(["ssh", "-Q", "kex"]).split()} & offered():
        needed = "OpenSSH 8.5 or newer is needed, as Debian 12 has it"
        yield wrong("ssh", f"{found.says} knows no key exchange that hosts agree to", needed)
    else:
        yield found


def restic() -> Iterator[Told]:
    """Which every command about backups runs. Raises InputError when it is not there."""
    program = restic_program()
    try:
        version = version_of(program)
    except (subprocess.CalledProcessError, ValueError, IndexError):
        yield wrong("restic", f"{program} does not tell its version", INSTALL_RESTIC)
        return
    words = f"{'.'.join(map(str, version))} ({shutil.which(program)})"
    if version < RESTIC_NEEDED:
        yield wrong("restic", f"{words} is too old", INSTALL_RESTIC)
    else:
        yield ok("restic", words)


@cache
def offered() -> frozenset[str]:
    """The key exchanges that hosts agree to."""
    line = next(line for line in SSHD.read_text().splitlines() if line.startswith("KexAlgorithms "))
    return frozenset(line.split()[1].split(","))


def _said(words: Sequence[str]) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=BOUND_S / 2, check=False)
    return done.stdout or done.stderr
