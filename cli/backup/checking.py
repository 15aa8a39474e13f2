"""`verify`: reading back."""

from functools import partial
from typing import Annotated

import typer

from backup import control
from backup.custody import DataSet
from backup.reach import reach
from backup.store import Store
from cli.backup.app import DataSetNames, app, each, say
from cli.options import FAILED, UNREACHABLE, Inventory, chosen


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
    with reach(site) as way, way.stores(say) as stores:
        control.collect(way, sets, say)
        sound = [each(sets, store, partial(_read, store, whole)) for store in stores.values()]
        missing = len(stores) < len(way.declared())
    raise typer.Exit(FAILED if not all(sound) else UNREACHABLE if missing else 0)


def _read(store: Store, whole: bool, data_set: DataSet) -> bool:
    return control.verify(store, data_set, whole, typer.echo)
