"""`audit`: can anybody get all that a manifest names?"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from backup.reach import state_folder
from cli.gerrit.app import app
from cli.options import ForPrograms
from inventories.errors import InputError
from roles.gerrit.tools.sources import ask, deep, origin, told
from roles.gerrit.tools.sources.audit import Scope, Verdict
from roles.gerrit.tools.sources.audit import audit as audit_
from roles.gerrit.tools.sources.git import Place
from roles.gerrit.tools.sources.manifest import Manifest


@app.command()
def audit(
    manifest: Annotated[
        str, typer.Option(metavar="URL|FILE", help="What clients give `repo init -u`, or a file of a checkout of it.")
    ],
    branch: Annotated[str, typer.Option("--branch", "-b", help="Of the manifest; by default the server's own.")] = "",
    file: Annotated[str, typer.Option("--file", "-m", help="Of the manifest's repository.")] = "default.xml",
    url: Annotated[str, typer.Option(help="Of a FILE: where clients get it; by default its checkout's origin.")] = "",
    remotes: Annotated[
        list[str] | None,
        typer.Option("--remote", metavar="NAME", help="Audit these; by default those on the manifest's own host."),
    ] = None,
    mirror: Annotated[
        str, typer.Option(metavar="URL", help="The folder of their mirror, with which they have to agree.")
    ] = "",
    groups: Annotated[str, typer.Option("--groups", "-g", help="Only these, as of `repo init -g`.")] = "all",
    deep_: Annotated[
        bool, typer.Option("--deep", help="Also read LFS objects, and what is due of whole repositories.")
    ] = False,
    authority: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificates to trust in place of this machine's.")
    ] = None,
    for_programs: ForPrograms = False,
) -> None:
    """Audit the sources that a `repo` manifest names: each project, its revision and its LFS objects, as anybody gets
    them, and on the mirror.

    Changes nothing, and needs no login. With --deep every repository is read whole within 30 days of nightly runs.
    Exit codes: 0 clean, 51 something is wrong, 3 servers gave no answer, and what else there is is right.
    """
    now = datetime.now(UTC)
    with TemporaryDirectory(prefix="mainstay-") as scratch:
        git_place = Place(Path(scratch), authority)
        if "://" in manifest:
            at = manifest
            read = origin.fetched(at, branch, file, git_place)
        else:
            at = url or origin.of_checkout(Path(manifest))
            read = origin.checked_out(Path(manifest), at)
        chosen = _chosen(read, at, remotes or [])
        scope = Scope(dict.fromkeys(chosen, mirror), git_place)
        place = state_folder() / "sources" / f"{sha256(at.encode()).hexdigest()[:16]}.json"
        record = deep.load(place) if deep_ else None
        with _progress() as tell:
            verdict = audit_(read.of(groups), scope, record, now, tell)
        if record:
            record.save()
    if for_programs:
        typer.echo(json.dumps(told.as_json(verdict, at, now), indent=2))
    else:
        _print(verdict, chosen)
    raise typer.Exit(verdict.exit_code)


def _chosen(read: Manifest, at: str, asked: list[str]) -> list[str]:
    """Names of remotes. Raises InputError."""
    known = ", ".join(sorted(read.remotes)) or "none"
    if unknown := sorted({*asked} - {*read.remotes}):
        raise InputError("--remote", "", f"the manifest has no remote {unknown[0]!r}", f"it has: {known}")
    if found := asked or origin.own(read, at):
        return found
    raise InputError("--remote", "", f"no remote of the manifest is on the host of {at}", f"name one of: {known}")


def _print(verdict: Verdict, remotes: list[str]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for one in verdict.findings:
        console.print(f"  {one}", markup=False)
    asked = f"{verdict.projects} of {verdict.of} projects, of {', '.join(remotes)}; {verdict.repositories} repositories"
    rest = f"{verdict.pointers} files of LFS" + (f", {verdict.read} read whole" if verdict.read else "")
    colour, word = ("red", f"{len(verdict.wrong)} wrong") if verdict.wrong else ("green", "clean")
    console.print(f"[{colour}]{word}[/]: {asked}, {rest}; {verdict.seconds:.0f} s")


@contextmanager
def _progress() -> Iterator[ask.Tell]:
    """How many of how many, on a terminal alone."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("asking")
        yield lambda done, of: shown.update(task, completed=done, total=of)
