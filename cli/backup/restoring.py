"""`restore`: how data comes back."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress as Bar

from backup import control
from backup.reach import reach
from backup.restic import Progress
from cli.backup.app import DataSetName, app, failures
from cli.options import BAD_USAGE, Inventory, chosen, stop


@app.command()
def restore(
    data_set: DataSetName,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Empty, or not there yet.")],
    snapshot: Annotated[str, typer.Option(metavar="ID", help="Default: the newest.")] = "latest",
    include: Annotated[list[str] | None, typer.Option(metavar="PATH", help="Only this; can be repeated.")] = None,
    inventory: Inventory = None,
) -> None:
    """Put a snapshot, or a part of it, into a folder of this machine.

    Needs restic here; nothing on the host is touched.
    """
    site = chosen(inventory)
    [one] = control.wanted(site, [data_set])
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise stop("backup", f"{to} is not an empty folder", BAD_USAGE)
    with failures(), reach(site) as way, way.vault() as vault, Bar(console=Console(stderr=True)) as bar:
        task = bar.add_task(f"restoring {one}", total=1.0)

        def tell(progress: Progress) -> None:
            bar.update(task, completed=progress.fraction)

        summary = vault.restic(one).restore(snapshot, to, include=include or (), progress=tell)
        bar.update(task, completed=1.0)
    typer.echo(f"{summary.get('files_restored', 0)} files and folders of {one} are in {to}")
