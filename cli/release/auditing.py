"""`audit`: is what release servers hold and answer what is promised?"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bar

from backup.reach import reach
from cli.options import UNREACHABLE, Inventory, chosen, stop
from cli.release.app import app
from inventories.errors import InputError
from roles.release.tools.audit import metrics, page, reading, told
from roles.release.tools.audit.audit import Target, Tell, Verdict, due, of_devices
from roles.release.tools.audit.audit import audit as audit_
from roles.release.tools.audit.reading import Record
from roles.release.tools.audit.site import RECORD, Scheme, targets, truth
from roles.release.tools.repository import RepositoryError


@app.command()
def audit(
    metadata: Annotated[
        str, typer.Option(metavar="URL", help="The metadata repository; default: that of the settings.")
    ] = "",
    checksums: Annotated[str, typer.Option(metavar="URL", help="The list of checksums, likewise.")] = "",
    deep: Annotated[bool, typer.Option("--deep", help="Also read what is due of every package.")] = False,
    servers: Annotated[list[str] | None, typer.Option("--server", metavar="NAME", help="Only these.")] = None,
    devices: Annotated[list[str] | None, typer.Option("--device", metavar="NAME", help="Tell only of these.")] = None,
    scheme: Annotated[Scheme, typer.Option(help="How servers are asked.")] = "https",
    for_programs: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Also as a page.")] = None,
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
    record_file = reading.folder(site) / RECORD
    record = reading.load(record_file)
    with reach(site) as way:
        chosen_ = targets(way, servers or [], scheme)
        try:
            promised = truth(site, chosen_[0].name, metadata, checksums)
        except RepositoryError as error:
            raise stop("release", error, UNREACHABLE) from None
        known = {device for device, _ in promised.lines} | promised.retired
        if unknown := sorted({*(devices or [])} - known):
            hint = f"of these there are: {', '.join(sorted(known))}"
            raise InputError("--device", "", f"no device {unknown[0]!r} in metadata", hint)
        try:
            with _bar(record, chosen_, now, shown=deep) as tell:
                verdict = audit_(promised, chosen_, record, now, tell if deep else None)
        finally:
            reading.save(record_file, record)
    if html:
        page.write(html, verdict, now, site.name)
    if metrics_:
        metrics.write(metrics_, verdict, now)
    verdict = of_devices(verdict, devices) if devices else verdict
    if for_programs:
        typer.echo(json.dumps(told.as_json(verdict, now, devices or []), indent=2))
    else:
        _print(verdict, now, devices or [])
    raise typer.Exit(told.exit_code(verdict))


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
def _bar(record: Record, targets_: Sequence[Target], now: datetime, *, shown: bool) -> Iterator[Tell]:
    """Progress with rate and time to go, on a terminal, of what is read."""
    console = Console(stderr=True)
    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn())
    off = not (shown and console.is_terminal)
    with Bar(*columns, TimeRemainingColumn(), console=console, transient=True, disable=off) as bar:
        task = bar.add_task("reading", total=due(record, targets_, now) or None)
        yield lambda count: bar.advance(task, count)
