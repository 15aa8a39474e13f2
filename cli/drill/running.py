"""`run` and `sweep`: drills, and the end of what they left."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock
from typing import Annotated

import typer
from rich.console import Console

from backup import control
from backup.custody import DataSet
from backup.drills import own_site
from backup.drills.report import PhaseRun, Report, outcome
from backup.sizes import counted
from backup.store import STORES
from cli.backup.app import failures
from cli.drill.app import app, say
from cli.ending import in_order
from cli.options import BAD_USAGE, FAILED, Inventory, chosen, stop
from inventories.inventory import CLONE, LoadedSite

AT_ONCE = 2
"""Drills of `--all`: more would only wait for each other."""
DRILL_BYTES = 768 << 20
"""Memory of the machine for each of them, of which a drill takes half: other work goes on."""
console = Console(stderr=True, highlight=False, soft_wrap=True)


class Told:
    """How a drill goes, a line a phase; on a terminal also what it is at."""

    def __init__(self, data_set: str, *, yes: bool) -> None:
        self.data_set, self.yes = data_set, yes
        self.status = console.status("") if console.is_terminal else None

    def phase(self, name: str) -> None:
        if self.status:
            self.status.start()
        self._at(name)
        if name == "destroy":  # comes to its end, also when the drill is ended meanwhile
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def progress(self, fraction: float, words: str) -> None:
        self._at(words)

    def _at(self, words: str) -> None:
        if self.status:
            self.status.update(f"{self.data_set}: {words}")

    def ended(self, run: PhaseRun) -> None:
        budget = f" of {run.budget_s:,.0f} s" if run.budget_s else ""
        lines = "; ".join(run.told)
        failed = "" if run.ok else " FAILED"
        self._line(f"{run.name:<8} {run.seconds:6.1f} s{budget}{failed}{f': {lines}' if lines else ''}")
        if self.status:
            self.status.stop()

    def agree(self, question: str) -> bool:
        if self.yes:
            self._line(question)
            return True
        if not sys.stdin.isatty():
            return False
        if self.status:
            self.status.stop()
        return typer.confirm(f"{question}. Go on?", err=True)

    def note(self, text: str) -> None:
        self._line(f"  {text}")

    def _line(self, text: str) -> None:
        console.print(f"{self.data_set}  {text}", markup=False)


@app.command("run")
def run_(
    data_sets: Annotated[
        list[str] | None, typer.Argument(metavar="DATA_SET...", help="HOST:PLAN, or PLAN of all hosts that have it.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every data set of the site.")] = False,
    snapshot: Annotated[str, typer.Option(metavar="ID", help="Default: the newest complete one.")] = "",
    copy: Annotated[str, typer.Option(metavar="WHICH", help="Where from: vault (default) or second.")] = "vault",
    full: Annotated[bool, typer.Option("--full", help="All of it, also of what is larger than a drill.")] = False,
    fallback: Annotated[bool, typer.Option("--fallback", help="An older backup will do, if need be.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the host until the drill expires.")] = False,
    negative: Annotated[bool, typer.Option("--negative", help="Plant a fault, the next in turn: is it found?")] = False,
    fault: Annotated[str, typer.Option(metavar="NAME", help="Plant this one.")] = "",
    both: Annotated[bool, typer.Option("--both", help="As it is; after that once more, --negative.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask about size and cost of --full.")] = False,
    inventory: Inventory = None,
) -> None:
    """Restore a backup on a host of its own, start the service there, check it, and destroy it all again.

    Needs the drills' account (drill, in the inventory) and restic here; nothing of production is touched.
    """
    site = chosen(inventory)
    if copy not in STORES:
        raise stop("drill", f"--copy {copy}: must be one of {', '.join(STORES)}", BAD_USAGE)
    wanted = _wanted(site, data_sets or (), every=every)
    several = len(wanted) > 1 or both
    if several and (snapshot or fault):
        raise stop("drill", "a snapshot or a fault is of one data set: name that alone", BAD_USAGE)
    if several:
        given = {"--full": full, "--fallback": fallback, "--keep": keep, "--yes": yes}
        options = ["--inventory", str(site.path), "--copy", copy, *(name for name, wish in given.items() if wish)]
        codes = [] if negative and not both else [_each(wanted, options)]
        if negative or both:
            faulty = [one for one in wanted if own_site.drill_of(one.plan).faults]
            codes.append(_each(faulty, [*options, "--negative"]))
        raise typer.Exit(max(codes))
    from backup.drills import course, run  # these bring pyinfra along, which nothing else here waits for
    from cli.drilling import carry_out

    order = course.Order(wanted[0], STORES[copy], snapshot, full, fallback, keep, fault)
    with failures(), in_order():
        order = run.with_fault(site, order, say) if negative and not fault else order
        report = carry_out(site, order, yes=yes)
    raise typer.Exit(outcome(report.outcome or "").code)


@app.command()
def site(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the hosts until the drill expires.")] = False,
    inventory: Inventory = None,
) -> None:
    """Lose the whole site, and bring it back from the second copy alone: a game day.

    Every host is made anew in the drills' account, under names of its own; nothing of production is touched. What is
    left for people to do in the real event comes out as a list, with the times that were measured.
    """
    from backup.drills import checklist, whole_site

    loaded = chosen(inventory)
    with failures(), in_order():
        report = whole_site.drill(loaded, Told("site", yes=True), keep=keep)
    tell(report)
    typer.echo(checklist.write(loaded, report))
    raise typer.Exit(outcome(report.outcome or "").code)


@app.command()
def sweep(
    drills: Annotated[list[str] | None, typer.Argument(metavar="DRILL...", help="All of these, at once.")] = None,
    inventory: Inventory = None,
) -> None:
    """Remove what dead drills have left at the provider: those that died here, those whose time is over, those named.

    Exit code 1 when something could not be removed.
    """
    from backup.drills import account, sweeping

    site = chosen(inventory)
    with failures(), in_order():
        swept = sweeping.sweep(site, drills or (), say)
    for problem in swept.left:
        say(problem)
    for thing in swept.others:
        until = f"{account.expires(thing.site):%Y-%m-%d %H:%M} UTC"
        say(f"{thing.kind} {thing.name} of drill {account.drill_of(thing.site)} stays until {until}")
    typer.echo(f"{counted(len(swept.gone), 'thing')} removed" if swept.gone else "nothing to remove")
    raise typer.Exit(FAILED if swept.left else 0)


def _each(wanted: Sequence[DataSet], options: Sequence[str]) -> int:
    """A process each, so many at a time as there is memory for; returns the worst exit code."""

    def one(data_set: DataSet) -> int:
        words = [sys.executable, "-m", "cli.main", "drill", "run", str(data_set), *options]
        with starting:
            if over.is_set():
                return 0
            running = subprocess.Popen(words, cwd=CLONE, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            under_way.append(running)
        with running:
            code = running.wait()
        return code if code >= 0 else 128 - code  # as a shell has it of one that was killed

    under_way: list[subprocess.Popen[bytes]] = []
    starting, over = Lock(), Event()
    with ThreadPoolExecutor(_at_once()) as pool:
        ended = [pool.submit(one, data_set) for data_set in wanted]
        try:
            with in_order():
                return max((future.result() for future in ended), default=0)
        except BaseException:
            with starting:
                over.set()
            for running in under_way:
                running.terminate()
            raise


def _at_once() -> int:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(AT_ONCE, memory // DRILL_BYTES))


def _wanted(site: LoadedSite, names: Sequence[str], *, every: bool) -> list[DataSet]:
    """A plan alone is that of each host that has it."""
    if every == bool(names):
        raise stop("drill", "name data sets, or give --all", BAD_USAGE)
    there = control.wanted(site, ())
    found: list[DataSet] = []
    for name in names:
        found += [one for one in there if one.plan == name] or control.wanted(site, [name])
    return list(dict.fromkeys(found)) if names else there


def tell(report: Report) -> None:
    result = outcome(report.outcome or "")
    found = f", {report.fault} was found" if report.caught else ""
    colour = "green" if not result.code else "red"
    console.print(f"[{colour}]{report.data_set}: {result.word}[/{colour}]{found}: {result.meaning}")
    if report.why:
        console.print(f"  {report.why}", markup=False)
    if report.next_step:
        console.print(f"  {report.next_step}", markup=False)
    typer.echo(report.id)
