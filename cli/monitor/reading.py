"""`mainstay monitor journal`: what a host has written down, as the monitor host has it."""

import subprocess
from typing import Annotated

import typer

from backup.reach import reach
from cli.monitor.app import app
from cli.options import Inventory, chosen
from roles.monitor.tools import asking


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def journal(
    host: Annotated[str, typer.Argument(metavar="HOST", help="As the inventory calls it; one that is gone, too.")],
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[WORDS]...", help="For journalctl: --since=-1h, -u ssh.")
    ] = None,
    inventory: Inventory = None,
) -> None:
    """Read a host's journal on the monitor host: what somebody wiped there is here. Exit code as of ssh."""
    with reach(chosen(inventory)) as way:
        done = subprocess.run(asking.journal(way, host, words or []), check=False)
    raise typer.Exit(done.returncode)
