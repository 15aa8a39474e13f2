"""Carries a plan out: what is independent at the same time, what depends on something after it."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import TypeVar

from pyinfra.api.exceptions import PyinfraError

from cloud import actions as do
from cloud import actual, first_contact, hosts, networks, plan, volumes
from cloud.client import PARALLEL
from cloud.work import Work

STEPS = {**networks.STEPS, **hosts.STEPS, **volumes.STEPS}
A = TypeVar("A", bound=do.Action)


class BusyError(PyinfraError):
    """Another run provisions this site on this machine."""


@contextmanager
def alone(lock_path: Path) -> Iterator[None]:
    """Holds the site's folder for one run, from before it looks until it is done; a killed one lets go of it.

    Touches nothing. Raises BusyError.
    """
    folder = os.open(lock_path.parent, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"{lock_path.parent}: another run provisions this site: wait for its end") from None
        yield
    finally:
        # By name, because gevent puts off closing what is no plain file: pyinfra plans and applies in one process.
        fcntl.flock(folder, fcntl.LOCK_UN)
        os.close(folder)


def run(work: Work, actions: Sequence[do.Action]) -> list[str]:
    """Applies all that can be applied; what fails takes along only what depends on it. Returns what failed.

    Nothing is removed unless everything else has succeeded.
    """
    work.save(lambda _: plan.remembered(work.site))
    beginning = (do.CreateVpc, do.DescribeVpc, do.CreateFirewall, do.DescribeFirewall, do.CreateDomain)
    for stage in (beginning, (do.AddRule,), (do.DropRule,)):
        failures = _each(work, _of(actions, *stage))
        if failures:
            return failures
    removals = (do.DetachVolume, do.RemoveHost, do.RemoveVolume)
    chains: dict[str, list[do.Action]] = {}
    for action in _of(actions, do.OfHost):
        if not isinstance(action, removals):
            chains.setdefault(action.host, []).append(action)
    failures = _chains(work, list(chains.values()))
    failures += _each(work, [action for action in _of(actions, do.PointName) if work.address(action.host, "A")])
    for kind in (do.DropRecord, *removals, do.RemoveVpc, do.RemoveFirewall):
        failures = failures or _each(work, _of(actions, kind))
    if not failures:
        site = work.site
        fresh = replace(site, actual=actual.read(work.client, site.fleet, work.lock), lock=work.lock)
        work.save(lambda _: plan.remembered(fresh))
    return failures


def _each(work: Work, actions: Sequence[do.Action]) -> list[str]:
    return _chains(work, [[action] for action in actions])


def _chains(work: Work, chains: Sequence[Sequence[do.Action]]) -> list[str]:
    """All chains at the same time; a chain ends at its first failure. Returns the failures."""

    def run_one(actions: Sequence[do.Action]) -> list[str]:
        for action in actions:
            try:
                STEPS[type(action)](work, action)
            except (PyinfraError, *first_contact.LOST) as error:
                return [f"{action.thing}: {error}"]
            work.client.report(f"{action}: done")
        return []

    # Interrupted it lets go of its threads; the executor of concurrent.futures would wait for what they wait for.
    with ThreadPool(PARALLEL) as pool:
        return [failure for failures in pool.map(run_one, chains, chunksize=1) for failure in failures]


def _of(actions: Sequence[do.Action], *kinds: type[A]) -> list[A]:
    return [action for action in actions if isinstance(action, kinds)]
