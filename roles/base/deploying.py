"""One deploy at a time on a host, and a record of each: what every deploy begins and ends with.

    with deploying():
        base()
        web()

Over the connection of the run a program on each host (roles/common/on_host/deploying.py) holds the lock while its input
is open: a run that is killed, or whose machine is gone, leaves none behind. All hosts of a run are locked before
anything is done on one. A run whose lock is broken by hand stops before its next operation there. Dry runs lock and
record nothing.
"""

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import gevent
from gevent.lock import RLock
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.operation import operation
from pyinfra.api.state import BaseStateCallback, State
from pyinfra.context import host, state

from inventories.command_line import as_given
from inventories.errors import InputError
from inventories.inventory import CLONE, LoadedSite
from inventories.standing import git, standing
from roles.base.deployed import told
from roles.base.drift import noted
from roles.base.sessions import Session, opened
from roles.common.declared import Asked, declared
from roles.common.operations import Commands, Refuse

_held: dict[str, Session] = {}
"""By host, what holds its lock for this process."""


@dataclass
class Run:
    """One deploy file, on all hosts it is queued for."""

    deploy: str
    hosts: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    asked: bool = False
    explained: bool = False
    one: RLock = field(default_factory=RLock)

    def begin(self, state: State, name: str) -> str:
        """Begins on a host, as the first one locks all of them; says why not."""
        with self.one:
            if not self.asked:
                self.asked = True
                active = {host.name for host in state.inventory.get_active_hosts()}
                self._lock(state, [one for one in self.hosts if one in active])
        if not self.refused and name not in _held:
            self._lock(state, [name])
        if self.refused:
            return self.refused.get(name) or self._because_of_others()
        _held[name].record(event="started")
        return ""

    def _because_of_others(self) -> str:
        """In full once: with `--serial`, or where the run ends here, those hosts themselves never say it."""
        whys = [why if not self.explained else why.splitlines()[0] for why in self.refused.values()]
        self.explained = True
        return "\n".join(
            f"nothing was begun, because of {one}: {why}" for one, why in zip(self.refused, whys, strict=True)
        )

    def _lock(self, state: State, names: list[str]) -> None:
        waiting = [gevent.spawn(self._take, state, name) for name in names if name not in _held]
        gevent.joinall(waiting, raise_error=True)
        if self.refused:
            for name in list(_held):
                _held.pop(name).end()

    def _take(self, state: State, name: str) -> None:
        about = {"id": uuid4().hex, "deploy": self.deploy, **who()}
        session, said = opened(state, state.inventory.get_host(name), about)
        if said.get("held") is True:
            _held[name] = session
        else:
            session.end()
            self.refused[name] = refusal(state, name, said)


@contextmanager
def deploying() -> Iterator[None]:
    """Around all that a deploy queues for a host."""
    run = _run(str(state.current_deploy_filename))
    if not any(isinstance(one, Watch) for one in state.callback_handlers):
        state.callback_handlers.append(Watch())
    run.hosts.append(host.name)
    asked = _heard(state.inventory.get_host(host.name))
    begun(name="begin", run=run)
    yield
    ended(name="end", asked=asked)


def _heard(one: Any) -> list[Asked]:
    """All that operations ask of a host from now on, by which a deploy knows what it declares."""
    asked: list[Asked] = []
    get_fact = one.get_fact

    def hear(look: Any, *words: Any, **named: Any) -> Any:
        asked.append((look, named.get("_stdin", ""), named))
        return get_fact(look, *words, **named)

    vars(one).update(get_fact=hear)
    return asked


@cache
def _run(file: str) -> Run:
    return Run(Path(file).stem)


@operation()
def begun(run: Run) -> Commands:
    """Locks, and records that it starts; what is refused fails."""
    if _is_run() and (problem := run.begin(state, host.name)):
        yield Refuse([problem])


@operation()
def ended(asked: Sequence[Asked]) -> Commands:
    """Records that it is done, with how many operations changed something, and unlocks. The host is told what was
    declared, by name: it looks at all of that once more when this is over, and remembers it."""
    if _is_run() and (session := _held.pop(host.name, None)):
        done = [one.operation_meta for one in state.ops[state.inventory.get_host(host.name)].values()]
        changes = sum(one.did_change() for one in done if one.is_complete())
        session.record(event="finished", changes=changes, declared=noted(declared(asked), host.data))
        session.end()
    yield from ()


def _is_run() -> bool:
    """Not while it is prepared, nor by a look for drift, which has no connection and does nothing."""
    return bool(state.is_executing and host.connected)


class Watch(BaseStateCallback):
    """Records the operation that failed, and has nobody go on whose lock is gone."""

    @staticmethod
    def operation_host_start(state: State, host: Any, op_hash: str) -> None:
        if (session := _held.get(host.name)) and session.over():
            raise PyinfraError(f"{host.name}: the lock of this deploy was broken: nothing more is done there")

    @staticmethod
    def operation_host_error(state: State, host: Any, op_hash: str, retry_count: int = 0, max_retries: int = 0) -> None:
        if session := _held.pop(host.name, None):
            session.record(event="failed", at=", ".join(sorted(state.get_op_meta(op_hash).names)))
            session.end()


def put_away(name: str) -> Mapping[str, object]:
    """Before a host goes down on purpose: what `take_up` needs once it is back."""
    session = _held.pop(name)
    session.record(event="rebooting")
    session.end()
    return session.about


def take_up(state: State, name: str, about: Mapping[str, object]) -> str:
    """Locks a host again that is back; says why not."""
    session, said = opened(state, state.inventory.get_host(name), about)
    if said.get("held") is not True:
        session.end()
        return refusal(state, name, said)
    _held[name] = session
    session.record(event="resumed")
    return ""


@cache
def who() -> Mapping[str, object]:
    """What this machine says of who deploys, and of what. Of what is no clone there is no commit."""
    try:
        found = standing(CLONE)
        of = {"commit": found.commit, "dirty": bool(found.changed or found.unmerged)}
    except InputError:
        of = {"commit": "", "dirty": False}
    return {"machine": socket.gethostname(), "git_user": _git_user(), **of}


def _git_user() -> str:
    try:
        return git(CLONE, "config", "user.name").strip()
    except InputError:
        return ""


def refusal(state: State, name: str, said: Mapping[str, Any]) -> str:
    """Who deploys there, or why that is not known, and what to do."""
    if problem := said.get("problem"):
        return f"the lock of deploys cannot be had: {problem}"
    site: LoadedSite = state.inventory.get_host(name).data.site
    into = "" if site.local else f"mainstay ssh --inventory {as_given(site.path)} {name} "
    end = f"{into}sudo kill {said['pid']}" if "pid" in said else "docs/runbooks/deploy-is-locked.md"
    return (
        f"another deploy is under way here: {told(said) if said else 'one that has just begun'}\n"
        "  Nothing was changed. Wait for its end; a run that was killed holds no lock, and one whose machine is gone\n"
        f"  loses it within 5 minutes. To break it, once you know that it is dead: {end}"
    )
