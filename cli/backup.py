"""`mainstay backup`: what is saved, where, and whether it can be trusted."""

import typer

from backup import custody
from cli.options import Inventory, chosen

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def _root() -> None:
    """Keeps `keys` a subcommand while it is the only one."""


@app.command()
def keys(inventory: Inventory = None) -> None:
    """Make the vault's certificate and the passwords that are missing. Changes none that is there, prints no value."""
    made = custody.make(chosen(inventory))
    for name in made:
        typer.echo(f"{name}: made")
    if not made:
        typer.echo("nothing is missing")
