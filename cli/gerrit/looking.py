"""`status`: how the server is."""

import json
from datetime import UTC, datetime

import typer
from rich.console import Console
from rich.table import Table

from backup.reach import Unreachable
from backup.rules import span
from backup.sizes import counted, size
from cli.gerrit.app import app
from cli.options import FAILED, UNREACHABLE, ForPrograms, Inventory, chosen, stop
from roles.gerrit.tools.server import host_of, settings_of
from roles.gerrit.tools.state import State, state, wrong


@app.command()
def status(for_programs: ForPrograms = False, inventory: Inventory = None) -> None:
    """Show version, plugins, queues, memory, caches and the changes of a day, as its host sees them now.

    Exit codes: 0 it answers and is what is declared, 1 something is wrong, 3 its host does not answer.
    """
    site = chosen(inventory)
    host = host_of(site)
    try:
        told = state(site)
    except Unreachable as error:
        raise stop("gerrit", error, UNREACHABLE) from None
    found = wrong(told, [war.version for war, _ in settings_of(site).wars().values()])
    if for_programs:
        typer.echo(json.dumps(told | {"wrong": found}, indent=2))
    else:
        _print(host, told, found)
    raise typer.Exit(FAILED if found else 0)


def _print(host: str, told: State, found: list[str]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, words in _lines(told):
        table.add_row(name, words)
    console.print(f"Gerrit {told['version']} on {host}" if told["version"] else f"{host}: Gerrit does not answer")
    console.print(table)
    for one in found:
        console.print(f"[red]wrong[/]: {one}")
    if not found:
        console.print("[green]all is well[/]")


def _lines(told: State) -> list[tuple[str, str]]:
    unit, java, disk, caches = told["unit"], told["java"], told["disk"], told["caches"]
    lines = []
    if unit:
        since = unit["since"] and datetime.fromisoformat(told["time"]) - datetime.fromtimestamp(unit["since"], UTC)
        lasts = f" for {span(since)}" if since else ""
        lines.append(("unit", f"{unit['state']}{lasts}, {counted(unit['restarts'], 'restart')} by itself"))
    if told["plugins"] is not None:
        named = ", ".join(f"{name} {version}" for name, version in sorted(told["plugins"].items()))
        lines.append(("plugins", named or "none"))
    for queue, states in (told["queues"] or {}).items():
        lines.append((f"queue {queue}", ", ".join(f"{count} {state}" for state, count in states.items())))
    if java:
        share = f"{java['used'] / java['limit']:.0%}" if java["limit"] else "?"
        lines.append(("heap", f"{size(java['used'])} of {size(java['limit'])} ({share}), {java['threads']} threads"))
    if caches is not None:
        largest = max(caches, key=lambda name: caches[name], default="")
        words = f"{size(sum(caches.values()))} in {len(caches)} files"
        lines.append(("caches", words + (f", the largest {largest} ({size(caches[largest])})" if largest else "")))
    if told["changes_day"] is not None:
        lines.append(("changes", f"{told['changes_day']} updated within a day"))
    for name in ("ssh", "clone"):
        if (seconds := told[f"{name}_seconds"]) is not None:
            lines.append((name, f"begins after {seconds * 1000:.0f} ms"))
    if disk:
        lines.append(("volume", f"{size(disk['free'])} of {size(disk['size'])} free"))
    return lines
