"""`plan` and `apply`: the devices' state, as it is declared and as it is."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from backup.sizes import counted
from cli.hsm.app import Declaration, Devices, PasswordFds, PasswordFiles, app, connected, failures
from cli.options import ForPrograms, agreed
from roles.signing.tools.ceremony import joining
from roles.signing.tools.errors import HsmError
from roles.signing.tools.passwords import Passwords
from roles.signing.tools.state import loading, way
from roles.signing.tools.state.planning import Plan, Step

Key = Annotated[
    str,
    typer.Option(
        metavar="NAME|ID",
        help="Authentication key to log in by; by default state.key of the file. A new device: 0x0001.",
    ),
]


@app.command()
def plan(
    file: Declaration,
    devices: Devices = None,
    key: Key = "",
    password_file: PasswordFiles = None,
    password_fd: PasswordFds = None,
    for_programs: ForPrograms = False,
) -> None:
    """Compare hsm.toml with the devices, and these with each other: + is missing, - is not declared, ~ is otherwise.

    Changes nothing. Exit codes: 0 all is as declared, 52 it is not.
    """
    declared = loading.load(file)
    with connected("plan", declared, devices, key, password_file, password_fd) as opened:
        made = opened.plan()
    tell(made, for_programs)
    raise typer.Exit(made.exit_code)


@app.command()
def apply(
    file: Declaration,
    devices: Devices = None,
    key: Key = "",
    dry: Annotated[bool, typer.Option("--dry", help="As `plan`: tell what would be done, and do nothing.")] = False,
    sure: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    share: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=FILE", help="Words of a share of a wrap key; can be repeated. By default they are asked for."
        ),
    ] = None,
    password_file: PasswordFiles = None,
    password_fd: PasswordFds = None,
    for_programs: ForPrograms = False,
) -> None:
    """Create on the devices what is declared and missing, after showing it and asking; set what they log.

    Nothing is ever deleted or replaced: what a person has to do is said. Killed, unplugged or after any failure, it is
    run again. Exit codes: 0 all is as declared then, 52 what is left is for a person.
    """
    declared = loading.load(file)
    login = key or declared.file.state.key
    done: list[Step] = []
    with failures("apply"):
        joined = joining.sources(declared.file.wrap_keys, share or ())
        passwords = Passwords(password_file or (), password_fd or (), login, joined)
        with way.connect(declared, declared.custody.chosen(devices or ()), passwords, login) as opened:
            made = opened.plan()
            if dry or not made.doable:
                tell(made, for_programs)
                raise typer.Exit(made.exit_code)
            if not for_programs:
                tell(made, for_programs)
            agreed("hsm apply", sure)
            for step in made.doable:
                if step.secret:
                    passwords.of(step.secret, new=True)
            try:
                _carry_out(made, opened, done)
                made = opened.plan()
            except HsmError as error:
                error.args = (f"{error}\ndone until then: {counted(len(done), 'change')}; the same command goes on",)
                raise
    if for_programs:
        about = made.as_json()
        typer.echo(json.dumps(about | {"done": [{"about": one.about, "words": one.words} for one in done]}, indent=2))
    else:
        typer.echo(f"done: {counted(len(done), 'change')}")
        if made.steps:
            tell(made, for_programs)
    raise typer.Exit(made.exit_code)


def _carry_out(made: Plan, opened: way.Way, done: list[Step]) -> None:
    """One after the other; a key of 4096 bits takes a device minutes, so what is being done is said."""
    console = Console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.completed}/{task.total} {task.description}", markup=False)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("", total=len(made.doable))
        for step in made.doable:
            shown.update(task, description=step.about)
            assert step.do
            step.do(opened.devices)
            done.append(step)
            shown.advance(task)


def tell(made: Plan, for_programs: bool) -> None:
    """What differs, by what it is of."""
    if for_programs:
        typer.echo(json.dumps(made.as_json(), indent=2))
        return
    console = Console(highlight=False, soft_wrap=True)
    colours = {"+": "green", "-": "red", "~": "yellow"}
    for step in made.steps:
        console.print(step.about + ("" if step.do else ", by hand"), markup=False, style="bold")
        for line in step.words:
            console.print(f"  {line}", markup=False, style=colours.get(line[0], ""))
    by_hand = len(made.steps) - len(made.doable)
    left = f", {by_hand} of them for a person" if by_hand else ""
    console.print(f"{counted(len(made.steps), 'thing')} to be done{left}" if made.steps else "all is as it is declared")
