"""`drain` and `run`: the logs into custody."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cli.hsm.app import Declaration, Devices, PasswordFds, PasswordFiles, app, failures
from cli.options import BAD_USAGE, FAILED, UNREACHABLE, ForPrograms, stop
from roles.signing.tools import places
from roles.signing.tools.custody import running
from roles.signing.tools.custody.draining import Drained, incidents_of
from roles.signing.tools.custody.draining import drain as drain_one
from roles.signing.tools.custody.git import Git
from roles.signing.tools.errors import INCIDENT, Unreachable
from roles.signing.tools.passwords import Passwords


@app.command()
def drain(
    file: Declaration,
    devices: Devices = None,
    bundle: Annotated[
        Path | None, typer.Option(metavar="FILE", help="All of the repository in one file, for a medium.")
    ] = None,
    password_file: PasswordFiles = None,
    password_fd: PasswordFds = None,
    for_programs: ForPrograms = False,
) -> None:
    """Bring the devices' logs into the repository, commit, and only then free their slots; push, if it has a remote.

    Killed at any moment it loses nothing, and goes on when it is run again. Exit codes: 54 an incident, which is
    recorded; 3 a device, or the remote, does not answer, and all else is done.
    """
    with failures("drain"):
        custody = places.read(file)
        passwords = Passwords(password_file or (), password_fd or (), custody.reader)
        git = Git(custody.repository)
        done: list[Drained] = []
        away: list[str] = []
        pushed = False
        for place in custody.chosen(devices or ()):
            try:
                done.append(drain_one(place, git, custody.reader_id, lambda: passwords.of(custody.reader)))
            except Unreachable as error:
                away.append(str(error))
        try:
            pushed = git.push()
        except Unreachable as error:
            away.append(str(error))
        if bundle:
            git.bundle(bundle)
    incidents = incidents_of(done)
    code = INCIDENT if incidents else UNREACHABLE if away else 0
    if for_programs:
        devices_told = [one.as_json() for one in done]
        told = {"exit_code": code, "devices": devices_told, "unreachable": away, "pushed": pushed}
        typer.echo(json.dumps(told, indent=2))
    else:
        for one in done:
            typer.echo(f"{one.place}: {one.entries} new, the newest is entry {one.last}")
    _tell(incidents)
    for text in away:
        typer.secho(f"mainstay hsm drain: {text}", fg="red", err=True)
    raise typer.Exit(code)


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def run(
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="What to run, with its arguments.")],
    file: Declaration,
    device: Annotated[str, typer.Option(metavar="NAME", help="That the command uses; by default the first.")] = "",
    slots: Annotated[int, typer.Option(min=1, max=60, help="Free slots of the log that it needs.")] = running.ROOM,
    password_file: PasswordFiles = None,
    password_fd: PasswordFds = None,
) -> None:
    """Run a command that uses a device, and drain its log afterwards; before it, too, where the log has not room.

    Exit code: the command's, if that is not 0; else 54 for an incident. Nothing is pushed: `drain` does that. Scripts
    that sign many packages take bin/hsm-run, which is the same and starts sooner.
    """
    with failures("run"):
        custody = places.read(file)
        place = custody.chosen([device] if device else ())[0]
        passwords = Passwords(password_file or (), password_fd or (), custody.reader)
        try:
            code, incidents = running.in_custody(custody, place, command, slots, passwords)
        except running.NotDrained as error:
            raise stop("hsm run", error, error.code or FAILED) from None
        except FileNotFoundError:
            raise stop("hsm run", f"{command[0]}: there is no such program", BAD_USAGE) from None
    _tell(incidents)
    raise typer.Exit(code)


def _tell(incidents: Sequence[str]) -> None:
    for text in incidents:
        typer.secho(text, fg="red", err=True)
