"""What of Gerrit's configuration nobody may read. Most follows from one secret of the site: the token of the account
that `mainstay gerrit` acts by."""

import hmac
import re
from base64 import b64encode
from collections.abc import Mapping

from pydantic import SecretStr

from inventories.errors import InputError
from inventories.inventory import LoadedSite
from roles.gerrit.config_text import text

TOKEN = "gerrit_token"  # noqa: S105  # its name
ACCOUNT = "mainstay"
"""Gerrit's user name of that account; it is an administrator."""


def token(site: LoadedSite) -> SecretStr:
    """Raises InputError when there is none, or it is easily guessed."""
    found = site.secrets[TOKEN]
    if not re.fullmatch(r"[!-~]{32,128}", found.get_secret_value().strip()):
        hint = "make one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        raise InputError(site.secrets.path, TOKEN, "must be 32 to 128 characters without spaces", hint)
    return SecretStr(found.get_secret_value().strip())


def derived(secret: SecretStr, use: str) -> bytes:
    """32 bytes for one use, which tell nothing of the token (HMAC with SHA-256)."""
    return hmac.digest(secret.get_secret_value().encode(), use.encode(), "sha256")


def header(secret: SecretStr) -> SecretStr:
    """The HTTP header by which a proxy tells Gerrit who somebody is: with a name that no other program of the host
    knows."""
    return SecretStr(f"X-Gerrit-{derived(secret, 'header').hex()[:32]}")


def secure_config(secret: SecretStr, more: Mapping[str, Mapping[str, str]]) -> str:
    """The whole secure.config; keys for what `init` would make up, which sign links that are good for a short time.

    more: sections beside [auth].
    """
    keys = {use: b64encode(derived(secret, use)).decode() for use in ("registerEmailPrivateKey", "restTokenPrivateKey")}
    own = {**keys, "httpHeader": header(secret).get_secret_value()}
    return text({"auth": own, **more})
