"""`save` and `check`: the backup of a signing host, as a folder on a medium."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from backup.sizes import counted, size
from cli.hsm.app import Declaration, app, failures
from cli.options import ForPrograms
from roles.signing.tools.saved import checking, saving
from roles.signing.tools.state import loading

Declared = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The hsm.toml that is to be in it, as in the project's repository.")
]
Within = Annotated[int, typer.Option(min=1, metavar="DAYS", help="How old it may be.")]


@app.command()
def save(
    target: Annotated[Path, typer.Argument(metavar="DIR", help="On the medium; it must not be there yet.")],
    file: Declaration,
    for_programs: ForPrograms = False,
) -> None:
    """Save wrapped keys, certificates, logs and hsm.toml into one new folder, and read it back from the medium.

    It is there whole or not at all. Needs no device; what it holds is of no use without the wrap key.
    """
    declared = loading.load(file)
    with failures("save"):
        made = saving.save(declared, target)
    if for_programs:
        typer.echo(json.dumps(made._asdict() | {"folder": str(made.folder)}))
        return
    keys, certificates = counted(made.keys, "wrapped key"), counted(made.certificates, "certificate")
    entries = counted(made.entries, "log entry", "log entries")
    typer.echo(f"{made.folder}: {keys}, {certificates}, {entries}, {size(made.bytes)}, read back")


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="As `mainstay hsm save` made it.")],
    declared: Declared = None,
    within_days: Within = checking.WITHIN_DAYS,
    for_programs: ForPrograms = False,
) -> None:
    """Check such a folder: checksums, hsm.toml, that each declared key is there, certificates, logs, and its age.

    Needs no device, and works on any machine. Exit code 51: something is wrong. That its keys work, a drill shows.
    """
    with failures("check"):
        found = checking.check(folder, datetime.now(UTC), within_days=within_days, declared=declared)
    if for_programs:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        for finding in found.findings:
            typer.secho(str(finding), fg="red")
        wrong = counted(len(found.findings), "thing")
        verdict = f"{wrong} wrong" if found.findings else f"whole, saved {found.saved}"
        typer.secho(f"{folder}: {verdict}", fg="red" if found.findings else "green")
    raise typer.Exit(found.exit_code)
