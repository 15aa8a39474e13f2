"""`record`: a transcript of what people did and saw."""

from pathlib import Path
from typing import Annotated

import typer

from backup.sizes import counted
from cli.hsm.app import app, failures
from roles.signing.tools.ceremony import fingerprints, recording


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def record(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The transcript; what it has is kept, and added to.")],
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[-- COMMAND...]", help="What is recorded; by default a shell.")
    ] = None,
) -> None:
    """Record what a terminal shows, with times, and secrets left out of it, until the command or shell ends.

    What is typed without echo is never in it. Left out are what looks like a wrap key, a share, a private key or an age
    key, and passwords that this program's commands were given meanwhile. Exit code: the command's.
    """
    with failures("record"):
        typer.echo(f"recorded in {file} until this ends; `exit` ends a shell", err=True)
        words = command or []
        done = recording.record(file, words[1:] if words[:1] == ["--"] else words)
    typer.echo(f"{file}: {counted(done.left_out, 'thing')} left out", err=True)
    typer.echo("\n".join(fingerprints.aloud(fingerprints.of_file(file))), err=True)
    raise typer.Exit(done.code)
