"""`fingerprints`: what people read aloud to each other."""

import json
from typing import Annotated

import typer

from cli.hsm.app import Declaration, Devices, PasswordFds, PasswordFiles, app, connected, failures
from cli.hsm.planning import Key
from cli.options import ForPrograms
from roles.signing.tools.ceremony.fingerprints import fingerprints as made
from roles.signing.tools.state import loading
from roles.signing.tools.state.folder import Folder


@app.command()
def fingerprints(
    file: Declaration,
    devices: Devices = None,
    key: Key = "",
    files: Annotated[bool, typer.Option("--files", help="Of what is on disk alone: no device is asked.")] = False,
    password_file: PasswordFiles = None,
    password_fd: PasswordFds = None,
    for_programs: ForPrograms = False,
) -> None:
    """SHA-256 of hsm.toml, of each declared key's public key, and of certificates, in groups to be read aloud.

    Changes nothing. Of a public key it is that of its DER (SubjectPublicKeyInfo), of a certificate that of its DER.
    """
    declared = loading.load(file)
    if files:
        with failures("fingerprints"):
            found = made(declared, Folder(declared.folder), ())
    else:
        with connected("fingerprints", declared, devices, key, password_file, password_fd) as opened:
            found = made(declared, opened.folder(), opened.read())
    if for_programs:
        typer.echo(json.dumps([one._asdict() for one in found], indent=2))
    else:
        typer.echo("\n".join(str(one) for one in found))
