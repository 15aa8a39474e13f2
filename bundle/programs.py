"""The programs that a bundle is made with: apt, xorriso, uv."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path


class ProgramError(Exception):
    """A program did not do what it was asked, or brought what it must not have; says what it said."""


def output(*words: str, hint: str, cwd: Path | None = None, environment: Mapping[str, str] = {}) -> str:
    """What a program puts out. hint: what to do where it is not installed. Raises ProgramError."""
    name = Path(words[0]).name
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise ProgramError(f"{name}: not installed on this machine: {hint}") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise ProgramError(f"{' '.join([name, *words[1:4]])}: exit {done.returncode}: {said}")
    return done.stdout
