"""`shares`: a wrap key that no person knows, made for its holders and tried by them."""

import secrets
import sys
from pathlib import Path
from typing import Annotated

import typer

from backup.sizes import counted
from cli import lazy
from cli.hsm.app import Declaration, app, failures
from inventories.errors import InputError
from roles.signing.tools import passwords
from roles.signing.tools.ceremony import holders, shares
from roles.signing.tools.errors import HsmError
from roles.signing.tools.state import loading, words

group = lazy.application()
app.add_typer(group, name="shares", help="A wrap key in shares, of which so many as hsm.toml says make it together.")


@group.command()
def split(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A wrap key of hsm.toml that has `shares` there.")],
    file: Declaration,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where each holder's share is put, encrypted to them.")],
    secret_fd: Annotated[
        str, typer.Option(metavar="N", help="Split these hexadecimal digits, of that file descriptor, not a new key.")
    ] = "",
) -> None:
    """Make a wrap key, split it (SLIP-39), and encrypt each share to its holder's SSH key by age.

    The key is shown nowhere and kept nowhere: `apply` joins it of the shares. No file is overwritten.
    """
    declared = loading.load(file)
    one = declared.file.wrap_keys.get(key)
    if not one or not one.shares:
        has = "has no shares" if one else "no such wrap key"
        raise InputError(file, f"wrap_keys.{key}", has, "declare who holds them: see roles/signing/README.md")
    size = words.WRAPS[one.algorithm].to_key_size()
    with failures("shares split"):
        if secret_fd:
            secret = _digits(passwords.descriptor(secret_fd, f"--secret-fd {secret_fd}"), size)
        else:
            secret = secrets.token_bytes(size)
        made = holders.hand_out(key, secret, one.shares.threshold, one.shares.holders, out)
    of = f"{counted(len(made), 'share')} of {key}, of which any {one.shares.threshold} make it"
    typer.echo(f"{of}; each is for its holder, who reads it by `age -d -i KEY FILE`:")
    for path in made:
        typer.echo(f"  {path}")


@group.command()
def join(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE...", help="Words of shares; without any, they are asked for.")
    ] = None,
) -> None:
    """Do these shares make a key? It is not shown, and goes nowhere: `apply` joins them itself.

    For holders who want to know that theirs are whole.
    """
    with failures("shares join"):
        if files:
            secret = shares.given([(str(path), passwords.file(path)) for path in files], "the key")
        elif sys.stdin.isatty():
            secret = shares.asked("the key")
        else:
            raise HsmError("no shares: name files with their words; there is no terminal where they could be typed")
    typer.secho(f"they make a key of {len(secret)} bytes", fg="green")


def _digits(text: str, size: int) -> bytes:
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) != size:
        raise HsmError(f"--secret-fd: must hold {2 * size} hexadecimal digits")
    return secret
