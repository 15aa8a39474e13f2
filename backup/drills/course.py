"""What is common to all drills: phases, outcome, report, and destruction whatever happened.

What goes wrong before there is a host that runs is `could not start`; in what a real recovery does too, `failed`.
"""

import math
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import tomlkit
from pyinfra.api.exceptions import PyinfraError

from backup.agent.attempt import Refused
from backup.custody import CONTROL, DataSet
from backup.drills import account, book, own_site, sweeping, verdict
from backup.drills.checks import BUDGET_S, CheckFailed, Drill
from backup.drills.choosing import Chosen, NothingToRestore
from backup.drills.report import PhaseRun, Report
from backup.drills.steps import Deadline, StepFailed
from backup.ledger import LedgerError
from backup.reach import Unreachable
from backup.restic_process import ResticError
from backup.sizes import counted
from backup.store import VAULT
from backup.trouble import said
from inventories.editing import private_folder
from inventories.errors import InputError
from inventories.files import replace
from inventories.inventory import CLONE, KEPT_DRILLS, LoadedSite

NOTHING_YET = ("", "plan")
"""Phases in which nothing is made at the provider."""
Say = Callable[[str], None]
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

    def agree(self, question: str) -> bool:
        """Whether to go on, with much that takes long."""
        ...


@dataclass(frozen=True)
class Order:
    """What an admin asked for. fault: the name of one to be planted; keep: leave the host until the drill expires;
    rehearse: the change that is to be made there between two rounds of checks."""

    data_set: DataSet
    store: str = VAULT
    snapshot: str = ""
    full: bool = False
    fallback: bool = False
    keep: bool = False
    fault: str = ""
    rehearse: str = ""


@dataclass
class Run:
    """A drill under way."""

    site: LoadedSite
    order: Order
    hear: Hearing
    report: Report
    deadline: Deadline
    at: str = ""
    """The phase that runs."""
    chosen: Chosen | None = None
    error: BaseException | None = None
    hourly_usd: float = 0
    kept: bool = False

    @property
    def drill(self) -> Drill:
        return own_site.drill_of(self.order.data_set.plan)

    @property
    def budgets(self) -> dict[str, int]:
        """How long each phase of a recovery may take."""
        return {**BUDGET_S, **self.drill.budget_s}

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
        words: list[str] = []
        begun, clock, ok = datetime.now(UTC), time.monotonic(), False
        self.at = name
        self.note(phase=name)
        self.hear.phase(name)
        try:
            yield words
            ok = True
        finally:
            self.add(PhaseRun(name=name, begun=begun, seconds=time.monotonic() - clock, ok=ok, told=tuple(words)))

    def add(self, run: PhaseRun) -> None:
        run = run.model_copy(update={"seconds": round(run.seconds, 2), "budget_s": self.budgets.get(run.name)})
        self.note(phases=(*self.report.phases, run))
        self.hear.ended(run)


def begun(
    site: LoadedSite, data_set: str, hear: Hearing, *, fault: str = "", rehearse: str = ""
) -> tuple[Report, Deadline]:
    """A report that says when it began and may go and how many there were before, and until when it may go on."""
    drills, now = own_site.declared(site), datetime.now(UTC)
    earlier = book.reports(book.folder(site), hear.note)
    report = Report(
        id=f"{now:%y%m%d-%H%M}-{''.join(secrets.choice('abcdefghjkmnpqrstuvwxyz23456789') for _ in range(4))}",
        site=site.name,
        data_set=data_set,
        who=CONTROL if site.control else site.ssh_user,
        begun=now,
        expires=(now + timedelta(hours=drills.hours)).replace(second=0, microsecond=0),
        fault=fault,
        rehearsed=rehearse,
        turn=book.turn(earlier, data_set),
    )
    return report, Deadline(time.monotonic() + drills.hours * 3600)


def carry_out(one: Run, go: Callable[[Run, Path], None]) -> Report:
    """Goes through a drill, and destroys what it made and writes its end whatever happens. go: is given a folder."""
    with sweeping.alive(book.folder(one.site) / one.report.id):
        one.report = one.report.model_copy(update={"rto_budget_s": sum(one.budgets.values())})
        try:
            with private_folder() as scratch:
                go(one, scratch)
        except TROUBLE as error:
            one.error = error
        except BaseException as error:
            one.error = error
            raise
        finally:
            _end(one)
    book.tidy(book.folder(one.site), datetime.now(UTC), one.hear.note)
    return one.report


def swept(one: Run) -> list[str]:
    """What dead drills have left goes first: it costs money, and counts as hosts that there may be."""
    done = sweeping.sweep(one.site, (), one.hear.note)
    gone = [f"left by a dead drill, and gone now: {made.kind} {made.name}" for made in done.gone]
    return [*gone, *(f"left by a dead drill: {problem}" for problem in done.left)]


def _end(one: Run) -> None:
    """Destroys all that was made, and says how it ended, in this order and whatever happened."""
    phase, reservations = one.at, list(_reservations(one))
    interrupted = one.error is not None and not isinstance(one.error, Exception)
    left: list[str] = []
    if not one.kept and phase not in NOTHING_YET:
        try:
            with one.phase("destroy") as words:
                # What the threads of an interrupted phase had asked for comes yet.
                made, left = account.destroy(one.site, [one.own_name], one.hear.note, unsure=interrupted)
                kinds = ", ".join(dict.fromkeys(thing.kind for thing in made))
                words += left or [f"gone: {kinds}" if made else "nothing was made"]
                one.note(made=tuple(made))
        except Exception as error:
            left = [f"not destroyed: {said(error)}"]
    if left:
        reservations += [*left, "`mainstay drill sweep` removes what is left"]
    faults = {fault.name: fault.caught_by for fault in one.drill.faults}
    asked, caught_by = bool(one.order.snapshot), faults.get(one.order.fault, "")
    result = verdict.judge(one.report, one.error, phase, caught_by, asked=asked, behind=reservations)
    ended = datetime.now(UTC)
    hours = math.ceil((ended - one.report.begun).total_seconds() / 3600)
    one.note(ended=ended, cost_usd=round(one.hourly_usd * hours, 4) if one.report.made else 0, **result)
    if not left and not interrupted:
        sweeping.done_with(book.folder(one.site) / one.report.id)


def _reservations(one: Run) -> Iterator[str]:
    """What makes of a drill that passes one that is degraded."""
    if one.chosen and one.chosen.behind and one.order.fallback and not one.order.snapshot:
        yield f"an older backup was restored: {counted(one.chosen.behind, 'newer one')} cannot be had"


def keep(one: Run, own: LoadedSite) -> None:
    """Has the hosts stay; tells the way in: their inventory, key and addresses, and no secret of the data."""
    there = account.look(account.client(one.site, one.hear.note), own_site.declared(one.site).domain)
    one.note(made=tuple(account.made_of(thing) for thing in there if thing.site == one.own_name))
    folder = book.folder(one.site).with_name(KEPT_DRILLS) / one.report.id
    folder.mkdir(mode=0o700, parents=True)
    for name in (own_site.KEY, f"{own_site.KEY}.pub", "admins.toml", "lock.json"):
        target = folder / own.name / name
        replace(target, (own.files / name).read_bytes(), 0o600)
    inventory: Any = tomlkit.parse(own.path.read_text())
    inventory["site"]["files"] = str(folder / own.name)
    replace(folder / f"{own.name}.toml", tomlkit.dumps(inventory))
    replace(folder / f"{own.name}.py", own.path.with_suffix(".py").read_bytes())
    way = f"mainstay ssh --inventory {folder / own.name}.py {next(iter(own.fleet.hosts))}"
    one.hear.note(
        f"kept until {one.report.expires:%Y-%m-%d %H:%M} UTC, or `mainstay drill sweep {one.report.id}`: {way}"
    )
    one.kept = True


def version() -> str:
    """Of this clone; the control host has no git."""
    words = ["git", "-C", str(CLONE), "describe", "--always", "--dirty"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "as deployed"
