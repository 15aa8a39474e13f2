"""The command `gitmirror.pyz PLAN`: brings all repositories up to date, once.

Exit codes: 0 all are as the source has them, 1 something is not, or people are to know of something, 2 bad usage or
plan, 3 the source could not be reached, 4 another run is at it.
"""

import fcntl
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import time

from roles.gitmirror.fetching import gone, names
from roles.gitmirror.fetching.git import Git, GitError
from roles.gitmirror.fetching.plan import Plan
from roles.gitmirror.fetching.repository import Mirror, remove
from roles.gitmirror.fetching.source import Source, Unreachable, Wrong
from roles.gitmirror.fetching.told import Run, last_complete, shown

WELL, FAILED, BAD_INPUT, UNREACHABLE, BUSY = 0, 1, 2, 3, 4
STATUS, METRICS, LOCK = "status.json", "mainstay-gitmirror.prom", "lock"
STRIKES = 8
"""Unanswered in a row: the source has gone away, and the rest is not asked."""


def main(words: Sequence[str]) -> int:
    """Runs once, for a unit or for an admin."""
    if len(words) != 1:
        print(__doc__, file=sys.stderr)
        return BAD_INPUT
    try:
        plan = Plan.load(Path(words[0]))
        Source(plan.source)
    except (OSError, ValueError, TypeError) as error:
        print(f"{words[0]}: {error}", file=sys.stderr)
        return BAD_INPUT
    with (Path(plan.state) / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another run is at it, or git of one that was killed", file=sys.stderr)
            return BUSY
        return _run(plan, Mirror(plan, Git(plan.state, plan.authority, lock.fileno())))


def _run(plan: Plan, mirror: Mirror) -> int:
    status = Path(plan.state) / STATUS
    run = Run(plan.source, complete=last_complete(status))
    code = FAILED
    for left in plan.incoming.iterdir():
        remove(left)
    try:
        listed = Source(plan.source, plan.authority).projects()
        if not listed:
            raise Wrong("it lists no repositories: nothing is removed")
    except Unreachable as error:
        run.problem, code = f"{plan.source} is not reached: {error}", UNREACHABLE
    except Wrong as error:
        run.problem = f"{plan.source}: {error}"
    else:
        _bring_all(plan, mirror, run, listed)
    run.repositories = len(gone.present(plan.public))
    run.ended = time()
    if run.is_complete:
        run.complete = run.ended
    run.save(status, Path(plan.metrics) / METRICS)
    print("\n".join(map(shown, run.lines())), flush=True)
    return WELL if run.is_well else code


def _bring_all(plan: Plan, mirror: Mirror, run: Run, listed: Sequence[str]) -> None:
    here = gone.present(plan.public)
    wanted = names.chosen(listed, plan.include, plan.exclude)
    followed = gone.follow(plan, here, {*wanted})
    run.news, run.gone, run.problem = followed.news, followed.waiting, followed.problem
    run.failed = names.refused(wanted, here)
    work = _Work(plan, mirror)
    todo = [name for name in wanted if name not in run.failed]
    with ThreadPoolExecutor(plan.parallel) as workers:
        for name, (said, why) in zip(todo, workers.map(work.one, todo), strict=True):
            run.changed += bool(said)
            if why:
                run.failed[name] = why


class _Work:
    """What all threads have in common."""

    def __init__(self, plan: Plan, mirror: Mirror) -> None:
        self._plan, self._mirror = plan, mirror
        self._own = threading.local()
        self._strikes = 0

    def one(self, name: str) -> tuple[str, str]:
        """Brings one repository up to date: what changed, and why it could not be done."""
        try:
            if self._strikes >= STRIKES:
                raise Unreachable("not asked, as the source has ceased to answer")
            said = self._brought(name)
        except (Unreachable, Wrong, GitError, OSError) as error:
            self._strikes = self._strikes + 1 if isinstance(error, Unreachable) else 0
            return "", shown(error)
        self._strikes = 0
        if said:
            print(f"{name}: {said}", flush=True)
        return said, ""

    def _brought(self, name: str) -> str:
        if not hasattr(self._own, "source"):
            self._own.source = Source(self._plan.source, self._plan.authority)
        told = self._own.source.refs(name, self._plan.refs)
        if told is None:
            told = self._mirror.asked(name)
        return "" if self._mirror.is_current(name, told) else self._mirror.bring(name, told)
