"""`mainstay status`: the whole site on one page, first what needs a person now."""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import BAD_USAGE, ForPrograms, Inventory, chosen, stop

if TYPE_CHECKING:
    from status.site import Whole

EVERY_S = 60
INTERRUPTED = 130
"""Exit code, as shells have it."""
Page = Annotated[Path | None, typer.Option(metavar="FILE", help="Also as a page that needs nothing else.")]
Watch = Annotated[bool, typer.Option("--watch", help="Look again each minute, until Ctrl-C.")]


def status(
    for_programs: ForPrograms = False, html: Page = None, watch: Watch = False, inventory: Inventory = None
) -> None:
    """Show the whole site: hosts, drift, deploys, backups, drills, releases and more; first what needs a person now.

    Reads, and changes nothing. What cannot be seen is told first. Exit codes: 0 nothing needs a person, 3 something
    cannot be seen, else that of the worst finding: 10 to 36 of backups, as `backup status` has them, 51 web servers
    differ, 1 another.
    """
    if watch and for_programs:
        raise stop("status", "--watch is for people, --json for programs: give one of them", BAD_USAGE)
    site = chosen(inventory)
    from status.site import for_programs as as_text
    from status.site import look

    try:
        while True:
            whole = look(site)
            if html:
                from status.page import write

                write(html, whole)
            if for_programs:
                typer.echo(as_text(whole))
            else:
                _show(whole, redraw=watch)
            if not watch:
                break
            time.sleep(EVERY_S)
    except KeyboardInterrupt:
        _end(0 if watch else INTERRUPTED, at_once=True)
    _end(whole.exit_code, at_once=whole.late)


def _show(whole: "Whole", *, redraw: bool) -> None:
    from rich.console import Console

    from status.text import show

    console = Console(highlight=False)
    if redraw:
        console.clear()
    show(whole, console)


def _end(code: int, *, at_once: bool = False) -> None:
    """at_once: something may still be asked, which Python would wait for."""
    if at_once:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise typer.Exit(code)
