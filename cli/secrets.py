"""`mainstay secrets`: what the repository holds encrypted."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli import lazy
from cli.options import FAILED, Inventory, agreed, chosen, stop
from inventories import departed, editing, identities
from inventories.command_line import as_given
from inventories.envelope import FILE
from inventories.errors import InputError
from inventories.inventory import LoadedSite
from inventories.secrets import CONTROL, CONTROL_KEY, Secrets, allowed, owners, stale

app = lazy.application()


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
        _strike(secrets, before, changes)
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
        typer.echo(f"that is kept in {departed.FILE}: `mainstay secrets rotate` goes on from there")


@app.command()
def rotate(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="Default: all that somebody knows who has left.")
    ] = None,
    sure: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    inventory: Inventory = None,
) -> None:
    """Replace what this project makes itself, and say of the rest where a person gets a new one.

    A data set's password is proved and deployed before the old one goes, as `backup rotate` does it. Of all others it
    says what is to be deployed. Broken off, it goes on when it is run again.
    """
    from backup import renewal  # what reaches hosts, which no other command here needs
    from backup.rotation import RotationError
    from cli.backup.app import failures

    site = chosen(inventory)
    known = departed.known(departed.read(site.files))
    for name in names or ():
        if name not in site.secrets and name not in known:
            raise InputError(site.secrets.path, name, "no such secret", f"it holds: {', '.join(site.secrets)}")
    wanted = renewal.ordered(names or known)
    renewal.check(site, wanted)
    found = [renewal.renewal(site, name) for name in wanted]
    own = [one for one in found if one.own]
    for one in found:
        typer.echo(f"{one.secret}: {one.how}")
    if not found:
        typer.echo("nobody who has left knows a secret; name those that are to be replaced all the same")
    if own:
        agreed("secrets", sure, f"Make new values of {len(own)}?")
    then: list[str] = []
    try:
        for one in own:
            with failures():
                renewal.renew(site, one.secret, typer.echo)
            then += one.then
    except RotationError as error:
        raise stop("secrets", error, FAILED) from None
    finally:
        _then(then, "deploy what is new, then commit:")
    _then([command for one in found if not one.own for command in one.then], "and once you have put in the others:")


@app.command()
def envelope(
    out: Annotated[Path, typer.Option(metavar="DIR", help="A folder for the pages, best in memory: /dev/shm/NAME.")],
    shares: Annotated[
        str,
        typer.Option(metavar="K/N", help="So many of so many open it, each on a page of its own. Default: one key."),
    ] = "1/1",
    inventory: Inventory = None,
) -> None:
    """Seal an envelope: pages to print, and a recipient more that every secret is encrypted to.

    For the day when no admin can open the secrets, or the repository's host is gone. Takes the place of an earlier one.
    """
    from backup.envelope import sealing  # what makes pages, which no other command here needs

    site = chosen(inventory)
    done = sealing.seal(site, *sealing.split(shares), out)
    record = done.record
    typer.echo(f"envelope {record.id}: {done.secrets} secrets can now be opened by it, too")
    for page in done.pages:
        typer.echo(f"print: {page}")
    if not record.repository:
        typer.secho("no second copy of a control host: the repository comes back from clones alone", fg="yellow")
    typer.echo("look that each page opens it, then seal them, and destroy the files and all earlier envelopes:")
    typer.echo(f"$ mainstay secrets recover FILE --inventory {as_given(site.path)}")
    typer.echo(f"$ rm -r {out}")
    typer.echo(f"commit {FILE} and {site.secrets.path.name}")


@app.command()
def recover(
    typed: Annotated[
        str, typer.Argument(metavar="[FILE]", help="The lines of an envelope's sheets, as typed. Default: stdin.")
    ] = "-",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the identity there. Without it, it is only tried.")
    ] = None,
    inventory: Inventory = None,
) -> None:
    """Open a sealed envelope by what was typed from its paper, and look whether all secrets open by it.

    Names each line that is wrong. Without an inventory, the sheet LETTER has to be typed too. Exit code 1: something
    does not open, or is not as the letter says.
    """
    from backup.envelope import opening

    site = chosen(inventory) if inventory else None
    if typed == "-" and sys.stdin.isatty():
        typer.echo("type the lines, then Ctrl-D; they stay on this screen: clear it afterwards", err=True)
    content = sys.stdin.read() if typed == "-" else opening.read(Path(typed))
    opened = opening.open_typed("what was typed" if typed == "-" else typed, content, site)
    typer.echo(f"envelope {opened.id} of {opened.sealed} is open")
    if out:
        opening.write(out, opened)
        typer.echo(f"$ export {identities.VARIABLE}={out}")
    if site:
        wrong = list(opening.differences(site, opened))
        for one in wrong:
            typer.secho(one, fg="red", err=True)
        if wrong:
            raise stop("secrets", "it is outdated: seal another one with `mainstay secrets envelope`", FAILED)
        typer.echo(f"all {len(site.secrets)} secrets open by it")


def _then(commands: list[str], words: str) -> None:
    if commands:
        typer.echo(words)
    for command in dict.fromkeys(commands):
        typer.echo(f"$ {command}")


def _strike(secrets: Secrets, before: Mapping[str, editing.Plain], changes: editing.Changes) -> None:
    """What got another value by hand. The control host's key did so only when it can be deployed: `backup keys`."""
    replaced = {
        name for name, new in changes.items() if name in before and (not new or new.value != before[name].value)
    }
    for name in departed.strike(secrets.path, replaced - {CONTROL_KEY}):
        note = f"{name}: who has left and knows {CONTROL_KEY} can read the new value too: replace that, then this again"
        typer.secho(note, fg="yellow", err=True)


def _note_stale(site: LoadedSite) -> None:
    entries = Secrets(site.secrets.path).entries
    if old := stale(entries, site.readers):
        note = f"not encrypted to exactly the present admins: {', '.join(old)}; run `mainstay secrets rekey`"
        typer.secho(note, fg="yellow", err=True)
