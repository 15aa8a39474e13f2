"""`retain`: what only an admin may do, with the credential that deletes."""

from typing import Annotated

import typer

from backup import control
from backup.custody import ADMIN
from backup.reach import reach
from backup.retention import MAX_SHARE
from cli.backup.app import DataSetNames, app, failures, say
from cli.options import FAILED, Inventory, chosen


@app.command()
def retain(
    data_sets: DataSetNames = None,
    dry: Annotated[bool, typer.Option("--dry", help="Show what would go and why; remove nothing.")] = False,
    max_share: Annotated[float, typer.Option(help="Most of a data set's snapshots that may go, 0 to 1.")] = MAX_SHARE,
    inventory: Inventory = None,
) -> None:
    """Remove the snapshots that plans no longer keep, unless anything is amiss."""
    site = chosen(inventory)
    sets = control.wanted(site, data_sets or [])
    refused = False
    with failures(), reach(site) as way:
        control.collect(way, sets, say)
        with way.vault(ADMIN) as vault:
            for one in sets:
                planned = control.plan_retention(vault, one, max_share)
                typer.echo(planned.dry())
                refused |= bool(planned.refused)
                if not dry and not planned.refused:
                    control.retain(vault, one, planned)
    raise typer.Exit(FAILED if refused else 0)
