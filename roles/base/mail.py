"""The null client's files. nullmailer keeps mail until the smarthost takes it, and never listens."""

import shlex
from collections.abc import Mapping

from inventories.inventory import LoadedSite
from roles.base.settings import Mail, Settings
from roles.common import Unit

REMOTES, ADMIN, SENDER = (f"/etc/nullmailer/{name}" for name in ("remotes", "adminaddr", "allmailfrom"))
TLS = {"starttls": "--starttls", "tls": "--tls", "none": ""}


def nullmailer(settings: Settings) -> Unit:
    """In service with a smarthost, and out of it without."""
    wanted = settings.mail is not None
    return Unit("nullmailer.service", ("/etc/nullmailer/*", "/etc/mailname"), enabled=wanted, running=wanted)


def absent_files(settings: Settings) -> tuple[str, ...]:
    """What an earlier smarthost, and its password, may have left."""
    return () if settings.mail else (REMOTES, ADMIN, SENDER)


def mail_files(site: LoadedSite, settings: Settings) -> Mapping[str, str]:
    """Content by path; nothing without a smarthost. Raises InputError when the password is not among the secrets."""
    if not settings.mail:
        return {}
    password = site.secrets[settings.mail.secret].get_secret_value() if settings.mail.secret else ""
    return {
        REMOTES: remote(settings.mail, password),
        ADMIN: f"{settings.mail.admin}\n",
        SENDER: f"{settings.mail.sender}\n",
    }


def remote(mail: Mail, password: str) -> str:
    """A line of /etc/nullmailer/remotes, its words quoted as in a shell (tried with nullmailer 2.2: blanks, both
    quotes, backslash and dollar arrive as they are). It hands them to its sending program over a pipe, so that no
    process list shows the password, and it sends nothing to a server whose certificate it cannot check.
    """
    words = [mail.smarthost, "smtp", f"--port={mail.port}", TLS[mail.tls]]
    if mail.user:
        words += [f"--user={mail.user}", shlex.quote(f"--pass={password}")]
    return " ".join(filter(None, words)) + "\n"
