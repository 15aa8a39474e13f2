"""Who may enter by which listener, as htpasswd files that are the same in every run. Pure."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping

import bcrypt
from pydantic import SecretStr

from backup import custody
from backup.custody import ADMIN, APPEND, CONTROL
from inventories.errors import InputError
from inventories.inventory import LoadedSite

ROUNDS = 5
"""The passwords are 256 random bits: what is slow would serve only those who want the vault to be busy."""
PASSWORD_BYTES = 72
"""What bcrypt takes of a password."""
STANDARD = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
BCRYPT = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
"""The digits of base64 and of bcrypt's."""


def users(site: LoadedSite) -> dict[str, str]:
    """The htpasswd file of each listener. Raises InputError for a password that cannot be one."""
    secrets = {
        APPEND: {host: custody.host_secret(host) for host in custody.clients(site.fleet)},
        CONTROL: {CONTROL: custody.LOGINS[CONTROL]},
        ADMIN: {ADMIN: custody.LOGINS[ADMIN]},
    }
    for name in (secret for entries in secrets.values() for secret in entries.values()):
        if len(site.secrets[name].get_secret_value().encode()) > PASSWORD_BYTES:
            hint = "remove it, and `mainstay backup keys` makes another"
            raise InputError(site.secrets.path, name, f"is longer than {PASSWORD_BYTES} bytes", hint)
    return {
        listener: htpasswd(
            f"{site.fleet.site.domain} {listener}", {user: site.secrets[name] for user, name in entries.items()}
        )
        for listener, entries in secrets.items()
    }


def htpasswd(place: str, passwords: Mapping[str, SecretStr]) -> str:
    """A line `USER:HASH` for each user.

    The salt is made of place and user: another for each user of each vault, the same in every run, and it tells
    nothing of the password.
    """
    return "".join(f"{user}:{_hash(place, user, password)}\n" for user, password in sorted(passwords.items()))


def _hash(place: str, user: str, password: SecretStr) -> str:
    salt = b64encode(hashlib.sha256(f"{place} {user}".encode()).digest()[:16]).rstrip(b"=")
    form = f"$2b${ROUNDS:02}$".encode() + salt.translate(bytes.maketrans(STANDARD, BCRYPT))
    return bcrypt.hashpw(password.get_secret_value().encode(), form).decode()
