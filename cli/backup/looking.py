"""`status`: how all data sets are."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from backup import control, metrics, page
from backup.status import as_json, as_table, as_text, exit_code
from backup.watch import survey
from cli.backup.app import DataSetNames, app, say
from cli.options import BAD_USAGE, ForPrograms, Inventory, chosen, stop


@app.command("status")
def status_(
    data_sets: DataSetNames = None,
    as_json_: ForPrograms = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Also as a page.")] = None,
    prometheus: Annotated[Path | None, typer.Option(metavar="FILE", help="Also as metrics, for node exporter.")] = None,
    inventory: Inventory = None,
) -> None:
    """Show every data set: last good backup, what is wrong, and what to do.

    Exit codes: 0 all is well, 10 to 34 the worst that was found (backup/README.md lists them).
    """
    for option, given in (("--html", html), ("--prometheus", prometheus)):
        if given and data_sets:
            raise stop("backup", f"{option} tells of all data sets: name none", BAD_USAGE)
    site = chosen(inventory)
    sets = control.wanted(site, data_sets or [])
    rows = survey(site, sets, say)
    now = datetime.now(UTC)
    if html:
        page.write(html, rows, now, site.name)
    if prometheus:
        metrics.write(prometheus, rows, now)
    if as_json_:
        typer.echo(json.dumps(as_json(rows, now), indent=2))
    else:
        Console(highlight=False).print(as_table(rows, now))
        typer.echo(f"\n{as_text(rows) or 'all is well'}")
    raise typer.Exit(exit_code(rows))
