"""`keys` and `run`: how data gets into the vault."""

import subprocess
import sys

import typer

from backup import control, custody
from backup.reach import reach
from cli.backup.app import DataSetName, app
from cli.options import FAILED, UNREACHABLE, Inventory, chosen

SSH_FAILED = 255


@app.command()
def keys(inventory: Inventory = None) -> None:
    """Make the passwords and the vault's certificate that are missing.

    Changes none that is there, prints no value.
    """
    made = custody.make(chosen(inventory))
    for name in made:
        typer.echo(f"{name}: made")
    if not made:
        typer.echo("nothing is missing")


@app.command()
def run(data_set: DataSetName, inventory: Inventory = None) -> None:
    """Save a data set now, on its host, with progress.

    Ctrl-C breaks it off cleanly.
    """
    site = chosen(inventory)
    [one] = control.wanted(site, [data_set])
    with reach(site) as way:
        words = way.agent(one.host, "run", one.plan)
        terminal = ["-t"] if sys.stdout.isatty() and sys.stdin.isatty() else []
        code = subprocess.run([words[0], *terminal, *words[1:]], check=False).returncode
    raise typer.Exit(UNREACHABLE if code == SSH_FAILED else FAILED if code else 0)
