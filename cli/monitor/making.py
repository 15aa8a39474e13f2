"""`mainstay monitor keys`: the authority by which hosts and the monitor host know each other."""

import typer

from cli.monitor.app import app
from cli.options import Inventory, chosen
from inventories import monitoring


@app.command()
def keys(inventory: Inventory = None) -> None:
    """Make the key and the certificate of it that are missing: once for a site, whatever hosts are added."""
    site = chosen(inventory)
    made = monitoring.make(site)
    for name in made:
        typer.echo(f"{name}: made")
    if not made:
        typer.echo("nothing is missing")
