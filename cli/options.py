"""Options that several subcommands share."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inventories.errors import InputError

if TYPE_CHECKING:
    from inventories.inventory import LoadedSite

FAILED, BAD_USAGE, UNREACHABLE = 1, 2, 3
"""Exit codes."""
Inventory = Annotated[
    Path | None,
    typer.Option("--inventory", envvar="MAINSTAY_INVENTORY", help="The site, like inventories/prod.py. No default."),
]

Without = Annotated[
    list[str] | None, typer.Option(metavar="SERVER", help="Leave it out: it is down, and catches up later.")
]
ForPrograms = Annotated[bool, typer.Option("--json", help="For programs.")]


def chosen(inventory: Path | None) -> "LoadedSite":
    """The site that was named. Raises InputError when none was: no command goes to a site by default."""
    from inventories.inventory import available, check_files, load_site  # brings pydantic along, and commands that
    # are called for each package that is signed ask for no site

    if inventory is None:
        hint = f"give --inventory or set MAINSTAY_INVENTORY to one of: {', '.join(available())}"
        raise InputError("--inventory", "", "which site? none is the default", hint)
    site = load_site(inventory)
    check_files(site)
    return site


def stop(command: str, message: object, code: int) -> typer.Exit:
    """Says why a command ends, and returns what to raise."""
    typer.secho(f"mainstay {command}: {message}", fg="red", err=True)
    return typer.Exit(code)


def agreed(command: str, sure: bool, question: str = "Make these changes?") -> None:
    """Ends a command that changes things when nobody agrees. sure: somebody said so beforehand."""
    if sure:
        return
    if not sys.stdin.isatty():
        raise stop(command, "nothing was changed: there is nobody to ask; --yes answers", BAD_USAGE)
    typer.confirm(question, abort=True, err=True)
