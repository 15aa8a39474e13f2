"""Runs the machine's own programs, and says what failed."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab.engine import EngineError

BASE = Path("/var/lib/mainstay")
"""Everything the labs of this machine keep: labs/NAME, images, cache."""


def run(*command: str | Path, input: str = "", timeout_s: float = 60) -> str:
    """Runs a command and returns its output. Raises EngineError with the command, its exit code and what it said."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, input=input, text=True, capture_output=True, timeout=timeout_s, check=False)
    except FileNotFoundError as error:
        raise EngineError(f"{words[0]}: not installed on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"{' '.join(words)}: still running after {timeout_s:g} s") from error
    if done.returncode:
        raise EngineError(f"{' '.join(words)}: exit {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def ip(lines: Sequence[str], *, netns: str = "", force: bool = False) -> None:
    """Many `ip` commands in one process, in the namespace `netns` if given. force goes on after a failed one."""
    options = (["-n", netns] if netns else []) + (["-force"] if force else [])
    if force:
        subprocess.run(
            ["ip", *options, "-batch", "-"], input="\n".join(lines), text=True, capture_output=True, check=False
        )
    else:
        run("ip", *options, "-batch", "-", input="\n".join(lines))
