"""`prove`: does each key work, and is it the one that its certificate is of?"""

import json

import typer

from backup.sizes import counted
from cli.hsm.app import Declaration, Devices, PasswordFds, PasswordFiles, app, failures
from cli.options import ForPrograms
from roles.signing.tools.passwords import Passwords
from roles.signing.tools.state import loading, proving


@app.command()
def prove(
    file: Declaration,
    devices: Devices = None,
    password_file: PasswordFiles = None,
    password_fd: PasswordFds = None,
    for_programs: ForPrograms = False,
) -> None:
    """Sign with each key on the first device what says so, and verify that by the key and its certificate on disk.

    By the authentication keys that may sign, whose passwords it takes. Exit code 51: something is wrong. Each is one
    signature in the log.
    """
    declared = loading.load(file)
    place = declared.custody.chosen(devices or ())[0]
    with failures("prove"):
        proofs = proving.prove(declared, place, Passwords(password_file or (), password_fd or (), ""))
    wrong = [one for one in proofs if one.check]
    code = proving.WRONG if wrong else 0
    if for_programs:
        typer.echo(json.dumps({"exit_code": code, "keys": [one.as_json() for one in proofs]}, indent=2))
    else:
        for one in wrong:
            typer.secho(f"{one.name} ({one.id:#06x}): {one.check}: {one.told}", fg="red")
        verdict = f"{counted(len(proofs), 'key')}, {len(wrong) or 'nothing'} wrong"
        typer.secho(f"{place}: {verdict}", fg="red" if wrong else "green")
    raise typer.Exit(code)
