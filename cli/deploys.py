"""`mainstay deploys`: who deployed what to each host last, and how that ended."""

import json
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import typer

from cli.options import UNREACHABLE, ForPrograms, Inventory, chosen

if TYPE_CHECKING:
    from backup.reach import Reach
    from roles.base.deployed import Deployed

ASK_S = 15
AT_ONCE = 16
COLUMNS = ("host", "when (UTC)", "deploy", "result", "changes", "commit", "by")


def deploys(for_programs: ForPrograms = False, inventory: Inventory = None) -> None:
    """Tell the last deploy of each host, by the host's own record: who, what, when, how it ended.

    Reads, and changes nothing. Exit code 3 when a host does not answer.
    """
    from concurrent.futures import ThreadPoolExecutor

    from backup.reach import reach

    site = chosen(inventory)
    names = [name for name, host in sorted(site.lock.hosts.items()) if host.host_keys and name in site.fleet.hosts]
    with reach(site) as way, ThreadPoolExecutor(AT_ONCE) as asking:
        said = dict(zip(names, asking.map(partial(_ask, way), names), strict=True))
    found = {name: one for name, one in said.items() if not isinstance(one, str)}
    away = {name: one for name, one in said.items() if isinstance(one, str)}
    if for_programs:
        hosts = {name: asdict(one) if one else None for name, one in found.items()}
        typer.echo(json.dumps({"hosts": hosts, "unreachable": away}, indent=2))
    else:
        _print(found)
        for why in away.values():
            typer.secho(why, fg="red", err=True)
    raise typer.Exit(UNREACHABLE if away else 0)


def _ask(way: "Reach", name: str) -> "Deployed | str | None":
    """What a host says of the last one, or why it does not."""
    from backup.reach import Unreachable, answer
    from roles.base.deployed import LOOK, last

    try:
        return last(answer(way.admin(name, LOOK), name, ASK_S).stdout.decode(errors="replace"))
    except Unreachable as error:
        return str(error)


def _print(found: "dict[str, Deployed | None]") -> None:
    from rich.console import Console
    from rich.table import Table

    from roles.base.deployed import shown

    table = Table(*COLUMNS, box=None, pad_edge=False, header_style="bold")
    for row in shown(found):
        table.add_row(*row)
    Console(highlight=False, soft_wrap=True, markup=False).print(table)
