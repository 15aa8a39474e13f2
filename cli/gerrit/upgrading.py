"""`upgrade`: from one version to the next, rehearsed before and taken back if need be."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer

from backup.custody import DataSet
from backup.drills.report import outcome
from backup.reach import Unreachable, reach
from cli import lazy
from cli.gerrit.app import app
from cli.options import FAILED, UNREACHABLE, ForPrograms, Inventory, agreed, chosen, stop
from inventories.inventory import LoadedSite
from roles.gerrit.tools import upgrade
from roles.gerrit.tools.server import ROLE, host_of, mount_of

LOSES = 53
"""Exit code of a rollback that would lose something."""
Version = Annotated[str, typer.Argument(help="As `upgrade` in [settings.gerrit] declares it.")]
group = lazy.application(help="Rehearse another version on a copy, bring it in, take it back.")
app.add_typer(group, name="upgrade")


@group.command()
def rehearse(version: Version, inventory: Inventory = None) -> None:
    """Restore the newest backup on a throwaway host, check it, upgrade it as `apply` will, check it again.

    Leaves a report that says how long people will wait: `mainstay drill show ID`. Exit codes: as of `mainstay drill`.
    """
    site = chosen(inventory)
    upgrade.declared(site, version)
    from backup.drills.course import Order  # these bring pyinfra along, which nothing else here waits for
    from cli.backup.app import failures
    from cli.drilling import carry_out
    from cli.ending import in_order

    with failures(), in_order():
        report = carry_out(site, Order(DataSet(host_of(site), ROLE), rehearse=version), yes=True)
    raise typer.Exit(outcome(report.outcome or "").code)


@group.command()
def apply(
    version: Version,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    inventory: Inventory = None,
) -> None:
    """Bring in a version that was rehearsed within 7 days: nobody can push or fetch meanwhile.

    The volume is snapshot first. What fails puts the snapshot back and starts the old version; a host that dies does so
    when it is up again. Once begun, the host goes on by itself, whether or not this machine watches.
    """
    site = chosen(inventory)
    upgrade.declared(site, version)
    with _opened(site) as one:
        if one.told()["version"] == version:
            typer.echo(f"{version} runs already")
            return
        report = upgrade.rehearsed(site, version, datetime.now(UTC), _say)
        took = f", which took {report.downtime_s:.0f} s in its rehearsal {report.id}" if report.downtime_s else ""
        agreed("gerrit upgrade apply", yes, f"Stop Gerrit on {one.host} and bring it to {version}{took}?")
        told = upgrade.apply(one, version, _say)
    waited = f"nobody could push or fetch for {told['downtime_s']:.0f} s" if told["downtime_s"] else "it starts"
    typer.echo(f"{version} runs: {waited}. `mainstay gerrit upgrade rollback` takes it back.")


@group.command()
def rollback(
    lose: Annotated[bool, typer.Option("--lose-changes", help="Also when something was written since.")] = False,
    inventory: Inventory = None,
) -> None:
    """Put back the snapshot from before the upgrade, and the version of then.

    Exit code 53, and nothing is done, when refs were written since, which it names: pushes, reviews, new accounts.
    """
    with _opened(chosen(inventory)) as one:
        told = upgrade.rollback(one, lose=lose)
    typer.echo(f"{told['version']} runs, as before the upgrade to {told['new']}")


@group.command()
def status(for_programs: ForPrograms = False, inventory: Inventory = None) -> None:
    """Show which version the site is of, how the last upgrade ended, and whether it can be taken back without loss."""
    with _opened(chosen(inventory)) as one:
        told = one.told("lost")
    if for_programs:
        typer.echo(json.dumps(told, indent=2))
        return
    typer.echo(f"the site is of {told['version']}")
    if told.get("step"):
        how = f"{told['old']} to {told['new']}, {told['begun']}: {told['step']}"
        typer.echo(how + (f", {told['error']}" if told.get("error") else ""))
    if told.get("lost") is not None:
        count = len(told["lost"])
        loses = (
            f"would lose what was written to {count} refs since: {', '.join(told['lost'][:5])}"
            if count
            else "loses nothing"
        )
        typer.echo(f"a rollback {loses}")


@contextmanager
def _opened(site: LoadedSite) -> Iterator[upgrade.Upgrading]:
    """The site's Gerrit; what may go wrong becomes words and an exit code."""
    try:
        with reach(site) as way:
            yield upgrade.Upgrading(way, host_of(site), mount_of(site))
    except Unreachable as error:
        raise stop("gerrit upgrade", error, UNREACHABLE) from None
    except upgrade.WouldLose as error:
        raise stop("gerrit upgrade", error, LOSES) from None
    except upgrade.UpgradeError as error:
        raise stop("gerrit upgrade", error, FAILED) from None


def _say(text: str) -> None:
    typer.echo(text, err=True)
