"""What the commands of `mainstay backup` share."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

from backup import control, record
from backup.custody import CONTROL, DataSet
from backup.ledger import LedgerError
from backup.reach import Unreachable, reach
from backup.restic_process import NoRepository, ResticError
from backup.store import Store
from backup.trouble import said
from cli import lazy
from cli.options import BAD_USAGE, FAILED, UNREACHABLE, stop
from inventories.errors import InputError
from inventories.inventory import LoadedSite

COMMANDS = {
    "status": "looking",
    "run": "saving",
    "restore": "restoring",
    "verify": "checking",
    "copy": "copying",
    "retain": "removing",
    "accept": "keeping",
    "forget": "keeping",
    "keys": "saving",
    "rotate": "keeping",
    "restic": "repairing",
    "rebuild": "copying",
    "collect": "recording",
    "settle": "recording",
    "note": "recording",
    "watch": "watching",
    "mirror": "watching",
}
"""The module of each, as an admin needs them."""


app = lazy.commands(
    "cli.backup",
    COMMANDS,
    "Exit codes: 0 done, 1 failed, 2 bad usage or bad input, 3 unreachable; status: 10 to 34, the worst finding.",
)
DataSetName = Annotated[str, typer.Argument(metavar="DATA_SET", help="HOST:PLAN, like release-1:release.")]
DataSetNames = Annotated[list[str] | None, typer.Argument(metavar="DATA_SET...", help="HOST:PLAN; default: all.")]


def say(text: str) -> None:
    """For people, apart from what a command prints."""
    typer.echo(text, err=True)


@contextmanager
def failures() -> Iterator[None]:
    """Turns what may go wrong on the way into words and an exit code."""
    try:
        yield
    except Unreachable as error:
        raise stop("backup", error, UNREACHABLE) from None
    except (ResticError, LedgerError, OSError) as error:
        raise stop("backup", error, FAILED) from None


def in_each_store(
    site: LoadedSite, data_sets: Sequence[DataSet], work: Callable[[Store, DataSet], bool], listener: str = CONTROL
) -> typer.Exit:
    """Does the work on each data set in the vault and in the second copy; returns what to raise."""
    with reach(site) as way, way.stores(say, listener) as stores:
        control.collect(way, data_sets, say)
        try:
            codes = {code for store in stores.values() for code in each(data_sets, store, work)}
        finally:
            record.hand_over(site, say)
        missing = {UNREACHABLE} if len(stores) < len(way.declared()) else {0}
    return typer.Exit(next(code for code in (FAILED, BAD_USAGE, UNREACHABLE, 0) if code in codes | missing))


def each(data_sets: Sequence[DataSet], store: Store, work: Callable[[Store, DataSet], bool]) -> Iterator[int]:
    """Does the work on each, and goes on where it fails; yields the exit codes that say how it went.

    A second copy that nothing was copied to yet is passed over: `status` tells when it is late.
    """
    for one in data_sets:
        try:
            yield 0 if work(store, one) else FAILED
        except Exception as error:
            if isinstance(error, NoRepository) and control.is_to_be_begun(store, one):
                say(f"{one} in {store.words}: nothing was copied there yet")
                continue
            say(f"{one} in {store.words}: {said(error)}")
            yield BAD_USAGE if isinstance(error, InputError) else FAILED
