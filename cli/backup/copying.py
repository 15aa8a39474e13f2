"""`copy` and `rebuild`: between the vault and the second copy."""

from collections.abc import Callable
from contextlib import ExitStack

import typer
from rich.console import Console

from backup import control, copying, record
from backup.custody import DataSet
from backup.reach import Unreachable, reach
from backup.restic_process import NoRepository
from backup.store import COPY, VAULT, Store
from backup.trouble import said
from cli.backup.app import DataSetNames, app, failures, say
from cli.options import BAD_USAGE, FAILED, Inventory, chosen, stop

Work = Callable[[Store, Store, DataSet, Callable[[str], None]], str]


@app.command()
def copy(data_sets: DataSetNames = None, inventory: Inventory = None) -> None:
    """Bring the backups that the second copy lacks there, the newest first.

    Run again, it goes on where it stopped. Exit code 1 when any data set could not be copied; the others are.
    """
    _between(VAULT, COPY, copying.to_copy, data_sets, inventory)


@app.command()
def rebuild(data_sets: DataSetNames = None, inventory: Inventory = None) -> None:
    """Fill a new, empty vault from the second copy.

    After provision and deploys/vault.py: docs/runbooks/vault-lost.md.

    A data set of which the vault holds what the second copy lacks is left alone; exit code 1.
    """
    _between(COPY, VAULT, copying.to_vault, data_sets, inventory)


def _between(source: str, target: str, work: Work, names: DataSetNames, inventory: Inventory) -> None:
    site = chosen(inventory)
    sets = control.wanted(site, names or [])
    if not site.fleet.backup.copy_:
        hint = f"declare [backup.copy] in {site.path}: see roles/vault/README.md"
        raise stop("backup", f"this site has no second copy; {hint}", BAD_USAGE)
    with failures(), ExitStack() as stack:
        way = stack.enter_context(reach(site))
        control.collect(way, sets, say)
        begin, end = (stack.enter_context(way.store(name)) for name in (source, target))
        shown = stack.enter_context(Console(stderr=True).status(""))

        def one(data_set: DataSet) -> bool:
            def tell(text: str) -> None:
                shown.update(f"{data_set}: {text}")

            try:
                typer.echo(f"{data_set}: {work(begin, end, data_set, tell)}")
            except Unreachable:
                raise
            except NoRepository:
                why = f"{begin.words} has no repository of it"
            except copying.Refused as error:
                why = str(error)
            except Exception as error:
                why = said(error)
            else:
                return True
            typer.echo(f"{data_set}: FAILED: {why}")
            return False

        try:
            good = [one(data_set) for data_set in sets]
        finally:
            record.hand_over(site, say)
    raise typer.Exit(0 if all(good) else FAILED)
