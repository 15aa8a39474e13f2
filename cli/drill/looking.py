"""`list` and `show`: how the drills went."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from backup import control, record
from backup.coverage import first_good
from backup.drills import book, told
from backup.drills.glance import Drilled, glance, wanted
from backup.drills.overdue import trouble, word
from backup.drills.report import Report
from backup.reach import reach
from backup.remembered import recall
from backup.rules import ago
from backup.sizes import clean
from cli.drill.app import OVERDUE, app, say
from cli.options import ForPrograms, Inventory, chosen
from inventories.errors import InputError
from inventories.inventory import LoadedSite


@app.command("list")
def list_(
    data_set: Annotated[str | None, typer.Argument(metavar="DATA_SET", help="HOST:PLAN; default: all.")] = None,
    for_programs: ForPrograms = False,
    inventory: Inventory = None,
) -> None:
    """Show when each data set was last proved, how long that took, and which one is overdue.

    Exit code 45 when one is overdue or its last drill went wrong.
    """
    site, now = chosen(inventory), datetime.now(UTC)
    names = {str(one) for one in control.wanted(site, [data_set] if data_set else [])}
    all_ = [one for one in drills(site, now) if data_set is None or one.data_set in names]
    if for_programs:
        typer.echo(json.dumps(as_json(all_, now), indent=2))
    else:
        Console(highlight=False).print(_table(all_, now))
        found = [(one, finding) for one in all_ for finding in one.findings]
        words = [f"{it.kind.word}: {one.data_set}: {it.what}\n  {it.to_do}" for one, it in found]
        typer.echo("\n" + ("\n".join(map(_safe, words)) or "every backup is proved"))
    raise typer.Exit(_exit_code(all_))


@app.command()
def show(
    drill: Annotated[
        str | None,
        typer.Argument(metavar="[ID|DATA_SET]", help="A drill by its id or the begin of it, or a data set's newest."),
    ] = None,
    for_programs: Annotated[bool, typer.Option("--json", help="The report as it is kept.")] = False,
    inventory: Inventory = None,
) -> None:
    """Show a drill: its timeline against its budgets, what each check saw, what was made and is gone.

    Default: the newest.
    """
    site = chosen(inventory)
    if record.is_copy(site):
        with reach(site) as way:
            book.bring(way, say)
    report = _wanted(site, drill)
    typer.echo(report.model_dump_json(indent=2) if for_programs else told.as_text(report, datetime.now(UTC)))


def drills(site: LoadedSite, now: datetime) -> list[Drilled]:
    """How the drills of each data set are, by the reports that are here and on the control host."""
    sets = control.wanted(site, [])
    if site.fleet.drill is None:
        hint = "drills need an account of their own at the provider: docs/drills.md"
        raise InputError(site.path, "drill", "this site has no drills", hint)
    first = _first_backups(site, now)
    if record.is_copy(site) or not all(first.values()):
        with reach(site) as way:
            book.bring(way, say)
            if not all(first.values()):
                control.collect(way, sets, say)
                first = _first_backups(site, now)
    return glance(wanted(site.fleet, first), book.reports(book.folder(site), say), now)


def _first_backups(site: LoadedSite, now: datetime) -> dict[str, datetime | None]:
    there = record.folder(site)
    return {str(one): first_good(recall(there, one.host, one.plan, now).ledger) for one in control.wanted(site, [])}


def _wanted(site: LoadedSite, name: str | None) -> Report:
    there = book.folder(site)
    if name is None or ":" in name or name == "site":
        all_ = book.reports(there, say)
        found = next((one for one in all_ if name in (None, one.data_set)), None)
        if found:
            return found
        hint = f"mainstay drill run {name or 'DATA_SET'}"
        raise InputError("DRILL", name or "", "no drill of it is known here", hint)
    return book.find(there, name, say)


def _safe(text: str) -> str:
    return "\n".join(map(clean, text.split("\n")))


def _table(all_: Sequence[Drilled], now: datetime) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("data set", "last proved", "last drill", "RPO", "RTO", "trend", "next due", "state"):
        table.add_column(name, overflow="fold")
    for one in all_:
        table.add_row(
            escape(clean(one.data_set)),
            ago(one.proved.begun, now) if one.proved else "never",
            _last(one, now),
            told.rpo(one.measured),
            told.rto(one.measured),
            told.spark(one.rtos),
            told.next_due(one, now),
            _state(one),
        )
    return table


def _last(one: Drilled, now: datetime) -> str:
    if not one.last:
        return "-"
    shown = word(one.last, now)
    colour = "red" if trouble(one.last, now) else "green" if one.last.proved else "yellow"
    return f"[{colour}]{shown}[/] {ago(one.last.begun, now)}"


def _state(one: Drilled) -> str:
    if not one.findings:
        return "[green]ok[/]"
    colour = "red" if any(finding.kind.severity == "critical" for finding in one.findings) else "yellow"
    return f"[{colour}]{', '.join(dict.fromkeys(finding.kind.word for finding in one.findings))}[/]"


def as_json(all_: Sequence[Drilled], now: datetime) -> dict[str, object]:
    """For programs."""
    return {"time": now.isoformat(), "exit_code": _exit_code(all_), "data_sets": [told.as_json(one) for one in all_]}


def _exit_code(all_: Sequence[Drilled]) -> int:
    return OVERDUE if any(one.findings for one in all_) else 0
