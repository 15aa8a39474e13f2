"""`mainstay monitor alerts`: what is wrong now."""

import json
from dataclasses import asdict

import typer
from rich.console import Console

from backup.reach import reach
from cli.monitor.app import app, failures
from cli.options import ForPrograms, Inventory, chosen
from roles.monitor.tools import asking

WRONG = 56
"""Exit code: an alert fires that nobody has silenced."""


@app.command()
def alerts(for_programs: ForPrograms = False, inventory: Inventory = None) -> None:
    """What fires now, the worst first, and what is silenced. Exit code 56 when something fires."""
    site = chosen(inventory)
    with failures("alerts"), reach(site) as way:
        found = asking.alerts(way)
    if for_programs:
        typer.echo(json.dumps([asdict(one) for one in found], indent=2))
    else:
        console = Console(highlight=False, soft_wrap=True)
        for one in found:
            mark = "silenced " if one.silenced else ""
            console.print(f"{mark}{one.severity}: {one.name}: {one.summary}\n  {one.to_do}", markup=False)
        if not found:
            console.print("nothing fires")
    if any(not one.silenced for one in found):
        raise typer.Exit(WRONG)
