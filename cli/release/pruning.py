"""`prune`: old packages go."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from backup.reach import reach
from backup.sizes import counted, size
from cli.options import ForPrograms, Inventory, Without, agreed, chosen
from cli.release.app import Dry, app, failures
from roles.release.tools.places import kept, opened
from roles.release.tools.pruning import Plan, plan
from roles.release.tools.pruning import prune as prune_


@app.command()
def prune(
    only_say: Dry = False,
    sure: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    without: Without = None,
    for_programs: ForPrograms = False,
    inventory: Inventory = None,
) -> None:
    """Remove packages of builds that no channel offers, by the settings keep_builds and keep_days, after asking.

    What was never offered stays, as does what any channel, oldstable too, promises.
    """
    site = chosen(inventory)
    with failures(), reach(site) as way:
        where = opened(way, without or ())
        what = plan(where, kept(site), datetime.now(UTC))
        if for_programs:
            typer.echo(json.dumps(asdict(what), indent=2))
        else:
            _tell(what)
        if only_say or not any(one.sizes for one in what.servers):
            raise typer.Exit
        agreed("release prune", sure, "Remove these for good?")
        prune_(where, what)
        typer.echo("removed", err=True)


def _tell(what: Plan) -> None:
    for one in what.servers:
        for path, count in one.sizes.items():
            typer.echo(f"{one.server}: {path} ({size(count)})")
        typer.echo(f"{one.server}: {counted(len(one.sizes), 'file')}, {size(sum(one.sizes.values()))}, may go")
