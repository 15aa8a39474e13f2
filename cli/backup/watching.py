"""`watch` and `mirror`: what the control host does by timer besides verifying and copying."""

from pathlib import Path
from typing import Annotated

import typer

from backup import mirror as mirrors
from backup import watch as watching
from cli.backup.app import app, failures, say
from cli.options import FAILED, Inventory, chosen


@app.command()
def watch(
    pages: Annotated[Path | None, typer.Option("--status", metavar="DIR", help="For backup.html, backup.json.")] = None,
    prometheus: Annotated[Path | None, typer.Option(metavar="FILE", help="For metrics, for node exporter.")] = None,
    inventory: Inventory = None,
) -> None:
    """Look at every data set and tell people what began to be wrong and what ended, each once.

    Exit code 1 when the look failed or somebody could not be told, not when backups are amiss.
    """
    site = chosen(inventory)
    with failures():
        told = watching.watch(site, watching.Places(pages, prometheus), say)
    raise typer.Exit(0 if told else FAILED)


@app.command()
def mirror(
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Where the mirrors lie.")] = mirrors.FOLDER,
    inventory: Inventory = None,
) -> None:
    """Fetch the git repositories that the control host mirrors. Exit code 1 when one failed; the others go on."""
    site = chosen(inventory)
    failed = mirrors.mirror_all(mirrors.declared(site), to, say)
    raise typer.Exit(FAILED if failed else 0)
