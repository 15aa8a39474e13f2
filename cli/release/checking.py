"""`check`: is a release, as built and signed, publishable?"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from backup.sizes import counted, size
from cli.options import ForPrograms, Inventory, chosen
from cli.release.app import NOT_PUBLISHABLE, app
from cli.release.progress import bar
from roles.release.tools.check import Hear, Progress, Verdict, published
from roles.release.tools.check import check as check_
from roles.release.tools.offers import Offered
from roles.release.tools.signature import CERTIFICATES


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The release, laid out as the archive is.")],
    certificates: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help=f"DEVICE.x509.pem of each; default: {CERTIFICATES} in the site's files."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A checkout of the metadata repository: what is published now."),
    ] = None,
    for_programs: ForPrograms = False,
    inventory: Inventory = None,
) -> None:
    """Check a release as built and signed, reading each package once: is it publishable?

    Needs no host, and the inventory only for the certificates. Exit code 50 when it is not publishable.
    """
    trusted = certificates or chosen(inventory).files / CERTIFICATES
    now = published(against) if against else None
    with hearing() as hear:
        verdict = check_(folder, trusted, now, hear)
    code = 0 if verdict.publishable else NOT_PUBLISHABLE
    if for_programs:
        typer.echo(json.dumps(as_json(verdict, code), indent=2))
    else:
        console = Console(highlight=False, soft_wrap=True)
        console.print(_table(verdict))
        for heading, lines in (("\nto know:", verdict.unknowns), ("\nproblems:", verdict.problems)):
            if lines:
                console.print(heading)
                for line in lines:
                    console.print(f"  {line}", markup=False)
        console.print(_conclusion(verdict))
    raise typer.Exit(code)


@contextmanager
def hearing() -> Iterator[Hear]:
    """Progress with rate and time to go, on a terminal."""
    with bar() as shown:
        task = shown.add_task("checking", total=None)

        def hear(progress: Progress) -> None:
            shown.update(task, completed=progress.done, total=progress.total)

        yield hear


def as_json(verdict: Verdict, code: int) -> dict[str, object]:
    """For programs. Sizes in bytes, timestamps in Unix seconds."""
    return {
        "folder": str(verdict.folder),
        "publishable": verdict.publishable,
        "exit_code": code,
        "size": verdict.size,
        "packages": [asdict(one) for one in verdict.packages],
        "channels": [
            {
                "device": one.device,
                "channel": one.channel,
                "path": one.path,
                "derived": one.derived,
                **asdict(one.offer),
            }
            for one in verdict.offers
        ],
        "problems": [asdict(one) for one in verdict.problems],
        "unknowns": [asdict(one) for one in verdict.unknowns],
    }


def _table(verdict: Verdict) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("device", "full", "from", "factory", "size", "patch level", "channels", "state"):
        table.add_column(name, overflow="fold")
    for device in sorted({it.device for it in verdict.packages} | {it.device for it in verdict.offers}):
        mine = [one for one in verdict.packages if one.device == device]
        wrong = [one for one in verdict.problems if device in _devices(one.path)]
        table.add_row(
            device,
            _joined([one.build for one in mine if one.kind == "full"]),
            _joined([one.base for one in mine if one.kind == "incremental"]),
            _joined([one.build for one in mine if one.kind == "factory"]),
            size(sum(one.size for one in mine)),
            _joined([one.patch_level for one in mine]),
            _channels([one for one in verdict.offers if one.device == device]),
            f"[red]{counted(len(wrong), 'problem')}[/]" if wrong else "[green]ok[/]",
        )
    return table


def _devices(path: str) -> Sequence[str]:
    """Whom a problem is about: a file's folder, or a certificate's name."""
    return [*path.split("/")[1:2], path.rpartition("/")[2].removesuffix(".x509.pem")]


def _channels(offers: Sequence[Offered]) -> str:
    """How many there are, and by name those that the release has no line of."""
    own = sum(not one.derived for one in offers)
    return ", ".join([*([str(own)] if own else []), *(f"{one.channel}*" for one in offers if one.derived)]) or "-"


def _joined(words: Sequence[str]) -> str:
    return escape(", ".join(dict.fromkeys(filter(None, words)))) or "-"


def _conclusion(verdict: Verdict) -> str:
    what = f"{counted(len(verdict.packages), 'package')}, {size(verdict.size)}"
    derived = "\n* no line in the release: taken from the package" if any(one.derived for one in verdict.offers) else ""
    if verdict.publishable:
        return f"{derived}\n[green]publishable[/]: {what}"
    return f"{derived}\n[red]not publishable[/]: {counted(len(verdict.problems), 'problem')} in {what}"
