"""`password`: another one for an authentication key."""

from typing import Annotated

import typer

from cli.hsm.app import Declaration, Devices, PasswordFds, PasswordFiles, app, failures
from roles.signing.tools.errors import HsmError
from roles.signing.tools.passwords import Passwords
from roles.signing.tools.state import loading, making, way


@app.command()
def password(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Authentication key, as hsm.toml calls it.")],
    file: Declaration,
    devices: Devices = None,
    password_file: PasswordFiles = None,
    password_fd: PasswordFds = None,
) -> None:
    """Change the password of an authentication key, by that key itself: it has to have change-authentication-key.

    The new one is that of KEY.new. Nothing is changed unless the old one opens every device. Of a key that may not
    change itself: delete it by yubihsm-shell, and `mainstay hsm apply` makes it again.
    """
    declared = loading.load(file)
    with failures("password"):
        passwords = Passwords(password_file or (), password_fd or (), key)
        with way.connect(declared, declared.custody.chosen(devices or ()), passwords, key) as opened:
            fresh = passwords.of(f"{key}.new", new=True)
            for name, one in opened.devices.items():
                try:
                    making.password(one, key, fresh)
                except HsmError as error:
                    error.args = (f"{error}\nthose before it have the new one; then --device {name} and the rest",)
                    raise
                typer.echo(f"{name}: {key} has another password")
