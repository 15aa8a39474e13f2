"""Passwords of authentication keys, and wrap keys in hexadecimal: from descriptors, files, credentials or a prompt.

Never from a command line or a variable, which others can read, and never into one.
"""

import os
import stat
import sys
from collections.abc import Sequence
from getpass import getpass
from pathlib import Path

from roles.signing.tools.errors import HsmError

CREDENTIAL = "hsm-{}"
"""Name of systemd's credential that holds the password of a key (LoadCredential=, systemd.exec(5))."""


class Passwords:
    """files, descriptors: `NAME=WHAT` each, of the key of that name; or WHAT alone, of `own`.

    Descriptors are read at once and closed: no program that is started later gets them. Raises HsmError.
    """

    def __init__(self, files: Sequence[str], descriptors: Sequence[str], own: str) -> None:
        self._files = {name: Path(what) for name, what in (_named(one, own) for one in files)}
        self._known: dict[str, str] = {}
        for name, what in (_named(one, own) for one in descriptors):
            try:
                with os.fdopen(int(what), "rb") as file:
                    self._known[name] = _line(file.read(), f"descriptor {what}")
            except (ValueError, OSError) as error:
                raise HsmError(f"--password-fd {what}: cannot be read: {error}") from None

    def of(self, name: str, *, new: bool = False) -> str:
        """new: of a key that is still to be made, for which a prompt asks twice. Raises HsmError."""
        if name not in self._known:
            self._known[name] = self._read(name, new)
        return self._known[name]

    def _read(self, name: str, new: bool) -> str:
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        credential = Path(folder, CREDENTIAL.format(name)) if folder else None
        if name in self._files:
            return _file(self._files[name])
        if credential and credential.exists():
            return _file(credential)
        if not sys.stdin.isatty():
            raise HsmError(
                f"no password of {name}: give --password-file {name}=FILE or --password-fd {name}=N, "
                f"or systemd's credential {CREDENTIAL.format(name)}; there is no terminal to ask on"
            )
        told = getpass(f"Password of {name}: ")
        if new and getpass(f"Password of {name}, again: ") != told:
            raise HsmError(f"the two passwords of {name} differ")
        return _line(told.encode(), "what was typed")


def _named(option: str, own: str) -> tuple[str, str]:
    name, equals, what = option.partition("=")
    return (name, what) if equals else (own, option)


def _file(path: Path) -> str:
    """Raises HsmError."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
                raise HsmError(f"{path}: others may read it; `chmod 600 {path}`, and think of another password")
            return _line(file.read(), str(path))
    except OSError as error:
        raise HsmError(f"{path}: cannot be read: {error.strerror}") from None


def _line(content: bytes, where: str) -> str:
    try:
        text = content.decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise HsmError(f"{where}: is not UTF-8") from None
    if not text or "\n" in text:
        raise HsmError(f"{where}: must hold one line, the password alone")
    return text
