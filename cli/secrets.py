"""`mainstay secrets`: what the repository holds encrypted."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.options import Inventory, chosen
from inventories import editing
from inventories.errors import InputError
from inventories.inventory import LoadedSite
from inventories.secrets import CONTROL, Secrets, allowed, owners, stale

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def edit(inventory: Inventory = None) -> None:
    """Open the secrets in $EDITOR, in memory; encrypt what was changed to all admins, and to whom its tags allow."""
    site = chosen(inventory)
    secrets, readers = site.secrets, site.readers
    before = editing.decrypted(secrets)
    text = editing.render(secrets, before, readers)
    while True:
        text = editing.edit(text)
        try:
            changes = editing.changes(before, editing.parse(secrets.path, text))
            break
        except InputError as error:
            if not sys.stdin.isatty():
                raise
            typer.secho(f"mainstay: {error}", fg="red", err=True)
            if not typer.confirm("Edit again? (no: nothing is changed)", default=True):
                raise typer.Exit(2) from None
    if changes:
        editing.apply(secrets.path, secrets.entries, changes, readers)
    for name, new in changes.items():
        typer.echo(f"{name}: {'removed' if new is None else 'changed' if name in secrets else 'added'}")
    if not changes:
        typer.echo("nothing changed")
    _note_stale(site)


@app.command()
def show(
    name: Annotated[str | None, typer.Argument(help="Whose value to print. Without it, only names.")] = None,
    file: Annotated[Path | None, typer.Option(help="Another file, such as the one a refused edit left.")] = None,
    inventory: Inventory = None,
) -> None:
    """Print the names of the secrets, or the value of the one that is named."""
    secrets = chosen(inventory).secrets
    if file:
        secrets = secrets.at(file)
    if name is None:
        for known in secrets:
            typer.echo(known)
    else:
        value = secrets[name].get_secret_value()
        typer.echo(value, nl=not value.endswith("\n"))


@app.command("list")
def list_(inventory: Inventory = None) -> None:
    """Show each secret's tags, who can read it, and whether you can. Decrypts nothing."""
    site = chosen(inventory)
    old = stale(site.secrets.entries, site.readers)
    table = Table("name", "tags", "readers", "you")
    for name in site.secrets:
        entry = site.secrets.entries[name]
        readers = ", ".join(owners(entry)) + (" (not the present admins)" if name in old else "")
        table.add_row(name, ", ".join(entry.tags), readers, "yes" if site.secrets.readable(name) else "no")
    Console(highlight=False).print(table)
    _note_stale(site)


@app.command()
def rekey(inventory: Inventory = None) -> None:
    """Encrypt every secret afresh to the present admins. Needs a key that reads all of them."""
    site = chosen(inventory)
    secrets, readers = site.secrets, site.readers
    plain = {name: editing.Plain(secrets[name].get_secret_value(), secrets.entries[name].tags) for name in secrets}
    editing.apply(secrets.path, secrets.entries, plain, readers)
    typer.echo(f"{len(plain)} secrets can now be read by: {', '.join(sorted(allowed(readers, ())))}")
    if CONTROL in readers and (shared := secrets.shared()):
        typer.echo(f"{len(shared)} of them by the control host too: {', '.join(shared)}")
    for gone in sorted({owner for entry in secrets.entries.values() for owner in owners(entry)} - readers.keys()):
        knows = ", ".join(name for name in secrets if gone in owners(secrets.entries[name]))
        typer.secho(f"{gone} has been able to read these: replace them where they are issued: {knows}", fg="yellow")


def _note_stale(site: LoadedSite) -> None:
    entries = Secrets(site.secrets.path).entries
    if old := stale(entries, site.readers):
        note = f"not encrypted to exactly the present admins: {', '.join(old)}; run `mainstay secrets rekey`"
        typer.secho(note, fg="yellow", err=True)
