"""What the commands of `mainstay web` share: how it goes, and what came of it."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from backup.reach import reach
from cli import lazy
from cli.options import BAD_USAGE, FAILED, UNREACHABLE, stop
from inventories.errors import InputError
from inventories.inventory import LoadedSite
from roles.common.publishing.servers import Away, ServerError
from roles.web.tools import site as servers
from roles.web.tools.change import Change
from roles.web.tools.publish import PublishError, Run

SHOWN = 20
"""Files of a change that are named for people."""
NOT_PUBLISHABLE = 50
DIFFER = 51
"""Exit codes: of `publish`, something is wrong with the folder; of `status`, servers serve different releases."""

COMMANDS = {
    "publish": "publishing",
    "message": "publishing",
    "rollback": "returning",
    "status": "looking",
}
"""The module of each, as an admin needs them."""

app = lazy.commands(
    "cli.web",
    COMMANDS,
    "Exit codes: 0 done, 1 failed, 2 bad usage or bad input, 3 unreachable; of publish 50, not publishable; "
    "of status 51, the servers differ or something was begun.",
)
Dry = Annotated[bool, typer.Option("--dry", help="Tell what would be done, and do nothing.")]
console = Console(stderr=True, highlight=False, soft_wrap=True)


class Told:
    """Steps and bytes, on a terminal; notes wherever."""

    def __init__(self, bar: Progress) -> None:
        self.bar, self.task = bar, bar.add_task("", total=None)

    def step(self, name: str, total: int = 0) -> None:
        self.bar.reset(self.task, description=name, total=total or None)

    def progress(self, count: int) -> None:
        self.bar.advance(self.task, count)

    def note(self, text: str) -> None:
        console.print(text, markup=False)


@contextmanager
def run(site: LoadedSite, without: Sequence[str] | None = None, *, dry: bool = False) -> Iterator[Run]:
    """Something to do with all web servers of a site but those, and how it goes on a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn())
    bar = Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)
    with reach(site) as way, bar:
        yield servers.run(way, Told(bar), without or (), dry=dry)


@contextmanager
def failures(command: str) -> Iterator[None]:
    """What stops a command, in its words and with its exit code."""
    try:
        yield
    except Away as error:
        raise stop(f"web {command}", error, UNREACHABLE) from None
    except (ServerError, PublishError) as error:
        raise stop(f"web {command}", error, FAILED) from None
    except InputError as error:
        raise stop(f"web {command}", error, BAD_USAGE) from None


@dataclass(frozen=True)
class Asked:
    """How a command is to go about it."""

    without: Sequence[str] | None
    dry: bool
    for_programs: bool


def tell(change: Change, asked: Asked, again: str = "the same command again") -> None:
    """What was done, or would be. again: by what a server catches up that was left out."""
    left_out = list(asked.without or ())
    if not asked.dry:
        for one in left_out:
            console.print(f"{one} was left out: {again}, once it is back", markup=False)
    if asked.for_programs:
        about = {"dry": asked.dry, "changes": change.anything, "left_out": left_out}
        typer.echo(json.dumps(about | asdict(change), indent=2))
        return
    marked = {"+": change.added, "~": change.changed, "-": change.removed}
    lines = [f"  {mark} {path}" for mark, paths in marked.items() for path in paths]
    for line in lines[:SHOWN]:
        typer.echo(line)
    if len(lines) > SHOWN:
        typer.echo(f"  and {len(lines) - SHOWN:,} more")
    typer.echo(f"would be: {change}" if asked.dry else str(change))
