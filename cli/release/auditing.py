"""`audit`: is what release servers hold and answer what is promised?"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from backup import audited
from backup.reach import reach
from cli.options import ForPrograms, Inventory, chosen
from cli.release.app import app, failures
from cli.release.progress import bar
from inventories.errors import InputError
from inventories.files import replace
from roles.release.tools.audit import metrics, page, reading, told
from roles.release.tools.audit.audit import Target, Tell, Verdict, due, of_devices
from roles.release.tools.audit.audit import audit as audit_
from roles.release.tools.audit.reading import Record
from roles.release.tools.audit.site import targets, truth

AGAIN_S = 30
"""Who tells people looks again after that: a publication that was under way has ended, and what it has moved agrees."""


@app.command()
def audit(
    deep: Annotated[bool, typer.Option("--deep", help="Also read what is due of every package.")] = False,
    servers: Annotated[list[str] | None, typer.Option("--server", metavar="NAME", help="Only these.")] = None,
    devices: Annotated[list[str] | None, typer.Option("--device", metavar="NAME", help="Tell only of these.")] = None,
    for_programs: ForPrograms = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Also as a page.")] = None,
    status: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="For release.html and release.json: `backup watch` tells."),
    ] = None,
    metrics_: Annotated[
        Path | None, typer.Option("--metrics", metavar="FILE", help="Also as metrics, for node exporter.")
    ] = None,
    inventory: Inventory = None,
) -> None:
    """Audit every device, channel and server, from outside as clients and inside on the disk.

    Changes nothing. Exit codes: 0 clean, 51 something is wrong, 3 a server could not be reached, and what else there is
    is right.
    """
    site, now = chosen(inventory), datetime.now(UTC)
    if status and servers:
        raise InputError("--status", "", "tells of all servers", "name none by --server")
    record = reading.load(reading.place(site))
    with failures(), reach(site) as way:
        servers_ = targets(way, servers or [])
        promised = truth(site)
        known = {device for device, _ in promised.lines} | promised.retired
        if unknown := sorted({*(devices or [])} - known):
            hint = f"of these there are: {', '.join(sorted(known))}"
            raise InputError("--device", "", f"no device {unknown[0]!r} in metadata", hint)
        try:
            with _reading(record, servers_, now) as tell:
                verdict = audit_(promised, servers_, record, now, tell if deep else None)
            if status and verdict.wrong:
                time.sleep(AGAIN_S)
                verdict = audit_(truth(site), servers_, record, now)
        finally:
            reading.save(reading.place(site), record)
    for place in ([html] if html else []) + ([status / "release.html"] if status else []):
        page.write(place, verdict, now, site.name)
    if status:
        replace(status / audited.FILE, json.dumps(told.as_json(verdict, now), indent=1), 0o644)
    if metrics_:
        metrics.write(metrics_, verdict, now)
    verdict = of_devices(verdict, devices) if devices else verdict
    if for_programs:
        typer.echo(json.dumps(told.as_json(verdict, now, devices or []), indent=2))
    else:
        _print(verdict, now, devices or [])
    raise typer.Exit(told.exit_code(verdict.wrong))


def _print(verdict: Verdict, now: datetime, devices: Sequence[str]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(told.table(verdict, devices))
    console.print()
    for one in verdict.servers:
        console.print(told.server(one, now), markup=False)
    for heading, found in (("\nto know:", verdict.told), ("\nproblems:", verdict.wrong)):
        if found:
            console.print(heading)
            for line in told.lines(found):
                console.print(f"  {line}", markup=False)
    colour = "red" if verdict.wrong else "green"
    console.print(f"\n[{colour}]{told.verdict_line(verdict)}[/]")


@contextmanager
def _reading(record: Record, servers: Sequence[Target], now: datetime) -> Iterator[Tell]:
    """Hears of bytes that are read."""
    with bar() as shown:
        task = shown.add_task("reading", total=due(record, servers, now) or None)
        yield lambda count: shown.advance(task, count)
