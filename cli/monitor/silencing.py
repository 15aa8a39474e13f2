"""`mainstay monitor silence`: nobody is told, for a while, as during a deploy."""

from typing import Annotated

import typer

from backup.reach import reach
from cli.monitor.app import app, failures
from cli.options import Inventory, chosen
from cli.ssh import must_be_there
from roles.monitor.tools import asking


@app.command()
def silence(
    why: Annotated[str, typer.Option(metavar="TEXT", help="For colleagues who look.")],
    host: Annotated[
        str | None, typer.Argument(metavar="[HOST]", help="As the inventory calls it; without, all of them.")
    ] = None,
    minutes: Annotated[int, typer.Option(min=1, max=1440, help="How long.")] = 60,
    inventory: Inventory = None,
) -> None:
    """Tell nobody of a host for a while. It ends by itself; what is wrong then is told.

    What fires is shown all the same, and the dead man's switch goes on. Prints the silence's id: `amtool silence expire
    ID` on the monitor host ends it sooner.
    """
    site = chosen(inventory)
    if host:
        must_be_there(site, host)
    with failures("silence"), reach(site) as way:
        typer.echo(asking.silence(way, host, minutes, why))
