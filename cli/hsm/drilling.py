"""`drill`: a backup of a signing host is brought back, and every key of it signs. Needs the lab."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from backup.sizes import counted
from cli.ending import in_order
from cli.hsm.app import PasswordFds, PasswordFiles, app
from cli.hsm.saving import Declared, Within
from cli.options import FAILED, ForPrograms, stop
from inventories.errors import InputError
from lab.signing import drilling
from roles.signing.tools.errors import HsmError
from roles.signing.tools.passwords import Passwords
from roles.signing.tools.saved import DECLARATION, checking
from roles.signing.tools.state import loading

ABANDONED = 44
"""Exit code, as of `mainstay drill`."""


@app.command()
def drill(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="As `mainstay hsm save` made it.")],
    published: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Certificates that phones know, *.x509.pem: each key must be there."),
    ] = None,
    vm: Annotated[
        bool, typer.Option("--vm/--here", help="On a throwaway VM with the role, or on this machine alone: seconds.")
    ] = True,
    declared: Declared = None,
    within_days: Within = checking.WITHIN_DAYS,
    password_file: PasswordFiles = None,
    password_fd: PasswordFds = None,
    for_programs: ForPrograms = False,
) -> None:
    """Bring a backup back onto an empty simulated HSM, by the wrap key's hexadecimal digits, and sign with each key.

    With these digits and the folder somebody has all keys: run it on a machine that is trusted as the signing host is.
    What it makes lies in memory, and is gone at its end. Exit codes: 41 it failed, 43 it could not start, 44 it was
    ended.
    """
    if os.geteuid() and vm:
        raise stop("hsm drill", "a VM needs root: it makes networks and boots hosts; --here does not", FAILED)
    console = Console(stderr=True, highlight=False)
    try:
        passwords = Passwords(password_file or (), password_fd or (), _only_wrap_key(folder))
        order = drilling.Order(vm, published, declared, within_days)
        with in_order(), console.status("drill") as status:
            report = drilling.drill(folder, passwords.of, order, status.update)
    except (drilling.NotStarted, HsmError) as error:
        raise stop("hsm drill", error, drilling.NOT_STARTED) from None
    except KeyboardInterrupt:
        raise stop("hsm drill", "it was ended; what it made is gone", ABANDONED) from None
    if for_programs:
        typer.echo(json.dumps(report.as_json(), indent=2))
    else:
        _tell(report)
    raise typer.Exit(report.exit_code)


def _only_wrap_key(folder: Path) -> str:
    """That of which an option without a name is; empty where there are more, or none is known."""
    try:
        names = list(loading.load(folder / DECLARATION).file.wrap_keys)
    except InputError:
        return ""
    return names[0] if len(names) == 1 else ""


def _tell(report: drilling.Report) -> None:
    told = report.as_json()
    colours = {"passed": "green", "failed": "red"}
    for one in told["checks"]:
        typer.secho(f"{one['check']:<14} {one['outcome']}", fg=colours.get(one["outcome"], "yellow"))
        for line in one["found"]:
            typer.secho(f"  {line}", fg="red")
    if report.not_in_it:
        typer.echo(f"in no backup, as no wrap key may take them out of a device: {', '.join(report.not_in_it)}")
    proved = [one for one in report.keys if not one["check"]]
    what = f"{counted(len(proved), 'key')} signed as the certificates say" if proved else "no key was brought back"
    verdict = f"{told['outcome']}: {what}; saved {report.saved or 'nobody knows when'}, {report.seconds:.0f} s"
    typer.secho(f"{report.folder}: {verdict}", fg=colours[told["outcome"]])
