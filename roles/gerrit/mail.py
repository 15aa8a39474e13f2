"""Gerrit's mail: by the smarthost of the base's settings, since the host's own mail program listens nowhere."""

from inventories.errors import InputError
from inventories.inventory import LoadedSite
from roles.base.settings import Mail
from roles.gerrit.config_text import Plain
from roles.gerrit.settings import Settings

ENCRYPTION = {"starttls": "tls", "tls": "ssl", "none": "none"}
"""As Gerrit calls what the base calls by the keys."""


def section(site: LoadedSite, settings: Settings, mail: Mail | None) -> dict[str, Plain]:
    """[sendemail] of gerrit.config, without the password. Raises InputError when mail is to go out by nothing."""
    if not settings.outgoing:
        return {"enable": False, "smtpServer": "localhost"}
    if not mail:
        hint = "declare settings.base.mail, or outgoing = false"
        raise InputError(site.path, "settings.gerrit.outgoing", "mail goes out, and there is no smarthost", hint)
    told: dict[str, Plain] = {
        "enable": True,
        "smtpServer": mail.smarthost,
        "smtpServerPort": mail.port,
        "smtpEncryption": ENCRYPTION[mail.tls],
        "sslVerify": True,
    }
    return told | ({"smtpUser": mail.user} if mail.user else {})


def secret_name(settings: Settings, mail: Mail | None) -> str:
    """Of the secret with the password; empty where there is none."""
    return mail.secret if mail and settings.outgoing else ""
