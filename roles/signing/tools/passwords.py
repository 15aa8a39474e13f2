"""Passwords of authentication keys, and wrap keys in hexadecimal: from descriptors, files, credentials or a prompt.

Never from a command line or a variable, which others can read, and never into one.
"""

import os
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from getpass import getpass
from pathlib import Path

from roles.signing.tools.ceremony import left_out
from roles.signing.tools.errors import HsmError

CREDENTIAL = "hsm-{}"
"""Name of systemd's credential that holds the password of a key (LoadCredential=, systemd.exec(5))."""


class Passwords:
    """files, descriptors: `NAME=WHAT` each, of the key of that name; or WHAT alone, of `own`.

    joined: how the holders of a key's shares are asked for them, by its name; in the place of one prompt.

    Descriptors are read at once and closed: no program that is started later gets them. A recording that goes on is
    told of each secret before anything else can come of it. Raises HsmError.
    """

    def __init__(
        self,
        files: Sequence[str],
        descriptors: Sequence[str],
        own: str,
        joined: Mapping[str, Callable[[], str]] | None = None,
    ) -> None:
        self._files = {name: Path(what) for name, what in (_named(one, own) for one in files)}
        self._joined = joined or {}
        self._known: dict[str, str] = {}
        for name, what in (_named(one, own) for one in descriptors):
            self._known[name] = descriptor(what, f"--password-fd {what}")
            left_out.tell(self._known[name])

    def of(self, name: str, *, new: bool = False) -> str:
        """new: of a key that is still to be made, for which a prompt asks twice. Raises HsmError."""
        if name not in self._known:
            self._known[name] = self._read(name, new)
            left_out.tell(self._known[name])
        return self._known[name]

    def _read(self, name: str, new: bool) -> str:
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        credential = Path(folder, CREDENTIAL.format(name)) if folder else None
        if name in self._files:
            return file(self._files[name])
        if credential and credential.exists():
            return file(credential)
        if name in self._joined:
            return self._joined[name]()
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


def descriptor(number: str, option: str) -> str:
    """The line that it holds; it is closed. Raises HsmError."""
    try:
        with os.fdopen(int(number), "rb") as opened:
            return _line(opened.read(), f"descriptor {number}")
    except (ValueError, OSError) as error:
        raise HsmError(f"{option}: cannot be read: {error}") from None


def file(path: Path) -> str:
    """The line that it holds, and nobody else may read. Raises HsmError."""
    try:
        with path.open("rb") as opened:
            status = os.fstat(opened.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
                raise HsmError(f"{path}: others may read it; `chmod 600 {path}`, and think of another password")
            return _line(opened.read(), str(path))
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
