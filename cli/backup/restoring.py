"""`restore`: how data comes back."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress as Bar

from backup import control, custody
from backup.agent.attempt import BadInput, Refused
from backup.agent.refs import RefsError
from backup.agent.restoring import SNAPSHOT, below
from backup.reach import Reach, reach
from backup.restic_results import Progress
from backup.restoring import Done, NotRestored, Wish
from backup.restoring import restore as restore_
from cli.backup.app import DataSetName, app, failures
from cli.options import BAD_USAGE, FAILED, Inventory, chosen, stop


@app.command()
def restore(
    data_set: DataSetName,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Empty, or not there yet.")],
    snapshot: Annotated[str, typer.Option(metavar="ID", help="Default: the newest complete one.")] = "",
    include: Annotated[list[str] | None, typer.Option(metavar="PATH", help="Only this; can be repeated.")] = None,
    inventory: Inventory = None,
) -> None:
    """Put a snapshot, or a part of it, into a folder of this machine, from the vault, or else from the second copy.

    Needs restic here; nothing on the host is touched. Exit code 3 when none of the two answers.
    """
    site = chosen(inventory)
    [one] = control.wanted(site, [data_set])
    if to.is_symlink() or (to.exists() and (not to.is_dir() or any(to.iterdir()))):
        raise stop("backup", f"{to} is not an empty folder", BAD_USAGE)
    if snapshot and not SNAPSHOT.fullmatch(snapshot):
        raise stop("backup", f"--snapshot {snapshot}: must be at least 8 hexadecimal digits of an id", BAD_USAGE)
    try:
        paths = tuple(below(path, custody.recovery(one.plan).root) for path in include or ())
    except BadInput as error:
        raise stop("backup", error, BAD_USAGE) from None
    try:
        with failures(), reach(site) as way:
            done = bring(way, Wish(one, to, snapshot, paths))
    except (NotRestored, Refused, RefsError) as error:
        raise stop("backup", error, FAILED) from None
    typer.echo(done)


def bring(way: Reach, wish: Wish) -> Done:
    """Restores, and shows how far it is. Raises as backup.restoring.restore."""
    with Bar(console=Console(stderr=True)) as bar:
        say = partial(bar.console.print, markup=False, highlight=False, soft_wrap=True)
        control.collect(way, [wish.data_set], say)
        task = bar.add_task(f"restoring {wish.data_set}", total=1.0)

        def tell(progress: Progress) -> None:
            bar.update(task, completed=progress.fraction)

        done = restore_(way, wish, say, tell)
        bar.update(task, completed=1.0)
    return done
