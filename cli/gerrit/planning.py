"""`plan` and `apply`: groups, projects and rights, as they are declared and as they are."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from backup.reach import Unreachable, state_folder
from backup.sizes import counted
from cli.gerrit.app import app
from cli.options import FAILED, UNREACHABLE, ForPrograms, Inventory, agreed, chosen, stop
from inventories.inventory import LoadedSite
from roles.gerrit import secure
from roles.gerrit.tools.access import applying, loading, lock, planning
from roles.gerrit.tools.access.declared import FILE
from roles.gerrit.tools.access.expectations import Outcome
from roles.gerrit.tools.access.planning import Plan, Way
from roles.gerrit.tools.access.remembered import Remembered
from roles.gerrit.tools.access.steps import Step
from roles.gerrit.tools.rest import Refused, connected
from roles.gerrit.tools.server import host_of


@app.command()
def plan(for_programs: ForPrograms = False, inventory: Inventory = None) -> None:
    """Compare gerrit.toml with the server, in words: + is missing, - is there and not declared, ~ is otherwise.

    Changes nothing. Exit codes: 0 all is as declared, 52 it is not, or a permission comes out otherwise than expected.
    """
    with failures("plan"), opened(chosen(inventory)) as way:
        made = planning.plan(way)
    tell(made, for_programs)
    raise typer.Exit(made.exit_code)


@app.command()
def apply(
    dry: Annotated[bool, typer.Option("--dry", help="As `plan`: tell what would be done, and do nothing.")] = False,
    sure: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    for_programs: ForPrograms = False,
    inventory: Inventory = None,
) -> None:
    """Make the server as gerrit.toml declares it, after showing what differs and asking.

    No project, group or account is ever removed. Killed, or after any failure, it is run again. Fails (1) also when a
    permission comes out otherwise than expected.
    """
    site = chosen(inventory)
    done: list[Step] = []
    with failures("apply", done), opened(site) as way:
        made = planning.plan(way)
        if dry or not made.steps:
            tell(made, for_programs)
            raise typer.Exit(made.exit_code if dry else FAILED if made.broken else 0)
        if not for_programs:
            tell(made, for_programs)
        agreed("gerrit apply", sure)

        def say(step: Step) -> None:
            done.append(step)
            if sys.stderr.isatty():
                typer.echo(f"done: {step.about}", err=True)

        with lock.alone(site):
            came_of_it = applying.apply(way, say)
    if for_programs:
        about = {"exit_code": FAILED if came_of_it.broken else 0}
        steps = [{"about": one.about, "words": one.words} for one in done]
        outcomes = [{"expected": one.expected, "holds": one.holds, "told": one.told} for one in came_of_it.outcomes]
        typer.echo(json.dumps(about | {"done": steps, "expectations": outcomes}, indent=2))
    else:
        typer.echo(f"done: {counted(len(done), 'change')}")
    if came_of_it.broken:
        raise stop("gerrit apply", expected(came_of_it.broken), FAILED)


@contextmanager
def opened(site: LoadedSite) -> Iterator[Way]:
    """What is declared, and the server. All of what is declared is checked before any host is asked."""
    declared = loading.load(site.files, site.admins, secure.ACCOUNT)
    tokens = {
        bot.token: site.secrets[bot.token].get_secret_value().strip() for bot in declared.bots.values() if bot.token
    }
    place = state_folder() / "gerrit" / f"{site.name}-{host_of(site)}.json"
    with connected(site) as server, TemporaryDirectory(prefix="mainstay-") as scratch:
        reading = Progressing("reading")
        try:
            yield Way(server, declared, Remembered(place), tokens.__getitem__, Path(scratch), reading)
        finally:
            reading.end()


@contextmanager
def failures(command: str, done: list[Step] | None = None) -> Iterator[None]:
    """What stops a command, in its words and with its exit code, and what was done until then."""
    try:
        yield
    except Unreachable as error:
        raise stop(f"gerrit {command}", _with(str(error), done), UNREACHABLE) from None
    except Refused as error:
        raise stop(f"gerrit {command}", _with(str(error), done), FAILED) from None


def _with(error: str, done: list[Step] | None) -> str:
    if done is None:
        return error
    told = [f"  {one.about}: {one.words[0]}" + (" ..." if one.words[1:] else "") for one in done]
    return "\n".join([error, f"done until then: {counted(len(done), 'change')}; the same command goes on", *told])


def tell(made: Plan, for_programs: bool) -> None:
    """What differs, by what it is of, and what exists besides."""
    if for_programs:
        typer.echo(json.dumps(made.as_json(), indent=2))
        return
    console = Console(highlight=False, soft_wrap=True)
    colours = {"+": "green", "-": "red", "~": "yellow"}
    about: dict[str, list[str]] = {}
    for step in made.steps:
        about.setdefault(step.about, []).extend(step.words)
    for what, words in about.items():
        console.print(what, markup=False, style="bold")
        for line in words:
            console.print(f"  {line}", markup=False, style=colours[line[0]])
    for what, names in (("groups", made.groups), ("projects", made.projects)):
        if names:
            console.print(f"not declared, and left alone: {what} {', '.join(names)}", markup=False)
    for line in made.notes:
        console.print(line, markup=False, style="yellow")
    if made.broken:
        console.print(expected(made.broken), markup=False, style="red")
    as_expected = counted(len(made.outcomes) - len(made.broken), "permission")
    differs = f"{counted(len(about), 'thing')} differ from {FILE}" if about else f"all is as {FILE} declares it"
    console.print(f"{differs}; {as_expected} as expected", markup=False)


def expected(broken: tuple[Outcome, ...]) -> str:
    return "\n".join(["not as expected:", *(f"  {one}" for one in broken)])


class Progressing:
    """How many of how many, on a terminal alone, and gone when all are."""

    def __init__(self, what: str) -> None:
        self._console, self._what = Console(stderr=True), what
        self._shown: Progress | None = None

    def __call__(self, done: int, of: int) -> None:
        if self._shown is None and self._console.is_terminal and done < of:
            self._shown = Progress(console=self._console, transient=True)
            self._shown.add_task(self._what, total=of)
            self._shown.start()
        if self._shown:
            self._shown.update(self._shown.task_ids[0], completed=done, total=of)
            if done >= of:
                self.end()

    def end(self) -> None:
        """Also before all are done."""
        if self._shown:
            self._shown.stop()
            self._shown = None
