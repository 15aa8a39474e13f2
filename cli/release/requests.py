"""`requests`: what was asked of all release servers, added up."""

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from backup.sizes import size
from cli.options import UNREACHABLE, Inventory, chosen, stop
from cli.release.app import app
from roles.release.tools.requested import Row, requested

LINES = 15
"""Of a table."""


@app.command()
def requests(
    days: Annotated[int, typer.Option(min=1, help="How far back.")] = 30,
    for_programs: Annotated[bool, typer.Option("--json", help="All rows, for programs.")] = False,
    inventory: Inventory = None,
) -> None:
    """Show what was asked of all release servers, by day, kind, country and device. Nobody's address is in it.

    Days are UTC's; a day is counted when it is over. Exit code 3 when a server does not tell.
    """
    since = (datetime.now(UTC) - timedelta(days=days)).date().isoformat()
    missing: list[str] = []
    rows = requested(chosen(inventory), since, missing.append)
    if for_programs:
        typer.echo(json.dumps({"rows": [row.model_dump() for row in rows], "missing": missing}, indent=2))
    else:
        for what in ("day", "kind", "country", "device"):
            Console(highlight=False).print(_table(what, rows))
    if missing:
        raise stop("release", "\n".join(missing), UNREACHABLE)


def _table(what: str, rows: Sequence[Row]) -> Table:
    """The latest days; of anything else what moved the most bytes."""
    sums: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in rows:
        for place, number in enumerate((row.requests, row.begun, row.bytes)):
            sums[getattr(row, what)][place] += number
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(what)
    for name in ("requests", "begun", "bytes"):
        table.add_column(name, justify="right")
    chosen_ = sorted(sums, reverse=True) if what == "day" else sorted(sums, key=lambda one: -sums[one][2])
    for name in chosen_[:LINES]:
        asked, begun, moved = sums[name]
        table.add_row(name, f"{asked:,}", f"{begun:,}", size(moved))
    return table
