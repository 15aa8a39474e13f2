"""`verify`: reading back."""

from typing import Annotated

import typer

from backup import control
from backup.reach import reach
from cli.backup.app import DataSetNames, app, failures, say
from cli.options import FAILED, Inventory, chosen


@app.command()
def verify(
    data_sets: DataSetNames = None,
    whole: Annotated[bool, typer.Option("--all", help="Everything, not only what is due.")] = False,
    inventory: Inventory = None,
) -> None:
    """Read back what is due of each repository, so that every pack is read within 30 days.

    Damage names the files it hits; exit code 1.
    """
    site = chosen(inventory)
    sets = control.wanted(site, data_sets or [])
    with failures(), reach(site) as way:
        control.collect(way, sets, say)
        with way.vault() as vault:
            sound = [control.verify(vault, one, whole, typer.echo) for one in sets]
    raise typer.Exit(0 if all(sound) else FAILED)
