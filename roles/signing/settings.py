"""What can be set for the signing host, in `[settings.signing]` or a host's own `settings.signing`."""

from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field

from inventories.fleet import HostKey
from inventories.typed import Typed
from roles.common import Listen, Opening
from roles.common.ports import Port

CONNECTOR_PORT = 12345
"""On loopback: of the first device's connector; the second has the next one."""
OPENINGS: tuple[Opening, ...] = ()
LISTENS: tuple[Listen, ...] = ()
"""Nothing by itself: connectors listen on loopback while a session lasts, and only then."""
CONNECTORS = tuple(Listen(protocol="tcp", port=CONNECTOR_PORT + at, address="127.0.0.1") for at in (0, 1))

Serial = Annotated[str, Field(pattern=r"^\d{10}$")]
"""Of a YubiHSM 2, as USB shows it: ten digits, `0007550001`."""
UsbId = Annotated[str, Field(pattern=r"^[0-9a-f]{4}:[0-9a-f]{4}$")]
"""Vendor and product, as lsusb shows them."""
Medium = Annotated[str, Field(pattern=r"^[0-9a-f]{4}:[0-9a-f]{4} [A-Za-z0-9._-]{1,64}$")]
"""A USB id and the serial number of the one stick, as lsusb -v shows them: `0951:1666 E0D55EA5741BF4A1`."""
User = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]*$")]


class Destination(Typed):
    """Something that one account of the host may connect to."""

    user: User
    address: IPv4Address | IPv6Address
    port: Port
    protocol: Literal["tcp", "udp"] = "tcp"

    @property
    def rule(self) -> str:
        """For nftables."""
        family = "ip" if self.address.version == 4 else "ip6"
        return f'{family} daddr {self.address} {self.protocol} dport {self.port} meta skuid "{self.user}" accept'


class LogRemote(Typed):
    """A git repository that takes the HSMs' log; best one that refuses whatever is no fast-forward."""

    url: Annotated[str, Field(pattern=r"^ssh://[a-z_][a-z0-9_-]*@[0-9a-z.:\[\]-]+/[\w./-]+$")]
    """`ssh://git@192.0.2.11/hsm-log.git`. Its address and port have to be among `destinations`, of signing-logs."""
    host_key: HostKey
    """Of that server: its /etc/ssh/ssh_host_ed25519_key.pub. No other is believed."""
    key: str = "signing_logs_key"
    """Name of the secret that holds the private key to log in with there (OpenSSH's format, without a passphrase)."""

    @property
    def known_hosts(self) -> str:
        """The line of OpenSSH's known_hosts for it."""
        place = urlsplit(self.url)
        name = f"[{place.hostname}]:{place.port}" if place.port else place.hostname
        return f"{name} {self.host_key}\n"


class Settings(Typed):
    """The signing host."""

    hsms: tuple[Serial, ...] = Field(min_length=1, max_length=2)
    """Serial numbers of the YubiHSM 2 that may be plugged in, the primary first."""
    keyboards: tuple[UsbId, ...] = ()
    """Keyboards that may be plugged in, for the console."""
    hubs: tuple[UsbId, ...] = ()
    """USB hubs inside the machine, or between it and a declared device."""
    media: tuple[Medium, ...] = ()
    """Sticks that may be plugged in, for bundles and for what leaves a host that no network leads to. None by default:
    then nothing of that kind can be read."""
    destinations: tuple[Destination, ...] = ()
    """All that the host may connect to, by account: log upload (`signing-logs`), packages (`_apt`), names
    (`systemd-resolve`)."""
    logs: LogRemote | None = None
    """Where the HSMs' log goes as soon as it grows. Without it, it is carried: `mainstay hsm drain --bundle`."""

    @property
    def ports(self) -> dict[str, int]:
        """Of the connectors on loopback, by the serial numbers of their devices."""
        return {serial: CONNECTOR_PORT + at for at, serial in enumerate(self.hsms)}
