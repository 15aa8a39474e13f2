"""`rollback`: a release that is on all servers already."""

from typing import Annotated

import typer

from cli.options import ForPrograms, Inventory, Without, chosen
from cli.web.app import Asked, Dry, app, failures, run, tell
from roles.web.tools import publish as publishing


@app.command()
def rollback(
    release: Annotated[str, typer.Argument(metavar="[ID]", help="As `status` names it; default: the one before.")] = "",
    without: Without = None,
    dry: Dry = False,
    for_programs: ForPrograms = False,
    inventory: Inventory = None,
) -> None:
    """Go back to an earlier release, message and all, on all servers at once. Killed, it is run again."""
    with failures("rollback"), run(chosen(inventory), without, dry=dry) as started:
        change = publishing.rollback(started, release)
    tell(change, Asked(without, dry, for_programs), f"`mainstay web rollback {change.id}`")
