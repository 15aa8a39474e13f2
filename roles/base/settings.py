"""What can be set for every host, in `[settings.base]` or a host's own `settings.base`."""

import hashlib
import re
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from inventories.typed import DnsName, Name, Typed
from roles.common import Listen, Opening
from roles.common.ports import Port

SSH_PORT = 22
OPENINGS: tuple[Opening, ...] = ()
"""ssh is opened by `ssh_sources`; nothing else of the base is reached from outside."""
LISTENS = (
    Listen(protocol="tcp", port=SSH_PORT),
    *(
        Listen(protocol=protocol, port=53, address=address)
        for protocol in ("tcp", "udp")
        for address in ("127.0.0.53", "127.0.0.54")
    ),
)
"""sshd, and the stub of systemd-resolved on loopback."""

_WINDOW = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_MAIL = re.compile(r"[A-Za-z0-9._%+-]+@([a-z0-9-]+\.)+[a-z]{2,63}")


def _window(value: str) -> str:
    if not _WINDOW.fullmatch(value):
        raise ValueError("must be a span of the day in UTC, like 03:00-05:00")
    return value


def _mail_address(value: str) -> str:
    if not _MAIL.fullmatch(value):
        raise ValueError("must be a mail address like root@example.org")
    return value


MailAddress = Annotated[str, AfterValidator(_mail_address)]
Network = Annotated[str, AfterValidator(lambda value: str(ip_network(value)))]


class Mail(Typed):
    """The one server that takes the hosts' mail."""

    smarthost: DnsName
    port: Port = 587
    tls: Literal["starttls", "tls", "none"] = "starttls"
    """The server's certificate is checked against Debian's authorities."""
    user: str = Field(default="", pattern=r"^[^\s'\"\\]*$")
    """Empty: no log-in."""
    secret: str = ""
    """Name of the secret that holds the user's password."""
    sender: MailAddress
    """Envelope sender of all mail."""
    admin: MailAddress
    """Gets what is for root or any other local user."""

    @model_validator(mode="after")
    def _password_is_protected(self) -> Self:
        if bool(self.user) != bool(self.secret):
            raise ValueError("user and secret go together")
        if self.secret and self.tls == "none":
            raise ValueError('tls: a password is never sent without TLS: "starttls" or "tls"')
        return self


class Endpoint(Typed):
    """A TCP service of another host."""

    address: IPv4Address | IPv6Address
    port: Port


class Egress(Typed):
    """What a host may not reach, such as production from a host that a restore is tried on."""

    blocked: tuple[Network, ...] = Field(min_length=1)
    """Networks in CIDR notation that no connection is opened to."""
    allowed: tuple[Endpoint, ...] = ()
    """Exceptions, such as the vault's listener."""


class Settings(Typed):
    """The base of every host."""

    mail: Mail | None = None
    """None: no mail leaves the host."""
    ssh_sources: tuple[Network, ...] = ()
    """Networks in CIDR notation that may connect to sshd. Empty: any."""
    ssh_only: tuple[Name, ...] = ()
    """While set, only these admins may log in, as on a host under investigation. Empty: every admin of its role."""
    security_keys_only: bool = False
    """Only keys that a security key holds (`sk-`) log in. To be set once every admin has got in by such a key."""
    offline: bool = False
    """No network service at all, ssh neither, and nothing comes in or goes out: deploys come at the console."""
    ssh_per_minute: int = Field(default=30, ge=1)
    """New ssh connections that one address may make in the long run; a run of pyinfra makes one or two."""
    ssh_burst: int = Field(default=60, ge=10)
    """New ssh connections that one address may make at once."""
    egress: Egress | None = None
    """None: the host may connect to anything."""
    resolvers: tuple[IPv4Address | IPv6Address, ...] = ()
    """DNS servers. Empty: those the network hands out."""
    time_servers: tuple[DnsName, ...] = (
        *("time.cloudflare.com", "nts.netnod.se"),
        *("ptbtime1.ptb.de", "ntppool1.time.nl"),
    )
    """Servers that speak NTS; time that is not authenticated is not used. None: time is kept by the host's own clock,
    whose drift is measured by what people tell it (`chronyc settime`)."""
    reboot: bool = True
    """Whether security updates may reboot the host when they need to."""
    reboot_window: Annotated[str, AfterValidator(_window)] = "03:00-05:00"
    """When, in UTC; each host has a minute of its own in it."""
    journal_days: int = Field(default=30, ge=1, le=3650)
    """How long the journal is kept."""
    journal_mb: int = Field(default=500, ge=50)
    """How much disk the journal may take."""

    def reboot_at(self, host: str) -> str:
        """The host's own minute of the window, HH:MM; the same in every run."""
        match = _WINDOW.fullmatch(self.reboot_window)
        assert match
        first_hour, first_minute, last_hour, last_minute = map(int, match.groups())
        first = first_hour * 60 + first_minute
        length = (last_hour * 60 + last_minute - first) % (24 * 60)
        minute = (first + int(hashlib.sha256(host.encode()).hexdigest(), 16) % (length or 1)) % (24 * 60)
        return f"{minute // 60:02}:{minute % 60:02}"
