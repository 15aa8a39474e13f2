"""`keys` and `run`: how data gets into the vault."""

import subprocess
import sys

import typer

from backup import control, custody
from backup.reach import SSH_FAILED, reach
from cli.backup.app import DataSetName, app
from cli.options import FAILED, UNREACHABLE, Inventory, chosen
from cli.ssh import must_be_there


@app.command()
def keys(inventory: Inventory = None) -> None:
    """Make the passwords, keys and public files that are missing.

    Changes no value that is there, and prints none. What the control host may read is encrypted to it as well.
    """
    site = chosen(inventory)
    names = custody.make(site)
    for name in names:
        typer.echo(f"{name}: {'now for the control host too' if name in site.secrets else 'made'}")
    if not names:
        typer.echo("nothing is missing")


@app.command()
def run(data_set: DataSetName, inventory: Inventory = None) -> None:
    """Save a data set now, on its host, with progress.

    Ctrl-C breaks it off cleanly. Exit code 1 also when it is incomplete, or another run is at it.
    """
    site = chosen(inventory)
    [one] = control.wanted(site, [data_set])
    must_be_there(site, one.host)
    with reach(site) as way:
        words = way.agent(one.host, "run", one.plan)
        terminal = ["-t"] if sys.stdout.isatty() and sys.stdin.isatty() else []
        code = subprocess.run([words[0], *terminal, *words[1:]], check=False).returncode
    raise typer.Exit(UNREACHABLE if code == SSH_FAILED else FAILED if code else 0)
