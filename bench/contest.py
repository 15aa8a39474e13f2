"""Contestants in turns: each runs a command, or a piece of Python, in every round, in another order each time."""

import os
import resource
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

Runs = Mapping[str, Callable[[], object]]
Times = dict[str, list[tuple[float, float]]]
"""Of each contestant, the seconds of each run and those of them that a core was busy with it."""


class BenchError(Exception):
    """A contestant failed."""


def command(words: Sequence[str], **how: Any) -> str:
    """Standard output of a command that has to succeed."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False, **how)
    said, errors = (str(one, errors="replace") for one in (done.stdout, done.stderr))
    if done.returncode:
        raise BenchError(f"{' '.join(words[:6])} ends with {done.returncode}:\n{said[-2000:]}{errors[-2000:]}")
    return said


def one_round(
    number: int, runs: Runs, times: Times, tell: Callable[[str], None], before: Callable[[], object] = os.sync
) -> None:
    """Runs each once, beginning with another one in each round, and notes the seconds. before: goes before each."""
    names = list(runs)
    first = number % len(names)
    for name in (*names[first:], *names[:first]):
        before()
        began, worked = time.perf_counter(), _cpu()
        runs[name]()
        seconds, cpu = time.perf_counter() - began, _cpu() - worked
        times.setdefault(name, []).append((seconds, cpu))
        tell(f"  round {number + 1}: {name} {seconds:.2f} s, CPU {cpu:.2f} s")


def _cpu() -> float:
    """Of this process and of its children that have ended; the server's is not in it."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def summed(times: Times) -> dict[str, dict[str, float]]:
    """Median, best and worst of each, and the median of what it kept cores busy for."""
    found = {}
    for name, runs in times.items():
        seconds = [one for one, _ in runs]
        found[name] = {
            "median_s": statistics.median(seconds),
            "best_s": min(seconds),
            "worst_s": max(seconds),
            "cpu_s": statistics.median(cpu for _, cpu in runs),
        }
    return found


def table(*found: Mapping[str, Mapping[str, float]]) -> Table:
    """What `summed` gives, for people."""
    made = Table("", "seconds, median (best - worst)", "of a core, seconds")
    for times in found:
        for name, one in times.items():
            seconds = f"{one['median_s']:.2f} ({one['best_s']:.2f} - {one['worst_s']:.2f})"
            made.add_row(name, seconds, f"{one['cpu_s']:.2f}")
    return made


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
