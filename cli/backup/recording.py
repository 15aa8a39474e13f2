"""`collect` and `note`: the record, which an admin's laptop has the control host keep."""

import sys

from backup import control, record
from backup.reach import reach
from cli.backup.app import app, say
from cli.options import Inventory, chosen

LINE_AT_MOST = 10_000_000
"""Bytes of an entry."""


@app.command()
def collect(inventory: Inventory = None) -> None:
    """Bring the record up to date: what hosts have written down of their backups since."""
    site = chosen(inventory)
    with reach(site) as way:
        control.collect(way, control.wanted(site, []), say)


@app.command(hidden=True)
def note(inventory: Inventory = None) -> None:
    """On the control host: write down what an admin did elsewhere; an entry on standard input."""
    record.accept(chosen(inventory), sys.stdin.buffer.read(LINE_AT_MOST))
