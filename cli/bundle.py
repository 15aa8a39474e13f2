"""`mainstay bundle`: what hosts that no network leads to are deployed from."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from backup.sizes import counted, size
from bundle import contents, iso, key, lock, making, verifying
from bundle.programs import ProgramError
from cli import lazy
from cli.ending import in_order
from cli.options import FAILED, ForPrograms, Inventory, chosen, stop
from cli.release.progress import bar

app = lazy.application(
    epilog="Exit codes: 0 done, 1 failed, 2 bad usage or bad input; of verify 60 unsigned, 61 signed by an unknown "
    "key, 62 a file was changed, 63 one is missing, 64 there is one too many, 65 it does not fit its lock.",
)
Role = Annotated[str, typer.Option("--for", metavar="ROLE", help="Of which hosts of the site.")]
_console = Console(stderr=True, highlight=False, soft_wrap=True)


def _say(text: str) -> None:
    _console.print(text, markup=False)


@contextmanager
def _failures(command: str) -> Iterator[None]:
    try:
        yield
    except ProgramError as error:
        raise stop(f"bundle {command}", error, FAILED) from None


@app.command("key")
def make_key(inventory: Inventory = None) -> None:
    """Make the key that bundles are signed with, unless there is one; the secret half goes among the secrets."""
    site = chosen(inventory)
    made = key.make(site)
    for one in [made] if made else key.known(site.files / key.FILE):
        typer.echo(f"{one.fingerprint}{'' if made else ' is there already'}")


@app.command("lock")
def lock_(role: Role, inventory: Inventory = None) -> None:
    """Lock what the role's hosts are deployed from: its packages and all that they need, as the mirror has them now."""
    site = chosen(inventory)
    with _failures("lock"):
        changes = making.lock_packages(site, role)
    for line in changes:
        typer.echo(line)
    typer.echo(f"{counted(len(changes), 'change')}: commit {site.files / lock.FILE}" if changes else "no change")


@app.command()
def make(
    role: Role,
    output: Annotated[
        Path | None,
        typer.Option(metavar="DIR_OR_ISO", help="Must not be there; default: ./SITE-ROLE-COMMIT. An image if *.iso."),
    ] = None,
    for_programs: ForPrograms = False,
    inventory: Inventory = None,
) -> None:
    """Make a bundle of this clone's commit: from the same commit and lock the same bytes, signatures and all."""
    site = chosen(inventory)
    with in_order(), _failures("make"):
        made = making.make(site, role, output, _say)
    if for_programs:
        typer.echo(json.dumps(asdict(made) | {"path": str(made.path)}, indent=2))
        return
    what = f"{counted(made.packages, 'Debian package')}, {counted(made.wheels, 'Python package')}"
    typer.echo(f"{made.path}: {size(made.size)}, {what}")
    typer.echo(f"for {made.about.hosts} at {made.about.commit}")
    typer.echo(f"signed by {made.fingerprint}")
    typer.echo(f"SHA-256 {made.digest}" + ("" if made.path.suffix == iso.SUFFIX else f" of {contents.SUMS}"))


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(exists=True, help="The folder, the mounted medium, or the image.")],
    for_programs: ForPrograms = False,
    inventory: Inventory = None,
) -> None:
    """Read all of a bundle: is it what was made, no more and no less, and by the key in the site's files?

    Exit codes 60 to 65 say what is wrong; of several things the first.
    """
    keys = key.known(chosen(inventory).files / key.FILE)
    with _failures("verify"), iso.opened(path) as folder, bar() as shown:
        total = sum((folder / one).lstat().st_size for one in contents.files(folder))
        task = shown.add_task("reading", total=total)
        verdict = verifying.verify(folder, keys, lambda count: shown.advance(task, count))
    if for_programs:
        problems = [asdict(one) | {"wrong": one.wrong.name.lower()} for one in verdict.problems]
        about = asdict(verdict.about) if verdict.about else None
        found = {"exit_code": verdict.code, "signer": verdict.signer, "about": about, "problems": problems}
        typer.echo(json.dumps(found, indent=2))
    else:
        for problem in verdict.problems:
            typer.secho(str(problem), fg="red")
        if not verdict.code and verdict.about:
            one = verdict.about
            typer.echo(f"right: {one.role} of {one.site} for {one.hosts} at {one.commit}, signed by {verdict.signer}")
    raise typer.Exit(verdict.code)
