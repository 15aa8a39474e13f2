"""Which drills live, and the end of what others have left at the provider.

A drill lives while its process holds its folder locked. What it made is removed by whoever finds that it died: on the
machine that it ran on at once, by any other when its time is over, which its name says.
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
from inventories.inventory import LoadedSite

RUNNING = ".running"
"""In a drill's folder."""
KEPT = "kept-drills"
"""Beside the reports: the ways into hosts that are kept."""
Say = Callable[[str], None]


@contextmanager
def alive(folder: Path) -> Iterator[None]:
    """Holds a drill's folder locked, which a killed process lets go of."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / RUNNING, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
        (folder / RUNNING).unlink()
    finally:
        os.close(lock)


def lives(folder: Path) -> bool:
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


@dataclass(frozen=True)
class Swept:
    """What a sweep did. gone: what was removed; left: what could not be, in words; others: what is not to go yet."""

    gone: tuple[Made, ...]
    left: tuple[str, ...]
    others: tuple[account.Thing, ...]


def sweep(site: LoadedSite, drills: Sequence[str], say: Say) -> Swept:
    """Removes what dead drills have left: those whose time is over, and those that died on this machine.

    drills: of these everything, unless their process lives. Reports of dead drills get their end. Raises InputError,
    CloudError.
    """
    folder, now = book.folder(site), datetime.now(UTC)
    reports = {report.id: report for report in book.reports(folder, say)}
    for name in drills:
        if lives(folder / name):
            raise InputError("DRILL", name, "runs on this machine", "end it there (Ctrl-C): it cleans up by itself")
    there = account.look(account.client(site, say), own_site.declared(site).domain)
    sites = {thing.site: account.drill_of(thing.site) for thing in there}
    over = {name for name, drill in sites.items() if drill in drills or account.expires(name) <= now}
    over |= {name for name, drill in sites.items() if _died(folder, reports.get(drill))}
    over -= {name for name in over if lives(folder / sites[name])}
    gone, left = account.destroy(site, over, say) if over else ([], [])
    ended = {sites[name] for name in over}
    for report in reports.values():
        if _died(folder, report) or (report.id in ended and report.left):
            _bury(site, report, gone, left, now)
    others = tuple(thing for thing in there if thing.site not in over)
    return Swept(tuple(gone), tuple(left), others)


def _died(folder: Path, report: Report | None) -> bool:
    """Whether it ran on this machine, and has no end."""
    return report is not None and report.ended is None and not lives(folder / report.id)


def _bury(site: LoadedSite, report: Report, gone: Sequence[Made], left: Sequence[str], now: datetime) -> None:
    """Writes the end of a drill that had none, or of what it kept."""
    mine = account.site_name(report.id, report.expires)
    found = tuple(made for made in gone if made.gone and made.site == mine)
    known = {made.id for made in found}
    kept = tuple(made for made in report.made if made.id not in known)
    values: dict[str, object] = {"made": (*kept, *found)}
    if report.ended is None:
        values |= verdict.judge(report, verdict.Died(), report.phase, "", behind=left) | {"ended": now}
    book.write(site, report.model_copy(update=values))
    with suppress(FileNotFoundError):
        shutil.rmtree(book.folder(site).with_name(KEPT) / report.id)
    (book.folder(site) / report.id / RUNNING).unlink(missing_ok=True)
