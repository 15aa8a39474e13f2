"""Processes that outlive whoever started them: each has its id in a file, and is found again by it."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from inventories.files import replace
from lab.engine import EngineError

END_S = 30


def running(pid_file: Path, word: str) -> int:
    """The process, or 0. word: one of its command line, since a process id may have been given to another by now."""
    try:
        pid = int(pid_file.read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return 0
    return pid if word.encode() in words else 0


def start(pid_file: Path, words: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    """Starts a program in the folder of its pid file, and returns once `running` finds it, unless it ended at once.

    What it says goes to the end of log.
    """
    with log.open("ab") as out:
        process = subprocess.Popen(
            words,
            env=dict(environment),
            cwd=pid_file.parent,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    # For a while after exec the kernel tells an empty command line: a program is mapped by then, its arguments are not.
    while process.poll() is None and not Path(f"/proc/{process.pid}/cmdline").read_bytes():
        time.sleep(0.001)
    replace(pid_file, str(process.pid))


def end(pid_file: Path, word: str, what: str) -> None:
    """Kills it, if it runs: a stopped process takes no other signal. Raises EngineError."""
    deadline = time.monotonic() + END_S
    while pid := running(pid_file, word):
        if time.monotonic() > deadline:
            raise EngineError(f"{what}, process {pid}, does not end")
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def wait(done: Callable[[], object], timeout_s: float, otherwise: str) -> None:
    """Waits for a condition, looking every 10 ms. Raises EngineError with `otherwise` when it does not come."""
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            raise EngineError(otherwise)
        time.sleep(0.01)
