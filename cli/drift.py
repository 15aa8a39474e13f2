"""`mainstay drift`: is every host as it is written?"""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import ForPrograms, Inventory, chosen

if TYPE_CHECKING:
    from rich.console import Console

    from drift.findings import Drift, Finding

RUNBOOK = "mainstay runbook show drift-found"
Hosts = Annotated[list[str] | None, typer.Argument(metavar="[HOST]...", help="Only these, and not the provider.")]


def drift(hosts: Hosts = None, inventory: Inventory = None, for_programs: ForPrograms = False) -> None:
    """Compare every host, and the provider, with what is written; say what differs, and since when.

    Files, packages, services, users, firewall, sockets, kernel settings, certificates: by the comparisons of the
    deploys, and what nobody declared. Reads, and changes nothing. Of secret files it says that they differ, and not
    how. Exit codes: 0 all is as declared, 52 something differs, 3 something could not be looked at.
    """
    from drift.look import look  # brings all of pyinfra along

    found = look(chosen(inventory), hosts or [])
    if for_programs:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        _print(found)
    raise typer.Exit(found.exit_code)


def _print(found: "Drift") -> None:
    from rich.console import Console
    from rich.text import Text

    from drift.findings import UNSEEN, by_host

    console = Console(highlight=False, soft_wrap=True)
    for host, findings in by_host(found.findings).items():
        console.print(Text(host, style="bold"))
        for one in findings:
            _print_one(console, one, "red" if one.kind == UNSEEN else "yellow")
    unseen = sum(one.kind == UNSEEN for one in found.findings)
    if found.findings:
        differ = len(found.findings) - unseen
        console.print(f"\n[red]{differ} differ, {unseen} could not be looked at[/]: what to do: {RUNBOOK}")
    else:
        console.print(f"[green]{len(found.looked)} hosts: all is as it is declared[/]")


def _print_one(console: "Console", one: "Finding", colour: str) -> None:
    from rich.text import Text

    from backup.sizes import clean
    from drift.findings import moment

    since = f" (since {moment(one.since)})" if one.since else ""
    where = f" [{one.declared}]" if one.declared else ""
    told = f"{clean(one.what)}: {clean(one.why)}" if one.why else clean(one.what)
    console.print(Text(f"  {one.kind:<12} ", style=colour) + Text(f"{told}{since}{where}"))
    for line in one.lines:
        console.print(Text(f"      {clean(line)}", style={"-": "red", "+": "green"}.get(line[:1], "")))
