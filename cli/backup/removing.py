"""`retain`: what only an admin may do, with the credential that deletes."""

from typing import Annotated

import typer

from backup import control
from backup.custody import ADMIN, DataSet
from backup.retention import MAX_SHARE
from backup.store import Store
from cli.backup.app import DataSetNames, app, in_each_store, say
from cli.options import Inventory, chosen


@app.command()
def retain(
    data_sets: DataSetNames = None,
    dry: Annotated[bool, typer.Option("--dry", help="Show what would go and why; remove nothing.")] = False,
    max_share: Annotated[
        float, typer.Option(min=0, max=1, help="Most of a data set's snapshots that may go.")
    ] = MAX_SHARE,
    inventory: Inventory = None,
) -> None:
    """Remove the snapshots that plans no longer keep, from the vault and from the second copy.

    Each data set in each of the two by itself, and not where one is missing, damaged or back-dated, or is not verified.
    """
    site = chosen(inventory)
    sets = control.wanted(site, data_sets or [])

    def thin_out(store: Store, one: DataSet) -> bool:
        planned = control.plan_retention(store, one, max_share)
        typer.echo(f"{store.words}: {planned.dry()}")
        if not dry and not planned.refused:
            control.retain(store, one, planned, say)
        return not planned.refused

    raise in_each_store(site, sets, thin_out, ADMIN)
