"""`status`: which release is served where, and which are there to go back to."""

import json
from datetime import UTC, datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from backup.sizes import size
from cli.options import UNREACHABLE, ForPrograms, Inventory, chosen
from cli.web.app import DIFFER, app, failures, run
from roles.web.tools import publish as publishing


@app.command()
def status(for_programs: ForPrograms = False, inventory: Inventory = None) -> None:
    """Tell what each server serves and holds.

    Exit code 51 when they differ, or something was begun and not ended, 3 when one does not answer.
    """
    with failures("status"), run(chosen(inventory)) as started:
        whole = publishing.status(started)
    found = {name: one for name, one in whole.items() if "wrong" not in one}
    code = 0 if len({one["served"] for one in found.values()}) == 1 and not publishing.begun(found) else DIFFER
    code = UNREACHABLE if found.keys() != whole.keys() else code
    if for_programs:
        typer.echo(json.dumps({"exit_code": code, "servers": whole}, indent=2))
    else:
        Console(highlight=False, soft_wrap=True).print(_table(found))
        for line in [
            *publishing.begun(found),
            *publishing.in_maintenance(found),
            *(f"{name}: {one['wrong']}" for name, one in whole.items() if "wrong" in one),
        ]:
            typer.echo(line)
        if code == DIFFER:
            typer.echo("run again what was begun, or publish something else: after that all serve the same")
    raise typer.Exit(code)


def _table(found: dict[str, dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("release", "published", "by", "files", "size", "on", "served by"):
        table.add_column(name, no_wrap=name in ("release", "published"), overflow="fold")
    releases = {one["id"]: one for told in found.values() for one in told["releases"]}
    for name, one in sorted(releases.items(), reverse=True):
        holding = [server for server, told in found.items() if name in {each["id"] for each in told["releases"]}]
        serving = [server for server, told in found.items() if told["served"] == name]
        when = f"{datetime.fromtimestamp(one['time'], UTC):%Y-%m-%d %H:%M}"
        row = (name, when, one["who"], f"{one['count']:,}", size(one["size"]), ", ".join(holding))
        table.add_row(*row, ", ".join(serving) or "-")
    return table
