"""`verify`: reading back."""

from typing import Annotated

import typer

from backup import control
from backup.custody import DataSet
from backup.store import Store
from cli.backup.app import DataSetNames, app, in_each_store
from cli.options import Inventory, chosen


@app.command()
def verify(
    data_sets: DataSetNames = None,
    whole: Annotated[bool, typer.Option("--all", help="Everything, not only what is due.")] = False,
    inventory: Inventory = None,
) -> None:
    """Read back what is due in the vault and in the second copy, so that every pack is read within 30 days.

    Damage names the files it hits. Exit code 1 on damage, 3 when one of the two does not answer.
    """
    site = chosen(inventory)
    sets = control.wanted(site, data_sets or [])

    def read(store: Store, one: DataSet) -> bool:
        return control.verify(store, one, whole, typer.echo)

    raise in_each_store(site, sets, read)
