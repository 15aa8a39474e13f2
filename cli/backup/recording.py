"""`collect`, `settle` and `note`: the record, which an admin's laptop has the control host keep."""

import sys
from typing import Annotated

import typer

from backup import control, record
from backup.reach import reach
from cli.backup.app import app, failures, say
from cli.options import Inventory, chosen
from inventories.errors import InputError


@app.command()
def collect(inventory: Inventory = None) -> None:
    """Bring the record up to date: what hosts have written down of their backups since.

    A host that does not answer is told, and is no failure: `status` has it as a finding.
    """
    site = chosen(inventory)
    with reach(site) as way:
        control.collect(way, control.wanted(site, []), say)


@app.command()
def settle(
    dry: Annotated[bool, typer.Option("--dry", help="Say what it would be given, and change nothing.")] = False,
    inventory: Inventory = None,
) -> None:
    """Go by the record of a control host that is new or was made again, and give it what it lacks of this machine's."""
    site = chosen(inventory)
    if not record.is_copy(site):
        raise InputError(site.path, "hosts", "the record lies on this machine, and nothing contradicts it")
    with failures(), reach(site) as way:
        record.settle(way, dry=dry, say=say)


@app.command(hidden=True)
def note(inventory: Inventory = None) -> None:
    """On the control host: write down what an admin did elsewhere; entries on standard input, a line each."""
    record.accept(chosen(inventory), sys.stdin.buffer.read())
