"""A drill from its beginning to its end: phases, outcome, report, and destruction whatever happened.

What goes wrong before there is a host that runs is `could not start`; in what a real recovery does too, `failed`.
"""

import fcntl
import os
import secrets
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from pyinfra.api.exceptions import PyinfraError

from backup import custody
from backup.agent.attempt import Refused
from backup.custody import CONTROL, DataSet
from backup.drills import account, book, choosing, own_site, steps, verdict
from backup.drills.checks import BUDGET_S, CheckFailed, Drill, Fault
from backup.drills.choosing import Asked, Chosen, NothingToRestore
from backup.drills.common import checks as common_checks
from backup.drills.own_site import Wanted
from backup.drills.report import RTO_PHASES, Outcome, PhaseRun, Report, Rpo, Source
from backup.drills.restored import OnHost
from backup.drills.steps import Deadline, OutOfTime, StepFailed
from backup.ledger import LedgerError
from backup.reach import Unreachable, reach
from backup.restic_process import ResticError
from backup.store import VAULT, WORDS
from backup.trouble import said
from cloud import provision
from cloud.actual import Plan
from cloud.client import Client
from inventories.editing import private_folder
from inventories.errors import InputError
from inventories.inventory import CLONE, LoadedSite

RUNNING = ".running"
"""In a drill's folder: held locked for as long as its process lives."""
TROUBLE = (
    StepFailed,
    NothingToRestore,
    CheckFailed,
    Refused,
    Unreachable,
    ResticError,
    LedgerError,
    InputError,
    PyinfraError,
    OSError,
)


class Hearing(Protocol):
    """Who is told how a drill goes."""

    def phase(self, name: str) -> None: ...

    def progress(self, fraction: float, words: str) -> None: ...

    def ended(self, run: PhaseRun) -> None: ...

    def note(self, text: str) -> None: ...


@dataclass(frozen=True)
class Order:
    """What an admin asked for. fault: the name of one to be planted; keep: leave the host until the drill expires."""

    data_set: DataSet
    store: str = VAULT
    snapshot: str = ""
    full: bool = False
    fallback: bool = False
    keep: bool = False
    fault: str = ""


@dataclass
class Run:
    """A drill under way."""

    site: LoadedSite
    order: Order
    hear: Hearing
    report: Report
    deadline: Deadline
    turn: int
    at: str = ""
    """The phase that runs."""
    chosen: Chosen | None = None
    error: BaseException | None = None
    kept: bool = field(default=False)

    @property
    def drill(self) -> Drill:
        return own_site.drill_of(self.order.data_set.plan)

    @property
    def own_name(self) -> str:
        return account.site_name(self.report.id, self.report.expires)

    def note(self, **values: Any) -> None:
        """Writes down how far it is."""
        self.report = self.report.model_copy(update=values)
        book.write(self.site, self.report)

    @contextmanager
    def phase(self, name: str) -> Iterator[list[str]]:
        """One phase; what is appended to the list is what happened, in words."""
        begun, clock, words, ok = datetime.now(UTC), time.monotonic(), [], False
        self.at = name
        self.note(phase=name)
        self.hear.phase(name)
        try:
            yield words
            ok = True
        finally:
            self.add(PhaseRun(name=name, begun=begun, seconds=time.monotonic() - begun_at(clock), ok=ok, told=words))

    def add(self, run: PhaseRun) -> None:
        budget = {**BUDGET_S, **self.drill.budget_s}.get(run.name)
        run = run.model_copy(update={"seconds": round(run.seconds, 2), "budget_s": budget, "told": tuple(run.told)})
        self.note(phases=(*self.report.phases, run))
        self.hear.ended(run)


def begun_at(clock: float) -> float:
    return clock


def run(site: LoadedSite, order: Order, hear: Hearing) -> Report:
    """One drill. Raises InputError for an order that cannot be meant, before anything is made."""
    drills = own_site.declared(site)
    _check(site, order)
    now = datetime.now(UTC)
    earlier = book.reports(book.folder(site), hear.note)
    report = Report(
        id=f"{now:%y%m%d-%H%M}-{''.join(secrets.choice('abcdefghjkmnpqrstuvwxyz23456789') for _ in range(4))}",
        site=site.name,
        data_set=str(order.data_set),
        who=CONTROL if site.control else site.ssh_user,
        begun=now,
        expires=(now + timedelta(hours=drills.hours)).replace(second=0, microsecond=0),
        fault=order.fault,
    )
    deadline = Deadline(time.monotonic() + drills.hours * 3600)
    one = Run(site, order, hear, report, deadline, book.turn(earlier, str(order.data_set)))
    with alive(book.folder(site) / report.id):
        try:
            with private_folder() as scratch:
                _go(one, scratch)
        except TROUBLE as error:
            one.error = error
        except BaseException as error:
            one.error = error
            raise
        finally:
            _end(one)
    return one.report


def _check(site: LoadedSite, order: Order) -> None:
    faults = own_site.drill_of(order.data_set.plan).faults
    if order.fault and order.fault not in {fault.name for fault in faults}:
        hint = f"of {order.data_set.plan} there are: {', '.join(fault.name for fault in faults) or 'none'}"
        raise InputError("--fault", order.fault, "no such fault", hint)
    if site.fleet.hosts[order.data_set.host].os == "":
        raise InputError(site.path, f"hosts.{order.data_set.host}.os", "is empty")


@contextmanager
def alive(folder: Path) -> Iterator[None]:
    """Holds a drill's folder locked, which a killed process lets go of."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / RUNNING, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def is_alive(folder: Path) -> bool:
    """Whether a drill's process runs on this machine."""
    try:
        lock = os.open(folder / RUNNING, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _go(one: Run, scratch: Path) -> None:
    order, drill = one.order, one.drill
    asked = Asked(order.data_set, order.store, order.snapshot, order.full, order.fallback, one.turn)
    with one.phase("plan") as words:
        with reach(one.site) as way, choosing.chosen(way, asked, drill, one.hear.note) as chosen:
            one.chosen = chosen
        wanted = Wanted(
            one.site, one.own_name, order.store, (order.data_set,), {order.data_set.host: chosen.bytes}
        )
        own = own_site.make(wanted, scratch)
        words += [f"from {WORDS[order.store]}: {steps.told(chosen)}", _affordable(one, own)]
        one.note(source=_source(chosen), rpo=_rpo(one, chosen), versions={"mainstay": version()})
    with one.phase("host") as words:
        own = steps.host(wanted, scratch, words.append)
    with steps.on_host(one.site, own, order.data_set, chosen, one.turn, scratch) as on:
        _deploy(one, own, on)
        with one.phase("restore") as words:
            steps.restore(on.way, order.data_set, chosen, one.deadline, words.append, one.hear.progress)
        with one.phase("start"):
            steps.start(own, on, one.deadline)
        with one.phase("checks") as words:
            words += _checks(one, on)
        with one.phase("report"):
            seen = {**one.report.versions, **steps.versions(on)}
            one.note(versions=seen, estimate=verdict.estimate(one.report))
        if order.keep:
            one.kept = True
            _keep(one, own)


def _affordable(one: Run, own: LoadedSite) -> str:
    """Raises InputError when the drill would cost more than it may, or there are too many hosts already."""
    drills = own_site.declared(one.site)
    api = _api(own, one.hear)
    plans = {item["id"]: Plan.model_validate(item) for item in api.list("/plans", "plans")}
    for name, host in own.fleet.hosts.items():
        if host.plan not in plans:
            raise InputError(one.site.path, f"hosts.{name}.plan", f"no plan {host.plan!r} in the drills' account")
    cost = account.usd(own.fleet, lambda plan: plans[plan].monthly_cost, drills.hours)
    if cost > drills.usd:
        hint = f"it is counted for the {drills.hours} h that a drill may take"
        raise InputError(one.site.path, "drill.usd", f"this drill may cost ${cost:.2f}, more than ${drills.usd:.2f}", hint)
    there = [thing for thing in account.look(api, drills.domain) if thing.kind == "host"]
    if len(there) + len(own.fleet.hosts) > drills.hosts:
        names = ", ".join(sorted({account.drill_of(thing.site) for thing in there}))
        problem = f"{len(there)} hosts of drills exist already ({names}), and no more than {drills.hosts} may"
        raise InputError(one.site.path, "drill.hosts", problem, "wait for their end, or `mainstay drill sweep`")
    return f"at most ${cost:.2f} for {drills.hours} h"


def _api(own: LoadedSite, hear: Hearing) -> Client:
    return provision.client(own, hear.note)


def _deploy(one: Run, own: LoadedSite, on: OnHost) -> None:
    """What packages take is a phase of its own, as far as apt's log tells it apart."""
    begun, clock, ok = datetime.now(UTC), time.monotonic(), False
    one.at = "deploy"
    one.note(phase="deploy")
    one.hear.phase("deploy")
    try:
        steps.deploy(own, one.deadline)
        ok = True
    finally:
        seconds = time.monotonic() - clock
        apt = min(seconds, steps.package_seconds(on)) if ok else 0.0
        if ok:
            one.add(PhaseRun(name="packages", begun=begun, seconds=apt))
        one.add(PhaseRun(name="deploy", begun=begun, seconds=seconds - apt, ok=ok))


def _checks(one: Run, on: OnHost) -> list[str]:
    planted = ""
    if one.order.fault:
        fault = _fault(one)
        planted = fault.plant(on)
        one.hear.note(f"planted {fault.name}: {planted}")
    done: list[Any] = []
    for check in (*common_checks(on), *one.drill.checks):
        done.append(steps.check(check, on, one.deadline))
        one.note(checks=tuple(done))
        one.hear.progress(0, f"{check.name}: {done[-1].outcome}")
    newest = steps.newest_restored(on)
    if one.report.rpo:
        one.note(rpo=one.report.rpo.model_copy(update={"newest_restored": newest}))
    counts = [f"{sum(run.outcome == word for run in done)} {word}" for word in ("passed", "failed", "timed out", "not judged")]
    told = [", ".join(count for count in counts if not count.startswith("0 "))]
    return [*([f"planted {one.order.fault}: {planted}"] if planted else []), *told]


def _fault(one: Run) -> Fault:
    return next(fault for fault in one.drill.faults if fault.name == one.order.fault)


def _end(one: Run) -> None:
    """Destroys all that was made, and says how it ended, in this order and whatever happened."""
    reservations: list[str] = []
    if not one.kept:
        try:
            with one.phase("destroy") as words:
                made, problems = destroyed(one.site, [one.own_name], one.hear)
                words += [f"{len(made)} things gone"] if not problems else problems
                one.note(made=tuple(made), cost_usd=_cost(one))
                reservations += problems
        except TROUBLE as error:
            reservations.append(f"not destroyed: {said(error) if isinstance(error, Exception) else error}")
    result = verdict.judge(one.report, one.error, one.at_fault(), _caught_by(one), reservations)
    one.note(ended=datetime.now(UTC), **result)


def destroyed(site: LoadedSite, names: Sequence[str], hear: Hearing) -> tuple[list[Any], list[str]]:
    """Ends what bears these names in the drills' account; see account.destroy. Raises InputError."""
    drills = own_site.declared(site)
    with ExitStack():
        return account.destroy(client(site, hear), drills.domain, names, hear.note)


def client(site: LoadedSite, hear: Hearing) -> Client:
    """The drills' account. Raises InputError when its key cannot be read here."""
    drills = own_site.declared(site)
    key = custody.secret(site, drills.api_key)
    return provision.account(site, drills.api_url or site.fleet.provider.api_url, key, hear.note)
