"""Which drills live, and the end of what others have left at the provider.

A drill lives while its process holds a file in its folder locked; that file goes when nothing is left of the drill.
What it made is removed by whoever finds that it died, or could not remove all: on the machine that it ran on at once,
by any other when its time is over, which its name says.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from backup.drills import account, book, own_site, verdict
from backup.drills.report import Made, Report
from inventories.errors import InputError
from inventories.inventory import KEPT_DRILLS, LoadedSite

RUNNING = ".running"
"""In a drill's folder."""
Say = Callable[[str], None]


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


def done_with(folder: Path) -> None:
    """Nothing is left of the drill, or what is left is meant to be."""
    (folder / RUNNING).unlink(missing_ok=True)


def lives(folder: Path) -> bool:
    """Whether a drill's process runs on this machine."""
    return _looked_at(folder)[0]


def dead(folder: Path) -> bool:
    """Whether a drill ran on this machine, is over, and may have left something."""
    return _looked_at(folder)[1]


def _looked_at(folder: Path) -> tuple[bool, bool]:
    try:
        lock = os.open(folder / RUNNING, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False, False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True, False
    else:
        return False, os.fstat(lock).st_nlink > 0  # else it ended just now, and had taken its file away
    finally:
        os.close(lock)


@dataclass(frozen=True)
class Swept:
    """What a sweep did. gone: what was removed; left: what could not be, in words; others: what is not to go yet."""

    gone: tuple[Made, ...]
    left: tuple[str, ...]
    others: tuple[account.Thing, ...]


def sweep(site: LoadedSite, drills: Sequence[str], say: Say) -> Swept:
    """Removes what dead drills have left: those whose time is over, and those that are over on this machine.

    drills: of these everything, unless their process lives. Reports of dead drills get their end. Raises InputError,
    CloudError.
    """
    folder, now = book.folder(site), datetime.now(UTC)
    for name in drills:
        if lives(folder / name):
            raise InputError("DRILL", name, "runs on this machine", "end it there (Ctrl-C): it cleans up by itself")
    here = {path.parent.name for path in folder.glob(f"*/{RUNNING}") if dead(path.parent)}
    # Read after that: one that has ended meanwhile has written its end.
    reports = {report.id: report for report in book.reports(folder, say)}
    there = account.look(account.client(site, say), own_site.declared(site).domain)
    sites = {thing.site: account.drill_of(thing.site) for thing in there}
    over = {name for name, drill in sites.items() if drill in {*drills, *here} or account.expires(name) <= now}
    over -= {name for name in over if lives(folder / sites[name])}
    died = {account.site_name(name, reports[name].expires) for name in here & reports.keys()}
    gone, left = account.destroy(site, over | died, say, unsure=bool(died)) if over | died else ([], [])
    ended = {sites[name] for name in over}
    for report in reports.values():
        if report.id in here or (report.id in ended and report.left):
            _bury(site, report, gone, now, sure=not left)
    others = tuple(thing for thing in there if thing.site not in over)
    return Swept(tuple(made for made in gone if made.gone), tuple(left), others)


def _bury(site: LoadedSite, report: Report, found: Sequence[Made], now: datetime, *, sure: bool) -> None:
    """Writes the end of a drill that had none, or of what was left of it. sure: nothing is left of any."""
    mine = account.site_name(report.id, report.expires)
    fresh = tuple(made for made in found if made.site == mine)
    known = {made.id for made in fresh}
    before = tuple(made for made in report.made if made.id not in known)
    if sure:
        before = tuple(made if made.gone else made.model_copy(update={"gone": now}) for made in before)
    values: dict[str, object] = {"made": (*before, *fresh)}
    if report.ended is None:
        left = [account.still(made) for made in fresh if made.gone is None]
        values |= verdict.judge(report, verdict.Died(), report.phase, "", behind=left) | {"ended": now}
    book.write(site, report.model_copy(update=values))
    if sure:
        with suppress(FileNotFoundError):
            shutil.rmtree(book.folder(site).with_name(KEPT_DRILLS) / report.id)
        done_with(book.folder(site) / report.id)
