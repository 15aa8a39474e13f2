"""The secret keys of whoever runs this: found, read, and unlocked in memory.

An identity is a file with an OpenSSH ed25519 key or native age keys (as age-keygen writes them, or that file encrypted
by `age -p`). A passphrase is asked on the terminal, once for a file in a process, and only when the key is needed.
pyrage takes no passphrase-protected SSH key, so `cryptography` opens it and hands it over unprotected, in memory only.
"""

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from getpass import getpass
from pathlib import Path
from typing import TypeAlias

import pyrage
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from inventories import keys
from inventories.errors import InputError

VARIABLE = "MAINSTAY_IDENTITY"
DEFAULTS = ("~/.ssh/id_ed25519", "~/.config/mainstay/age.txt")
ATTEMPTS = 3
_SSH_BEGIN, _SSH_END = "-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----"
_AGE_ENCRYPTED = (b"age-encryption.org/v1", b"-----BEGIN AGE ENCRYPTED FILE-----")
AgeIdentity: TypeAlias = "pyrage.ssh.Identity | pyrage.x25519.Identity"

_unlocked: dict[tuple[Path, bytes], list[AgeIdentity]] = {}


@dataclass(frozen=True)
class Identity:
    """One file of secret keys, not yet unlocked."""

    path: Path
    data: bytes = field(repr=False)
    labels: frozenset[str]
    """Its public parts (keys.label); empty when a passphrase hides them."""
    locked: bool

    def unlock(self) -> list[AgeIdentity]:
        """The keys in the file, for pyrage. Asks for a passphrase at most once in a process. Raises InputError."""
        key = (self.path, self.data)
        if key not in _unlocked:
            _unlocked[key] = self._ask() if self.locked else self._open(None)
        return _unlocked[key]

    def _ask(self) -> list[AgeIdentity]:
        for _ in range(ATTEMPTS):
            try:
                return self._open(_passphrase(self.path))
            except _WrongPassphraseError:
                continue
        raise InputError(self.path, "", f"wrong passphrase, {ATTEMPTS} times", "nothing was decrypted") from None

    def _open(self, passphrase: str | None) -> list[AgeIdentity]:
        if self.data.startswith(_SSH_BEGIN.encode()):
            return [_ssh(self.path, self.data, passphrase)]
        if passphrase is None:
            return _native(self.path, self.data)
        try:
            return _native(self.path, pyrage.passphrase.decrypt(self.data, passphrase))
        except pyrage.DecryptError:
            raise _WrongPassphraseError from None


class _WrongPassphraseError(Exception):
    """Asked again; never leaves this module."""


def find(given: Sequence[Path] | None = None) -> list[Identity]:
    """The identities to decrypt with: those given, else those of $MAINSTAY_IDENTITY, else the default ones that exist.

    A file that was named and cannot be read is an InputError; having none at all is not.
    """
    named = os.environ.get(VARIABLE)
    if given is not None:
        return [read(path) for path in given]
    if named:
        return [read(Path(part).expanduser()) for part in named.split(os.pathsep) if part]
    return [read(path) for path in (Path(default).expanduser() for default in DEFAULTS) if path.exists()]


def read(path: Path) -> Identity:
    """Looks at a file of secret keys without unlocking it. Raises InputError."""
    try:
        data = path.read_bytes().lstrip()
    except OSError as error:
        hint = f"it was named by ${VARIABLE} or the inventory: correct that"
        raise InputError(path, "", f"cannot be read: {error.strerror}", hint) from error
    if data.startswith(_SSH_BEGIN.encode()):
        public, locked = _look_at_ssh(path, data)
        return Identity(path, data, frozenset({public}), locked)
    if data.startswith(_AGE_ENCRYPTED):
        return Identity(path, data, frozenset(), True)
    public_parts = frozenset(str(key.to_public()) for key in _native(path, data))
    return Identity(path, data, public_parts, False)


def _look_at_ssh(path: Path, data: bytes) -> tuple[str, bool]:
    """The label and whether there is a passphrase: both stand in the clear (PROTOCOL.key of OpenSSH)."""
    try:
        body = data.decode("ascii").split(_SSH_BEGIN)[1].split(_SSH_END)[0]
        blob = base64.b64decode(body)
        if not blob.startswith(b"openssh-key-v1\0"):
            raise ValueError("no OpenSSH key")
        rest = blob.removeprefix(b"openssh-key-v1\0")
        cipher, rest = keys.string(rest)
        _, rest = keys.string(rest)
        _, rest = keys.string(rest)
        public, _ = keys.string(rest[4:])
        kind = keys.string(public)[0].decode("ascii")
    except (ValueError, IndexError) as error:
        raise InputError(path, "", "is not a whole OpenSSH private key", "restore it, or name another key") from error
    if kind != keys.ED25519:
        hint = f"name another by ${VARIABLE}, or use a native age key (age-keygen) in {DEFAULTS[1]}"
        raise InputError(path, "", f"is a {kind} key, which cannot decrypt secrets", hint)
    line = f"{kind} {base64.b64encode(public).decode()}"
    return keys.label(line), cipher != b"none"


def _ssh(path: Path, data: bytes, passphrase: str | None) -> AgeIdentity:
    try:
        key = serialization.load_ssh_private_key(data, None if passphrase is None else passphrase.encode())
    except (ValueError, TypeError) as error:
        if passphrase is not None:
            raise _WrongPassphraseError from None
        raise InputError(path, "", "is not a whole OpenSSH private key", "restore it, or name another key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(path, "", "is no ed25519 key", f"name another by ${VARIABLE}")
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    unlocked: AgeIdentity = pyrage.ssh.Identity.from_buffer(plain)
    return unlocked


def _native(path: Path, data: bytes) -> list[AgeIdentity]:
    lines = [line.strip() for line in data.decode(errors="replace").splitlines()]
    wanted = [line for line in lines if line and not line.startswith("#")]
    try:
        found = [pyrage.x25519.Identity.from_str(line) for line in wanted]
    except pyrage.IdentityError:
        found = []
    if not found:
        hint = "expected an OpenSSH private key, or lines AGE-SECRET-KEY-1... as age-keygen writes them"
        raise InputError(path, "", "holds no key that can decrypt secrets", hint) from None
    return found


def _passphrase(path: Path) -> str:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        hint = f"run it from a terminal, or name a key without passphrase by ${VARIABLE}"
        raise InputError(path, "", "needs its passphrase, and there is no terminal to ask on", hint) from None
    return getpass(f"Passphrase of {path}: ")
