"""`rollback`: a release that is on all servers already."""

from typing import Annotated

import typer

from cli.options import Inventory, chosen
from cli.web.app import Dry, Json, app, failures, run, tell
from roles.web.tools import publish as publishing


@app.command()
def rollback(
    release: Annotated[str, typer.Argument(metavar="[ID]", help="As `status` names it; default: the one before.")] = "",
    dry: Dry = False,
    for_programs: Json = False,
    inventory: Inventory = None,
) -> None:
    """Go back to an earlier release, message and all, on all servers at once. Killed, it is run again."""
    with failures("rollback"), run(chosen(inventory), dry=dry) as started:
        change = publishing.rollback(started, release)
    tell(change, dry=dry, for_programs=for_programs)
