"""`status`, `sync` and `abandon`: what is where, and what is to be done about what is not."""

import json
from dataclasses import asdict
from datetime import UTC, datetime

import typer
from rich.console import Console
from rich.table import Table

from backup.reach import reach
from backup.sizes import counted
from cli.options import FAILED, UNREACHABLE, ForPrograms, Inventory, Without, chosen
from cli.release.app import Devices, app, failures
from cli.release.progress import told
from roles.release.tools.audit.site import sums
from roles.release.tools.places import kept, opened, staging
from roles.release.tools.publish import abandon as abandon_
from roles.release.tools.standing import Whole, builds, standing, words
from roles.release.tools.syncing import Syncing
from roles.release.tools.syncing import sync as sync_


@app.command()
def status(devices: Devices = None, for_programs: ForPrograms = False, inventory: Inventory = None) -> None:
    """What each server serves, what was begun there and by whom, and what each device's channels offer.

    Exit code 0 when all servers serve the newest commit and nothing was begun, 3 when one does not answer, else 1.
    """
    site = chosen(inventory)
    with failures(), reach(site) as way:
        where = opened(way)
        whole = standing(where.places, where.metadata)
    code = UNREACHABLE if any(one.wrong for one in whole.servers) else 0
    code = code or (FAILED if any(one.begun or not one.current for one in whole.servers) else 0)
    wanted = {*devices} if devices else {device for device, _ in whole.offers}
    if for_programs:
        typer.echo(json.dumps(_as_json(whole, wanted, code), indent=2))
    else:
        console = Console(highlight=False, soft_wrap=True, markup=False)
        console.print(f"metadata: {whole.commit}")
        for one in whole.servers:
            console.print(f"{one.name}: {words(one)}")
        console.print(_table(whole, wanted))
        told = "all servers serve the newest commit, and nothing is begun"
        console.print(told if not code else "not all is as it should be: see the servers")
    raise typer.Exit(code)


@app.command()
def sync(without: Without = None, inventory: Inventory = None) -> None:
    """Bring servers that were left out, or made anew, up to date: first packages that others have, then the commit.

    Each package is read where it is, goes through this machine, and is read again where it came. Broken off, the same
    command goes on. What `prune` would remove is not brought.
    """
    site = chosen(inventory)
    with failures(), reach(site) as way, told() as hear:
        where = opened(way, without or ())
        moved = sync_(Syncing(where, staging(site), sums(site), kept(site), hear, datetime.now(UTC)))
    typer.echo("\n".join(f"{one}: brought up to date" for one in moved) or "all servers are up to date")


@app.command()
def abandon(without: Without = None, inventory: Inventory = None) -> None:
    """Take back what was begun and not published, on every server: by whomever, wherever that stopped."""
    with failures(), reach(chosen(inventory)) as way, told() as hear:
        where = opened(way, without or ())
        gone = abandon_(where.places, where.metadata, hear)
    typer.echo(f"taken back on {counted(len(gone), 'server')}" if gone else "nothing was begun")


def _table(whole: Whole, devices: set[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("device", "build", "channels"):
        table.add_column(name, no_wrap=name != "channels")
    for device in sorted(devices):
        for build, channels in builds(whole, device):
            table.add_row(device, build, ", ".join(channels))
    return table


def _as_json(whole: Whole, devices: set[str], code: int) -> dict[str, object]:
    return {
        "commit": whole.commit,
        "servers": [asdict(one) | {"current": one.current} for one in whole.servers],
        "channels": [
            {"device": device, "channel": channel, **asdict(offer)}
            for (device, channel), offer in sorted(whole.offers.items())
            if device in devices
        ],
        "exit_code": code,
    }
