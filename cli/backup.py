"""`mainstay backup`: what is saved, where, and whether it can be trusted."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress as Bar

from backup import control, custody, metrics, page
from backup.custody import ADMIN
from backup.reach import Unreachable, reach
from backup.restic import Progress
from backup.restic_process import ResticError
from backup.retention import MAX_SHARE
from backup.status import as_json, as_table, as_text, exit_code, status
from cli.options import BAD_USAGE, FAILED, UNREACHABLE, Inventory, chosen, stop

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
DataSetName = Annotated[str, typer.Argument(metavar="DATA_SET", help="HOST:PLAN, like release-1:release.")]
DataSetNames = Annotated[list[str] | None, typer.Argument(metavar="DATA_SET...", help="HOST:PLAN; default: all.")]
SSH_FAILED = 255


def _say(text: str) -> None:
    typer.echo(text, err=True)


@contextmanager
def _failures() -> Iterator[None]:
    """Turns what may go wrong on the way into words and an exit code."""
    try:
        yield
    except Unreachable as error:
        raise stop("backup", error, UNREACHABLE) from None
    except ResticError as error:
        raise stop("backup", error, FAILED) from None


@app.command()
def keys(inventory: Inventory = None) -> None:
    """Make the vault's certificate and the passwords that are missing. Changes none that is there, prints no value."""
    made = custody.make(chosen(inventory))
    for name in made:
        typer.echo(f"{name}: made")
    if not made:
        typer.echo("nothing is missing")


@app.command()
def run(data_set: DataSetName, inventory: Inventory = None) -> None:
    """Save a data set now, on its host, with progress. Ctrl-C breaks it off cleanly."""
    site = chosen(inventory)
    [one] = control.wanted(site, [data_set])
    with reach(site) as way:
        words = way.agent(one.host, "run", one.plan)
        terminal = ["-t"] if sys.stdout.isatty() and sys.stdin.isatty() else []
        code = subprocess.run([words[0], *terminal, *words[1:]], check=False).returncode
    raise typer.Exit(UNREACHABLE if code == SSH_FAILED else FAILED if code else 0)


@app.command()
def restore(
    data_set: DataSetName,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Empty, or not there yet.")],
    snapshot: Annotated[str, typer.Option(metavar="ID", help="Default: the newest.")] = "latest",
    include: Annotated[list[str] | None, typer.Option(metavar="PATH", help="Only this; can be repeated.")] = None,
    inventory: Inventory = None,
) -> None:
    """Put a snapshot into a folder of this machine. Needs restic here; nothing on the host is touched."""
    site = chosen(inventory)
    [one] = control.wanted(site, [data_set])
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise stop("backup", f"{to} is not an empty folder", BAD_USAGE)
    with _failures(), reach(site) as way, way.vault() as vault, Bar(console=Console(stderr=True)) as bar:
        task = bar.add_task(f"restoring {one}", total=1.0)

        def tell(progress: Progress) -> None:
            bar.update(task, completed=progress.fraction)

        summary = vault.restic(one).restore(snapshot, to, include=include or (), progress=tell)
        bar.update(task, completed=1.0)
    typer.echo(f"{summary.get('files_restored', 0)} files and folders of {one} are in {to}")


@app.command("status")
def status_(
    data_sets: DataSetNames = None,
    as_json_: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Also as a page.")] = None,
    prometheus: Annotated[Path | None, typer.Option(metavar="FILE", help="Also as metrics, for node exporter.")] = None,
    inventory: Inventory = None,
) -> None:
    """Show every data set: last good backup, what is wrong, and what to do.

    Exit codes: 0 all is well, 10 to 27 the worst that was found (the table of backup/data_set.py).
    """
    site = chosen(inventory)
    sets = control.wanted(site, data_sets or [])
    with ExitStack() as stack:
        way = stack.enter_context(reach(site))
        control.collect(way, sets, _say)
        vault = None
        try:
            vault = stack.enter_context(way.vault())
        except Unreachable as error:
            _say(str(error))
        rows = status(control.look(way, vault, sets, _say), now := datetime.now(UTC))
    if html:
        page.write(html, rows, now, site.name)
    if prometheus:
        metrics.write(prometheus, rows, now)
    if as_json_:
        typer.echo(json.dumps(as_json(rows, now), indent=2))
    else:
        Console(highlight=False).print(as_table(rows, now))
        typer.echo(f"\n{as_text(rows) or 'all is well'}")
    raise typer.Exit(exit_code(rows))


@app.command()
def verify(
    data_sets: DataSetNames = None,
    whole: Annotated[bool, typer.Option("--all", help="Everything, not only what is due.")] = False,
    inventory: Inventory = None,
) -> None:
    """Read back what is due of each repository, so that every pack is read within 30 days. Exit code 1 on damage."""
    site = chosen(inventory)
    sets = control.wanted(site, data_sets or [])
    with _failures(), reach(site) as way:
        control.collect(way, sets, _say)
        with way.vault() as vault:
            sound = [control.verify(vault, one, whole, typer.echo) for one in sets]
    raise typer.Exit(0 if all(sound) else FAILED)


@app.command()
def retain(
    data_sets: DataSetNames = None,
    dry: Annotated[bool, typer.Option("--dry", help="Show what would go and why; remove nothing.")] = False,
    max_share: Annotated[float, typer.Option(help="Most of a data set's snapshots that may go, 0 to 1.")] = MAX_SHARE,
    inventory: Inventory = None,
) -> None:
    """Remove old snapshots as plans declare, with the admins' credential. Refuses when anything is amiss."""
    site = chosen(inventory)
    sets = control.wanted(site, data_sets or [])
    refused = False
    with _failures(), reach(site) as way:
        control.collect(way, sets, _say)
        with way.vault(ADMIN) as vault:
            for one in sets:
                planned = control.plan_retention(vault, one, max_share)
                typer.echo(planned.dry())
                refused |= bool(planned.refused)
                if not dry and not planned.refused:
                    control.retain(vault, one, planned)
    raise typer.Exit(FAILED if refused else 0)
