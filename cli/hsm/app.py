"""What the commands of `mainstay hsm` share."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import lazy
from cli.options import FAILED, UNREACHABLE, stop

if TYPE_CHECKING:
    from roles.signing.tools.state.loading import Declared
    from roles.signing.tools.state.way import Way

COMMANDS = {
    "plan": "planning",
    "apply": "planning",
    "shares": "sharing",
    "audit": "auditing",
    "fingerprints": "fingerprinting",
    "checklist": "listing",
    "record": "recording",
    "password": "renewing",
    "drain": "draining",
    "run": "draining",
    "verify": "verifying",
    "accept": "verifying",
    "prove": "proving",
    "save": "saving",
    "check": "saving",
} | ({"drill": "drilling"} if find_spec("cli.hsm.drilling") and find_spec("lab") else {})
"""The module of each, as an admin needs them. A drill is for who has a lab: not for the signing host."""
app = lazy.commands(
    "cli.hsm",
    COMMANDS,
    "Exit codes: 0 done, 1 failed, 2 bad usage or bad input, 3 unreachable; of plan 52, a device is not as declared; "
    "of audit, check, prove 51, something is wrong; of drain, run, verify 54, an incident that nobody has accepted; of "
    "verify 55, other signatures than expected; of drill 41, it failed, 43, it could not start.",
)
Declaration = Annotated[
    Path,
    typer.Option("--file", envvar="MAINSTAY_HSM", help="What declares the HSMs, beside the inventory: hsm.toml."),
]
PasswordFiles = Annotated[
    list[str] | None,
    typer.Option("--password-file", metavar="[KEY=]FILE", help="Of an authentication key; without KEY, of this one."),
]
PasswordFds = Annotated[
    list[str] | None,
    typer.Option("--password-fd", metavar="[KEY=]N", help="The same, from a file descriptor, which is closed then."),
]
Devices = Annotated[list[str] | None, typer.Option("--device", metavar="NAME", help="This one; can be repeated.")]


@contextmanager
def connected(
    command: str,
    declared: "Declared",
    devices: list[str] | None,
    key: str,
    password_file: list[str] | None,
    password_fd: list[str] | None,
) -> Iterator["Way"]:
    """The devices, for a command that only looks. key: to log in by; by default state.key of hsm.toml."""
    from roles.signing.tools.passwords import Passwords
    from roles.signing.tools.state import way

    login = key or declared.file.state.key
    with failures(command):
        passwords = Passwords(password_file or (), password_fd or (), login)
        with way.connect(declared, declared.custody.chosen(devices or ()), passwords, login) as opened:
            yield opened


@contextmanager
def failures(command: str) -> Iterator[None]:
    """What stops a command, in its words and with its exit code."""
    from roles.signing.tools.errors import HsmError, Unreachable

    try:
        yield
    except Unreachable as error:
        raise stop(f"hsm {command}", error, UNREACHABLE) from None
    except HsmError as error:
        raise stop(f"hsm {command}", error, FAILED) from None
