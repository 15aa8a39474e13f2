"""`audit`: can anybody get all that a manifest names?"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from backup import audited_sources
from cli.ending import in_order
from cli.gerrit.app import app
from cli.options import ForPrograms, Inventory, chosen
from inventories.errors import InputError
from inventories.files import replace
from inventories.inventory import LoadedSite
from roles.gerrit.tools.sources import ask, metrics, origin, page, site, told
from roles.gerrit.tools.sources.audit import exit_code
from roles.gerrit.tools.sources.git import Place
from roles.gerrit.tools.sources.manifest import Manifest
from roles.gerrit.tools.sources.source import Source
from roles.gerrit.tools.sources.told import Audited

OF_ONE = "--branch, --file, --url, --remote, --mirror, --groups"


@app.command()
def audit(
    manifest: Annotated[
        str,
        typer.Option(
            metavar="URL|FILE",
            help="What clients give `repo init -u`, or a file of a checkout of it; by default all of the "
            "inventory's settings.control.sources.",
        ),
    ] = "",
    branch: Annotated[str, typer.Option("--branch", "-b", help="Of the manifest; by default the server's own.")] = "",
    file: Annotated[
        str, typer.Option("--file", "-m", help="Of the manifest's repository; by default default.xml.")
    ] = "",
    url: Annotated[str, typer.Option(help="Of a FILE: where clients get it; by default its checkout's origin.")] = "",
    remotes: Annotated[
        list[str] | None,
        typer.Option("--remote", metavar="NAME", help="Audit these; by default those on the manifest's own host."),
    ] = None,
    mirror: Annotated[
        str, typer.Option(metavar="URL", help="The folder of their mirror, with which they have to agree.")
    ] = "",
    groups: Annotated[
        str, typer.Option("--groups", "-g", help="Only these, as of `repo init -g`; by default all.")
    ] = "",
    deep: Annotated[
        bool, typer.Option("--deep", help="Also read what is due of whole repositories and LFS objects.")
    ] = False,
    authority: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificates to trust in place of this machine's.")
    ] = None,
    for_programs: ForPrograms = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Also as a page.")] = None,
    status: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="For sources.html and sources.json: `backup watch` tells."),
    ] = None,
    metrics_: Annotated[
        Path | None, typer.Option("--metrics", metavar="FILE", help="Also as metrics, for node exporter.")
    ] = None,
    inventory: Inventory = None,
) -> None:
    """Audit the sources that `repo` manifests name: each project, its revision and its LFS objects, as anybody gets
    them, and on the mirror.

    Changes nothing, and needs no login. With --deep every repository is read whole within 30 days of nightly runs.
    Exit codes: 0 clean, 51 something is wrong, 3 servers gave no answer, and what else there is is right.
    """
    now = datetime.now(UTC)
    if not manifest and any((branch, file, url, remotes, mirror, groups)):
        raise InputError("--manifest", "", f"is not given, and {OF_ONE} are of one", "give it, or none of them")
    if manifest and status:
        raise InputError("--status", "", "tells of all that the inventory declares", "give no --manifest")
    loaded = None if manifest else chosen(inventory)
    read = site.patiently if status else site.fetched
    if loaded:
        sources: Sequence[Source] = _declared(loaded)
    else:
        is_file = "://" not in manifest
        at = (url or origin.of_checkout(Path(manifest))) if is_file else manifest
        read = partial(_of_file, Path(manifest)) if is_file else read
        sources = [_given(at, branch, file, remotes or [], mirror, groups)]
    found = []
    with in_order(), TemporaryDirectory(prefix="mainstay-") as scratch:
        trusting = authority or (site.trusting(loaded, Path(scratch)) if loaded else None)
        for source in sources:
            place = Place(Path(scratch), trusting)
            try:
                of = read(source, place)
                scope = site.scope(source, of, place, source.patience_minutes * 60 if status else 0)
            except InputError as error:
                if not loaded:
                    raise
                found.append(site.unread(source, error))
                continue
            with _progress() as tell:
                found.append(site.audited(source, of, scope, site.kept(loaded, source) if deep else None, now, tell))
    for path in ([html] if html else []) + ([status / "sources.html"] if status else []):
        page.write(path, found, now, loaded.name if loaded else manifest)
    if status:
        replace(status / audited_sources.FILE, json.dumps(told.as_json(found, now), indent=1), 0o644)
    if metrics_:
        metrics.write(metrics_, found, now)
    if for_programs:
        typer.echo(json.dumps(told.as_json(found, now), indent=2))
    else:
        _print(found, now)
    raise typer.Exit(exit_code(told.wrong(found)))


def _declared(loaded: LoadedSite) -> Sequence[Source]:
    """Raises InputError where there is none."""
    if found := site.declared(loaded):
        return found
    hint = "declare one, as roles/gerrit/README.md shows, or give --manifest"
    raise InputError(loaded.path, "settings.control.sources", "names no manifest", hint)


def _given(at: str, branch: str, file: str, remotes: Sequence[str], mirror: str, groups: str) -> Source:
    """As options say. It is judged where it is read: a checkout may be from an address that nobody is asked by."""
    made = Source.model_construct(manifest=at, branch=branch, remotes=tuple(remotes), mirror=mirror or None)
    return made.model_copy(update={"file": file or made.file, "groups": groups or made.groups})


def _of_file(path: Path, source: Source, _: Place) -> Manifest:
    return origin.checked_out(path, source.manifest)


def _print(found: Sequence[Audited], now: datetime) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for one in found:
        for finding in one.verdict.findings:
            console.print(f"  {finding}", markup=False)
    for one in found:
        console.print(f"{one.manifest}: {told.asked(one, now)}", markup=False)
    colour = "red" if told.wrong(found) else "green"
    console.print(f"[{colour}]{told.verdict_line(found)}[/]")


@contextmanager
def _progress() -> Iterator[ask.Tell]:
    """How many of how many, on a terminal alone."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("asking")
        yield lambda done, of: shown.update(task, completed=done, total=of)
