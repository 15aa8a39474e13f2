"""Contestants in turns: each runs a command, or a piece of Python, in every round, in another order each time."""

import os
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Runs = Mapping[str, Callable[[], object]]


class BenchError(Exception):
    """A contestant failed."""


def command(words: Sequence[str], **how: Any) -> str:
    """Standard output of a command that has to succeed."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False, **how)
    said, errors = (str(one, errors="replace") for one in (done.stdout, done.stderr))
    if done.returncode:
        raise BenchError(f"{' '.join(words[:6])} ends with {done.returncode}:\n{said[-2000:]}{errors[-2000:]}")
    return said


def one_round(number: int, runs: Runs, times: dict[str, list[float]], tell: Callable[[str], None]) -> None:
    """Runs each once, beginning with another one in each round, and notes the seconds."""
    names = list(runs)
    first = number % len(names)
    for name in (*names[first:], *names[:first]):
        os.sync()
        began = time.perf_counter()
        runs[name]()
        seconds = time.perf_counter() - began
        times.setdefault(name, []).append(seconds)
        tell(f"  round {number + 1}: {name} {seconds:.2f} s")


def summed(times: Mapping[str, list[float]]) -> dict[str, dict[str, float]]:
    """Median, best and worst of each."""
    return {
        name: {"median_s": statistics.median(all_), "best_s": min(all_), "worst_s": max(all_)}
        for name, all_ in times.items()
    }


def peaks(words: Sequence[str], env: Mapping[str, str]) -> dict[str, int]:
    """The most memory, in bytes, that a command and its children had, by the names of their programs."""
    process = subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    found: dict[str, int] = {}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            for pid in (process.pid, *_children(process.pid)):
                name, peak = _peak(pid)
                found[name] = max(found.get(name, 0), peak)

    watching = threading.Thread(target=watch)
    watching.start()
    code = process.wait()
    ended.set()
    watching.join()
    if code:
        raise BenchError(f"{words[0]} ends with {code}")
    return {name: peak for name, peak in found.items() if peak}


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _peak(pid: int) -> tuple[str, int]:
    try:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    except OSError:
        return "", 0
    return status["Name"].strip(), int(status.get("VmHWM", "0 kB").split()[0]) * 1024
