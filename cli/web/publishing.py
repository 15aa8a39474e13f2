"""`publish` and `message`: a whole website, or what phones are told, on all servers at once."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from backup.sizes import counted
from cli.options import ForPrograms, Inventory, Without, chosen
from cli.web.app import NOT_PUBLISHABLE, Asked, Dry, app, failures, run, tell
from inventories.inventory import LoadedSite
from roles.web.tools import publish as publishing
from roles.web.tools.content import problems, read, read_message
from roles.web.tools.site import ROLE, settings


@app.command()
def publish(
    folder: Annotated[Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="The site as built.")],
    replace_message: Annotated[
        bool, typer.Option("--replace-message", help="Though a message was published alone since.")
    ] = False,
    without: Without = None,
    dry: Dry = False,
    for_programs: ForPrograms = False,
    inventory: Inventory = None,
) -> None:
    """Publish a website on all servers at once, once every one of them holds and has read all of it.

    It is checked before anything is touched: exit code 50 when it is not publishable. Killed, it is run again.
    """
    site = chosen(inventory)
    if found := _problems(site, folder):
        if for_programs:
            typer.echo(json.dumps({"publishable": False, "problems": found}, indent=2))
        else:
            for line in found:
                typer.echo(line)
            typer.secho(f"not publishable: {counted(len(found), 'problem')}", fg="red", err=True)
        raise typer.Exit(NOT_PUBLISHABLE)
    with failures("publish"), TemporaryDirectory() as scratch, run(site, without, dry=dry) as started:
        content = read(folder, Path(scratch))
        change = publishing.publish(started, content, replace_message=replace_message)
    tell(change, Asked(without, dry, for_programs))


def _problems(site: LoadedSite, folder: Path) -> list[str]:
    """For any of the servers: redirects are a server's own."""
    names = {name for host in site.fleet.with_role(ROLE).values() for name in host.dns}
    found: dict[str, None] = {}
    for one in settings(site).values():
        found |= dict.fromkeys(problems(folder, one.places(), names))
    return list(found)


@app.command()
def message(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="What phones are told.")],
    without: Without = None,
    dry: Dry = False,
    for_programs: ForPrograms = False,
    inventory: Inventory = None,
) -> None:
    """Publish `/.messages/latest.txt` alone: what is served, with this message. `rollback` takes it back."""
    site = chosen(inventory)
    with failures("message"), TemporaryDirectory() as scratch, run(site, without, dry=dry) as started:
        change = publishing.message(started, read_message(file, Path(scratch)))
    tell(change, Asked(without, dry, for_programs))
