"""`audit`: is there anything on the devices, or in the folder, that must not be?"""

import json
from datetime import UTC, datetime

import typer
from yubihsm.defs import OBJECT

from backup.sizes import counted
from cli.hsm.app import Declaration, Devices, PasswordFds, PasswordFiles, app, connected
from cli.hsm.planning import Key
from cli.options import ForPrograms
from roles.signing.tools.state import auditing, loading, reading


@app.command()
def audit(
    file: Declaration,
    devices: Devices = None,
    key: Key = "",
    password_file: PasswordFiles = None,
    password_fd: PasswordFds = None,
    for_programs: ForPrograms = False,
) -> None:
    """Audit the devices against hsm.toml, and wrapped keys and certificates on disk: nothing more than is declared.

    Changes nothing. Exit codes: 0 clean, 51 something is wrong. Whether a wrapped file holds the key that its name
    says, only an import shows; its length and its base64 are looked at.
    """
    declared = loading.load(file)
    with connected("audit", declared, devices, key, password_file, password_fd) as opened:
        found = opened.read()
        default = [
            each.place.name
            for each in found
            if (OBJECT.AUTHENTICATION_KEY, reading.DEFAULT_KEY) in each.objects
            and reading.has_default_password(opened.devices[each.place.name])
        ]
        made = auditing.audit(declared, found, opened.folder(), default, datetime.now(UTC))
    if for_programs:
        typer.echo(json.dumps(made.as_json(), indent=2))
    else:
        for finding in made.findings:
            typer.secho(str(finding), fg="red")
        looked = ", ".join(f"{name} {counted(count, 'object')}" for name, count in made.objects.items())
        verdict = f"{counted(len(made.findings), 'thing')} wrong" if made.findings else "nothing is wrong"
        typer.secho(f"{looked}: {verdict}", fg="red" if made.findings else "green")
    raise typer.Exit(made.exit_code)
