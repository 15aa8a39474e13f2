"""What can be set for the signing host, in `[settings.signing]` or a host's own `settings.signing`."""

from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from inventories.typed import Typed
from roles.common import Listen, Opening
from roles.common.ports import Port

CONNECTOR_PORT = 12345
OPENINGS: tuple[Opening, ...] = ()
LISTENS: tuple[Listen, ...] = ()
"""Nothing by itself: the connector listens on loopback while a session lasts, and only then."""
CONNECTOR = Listen(protocol="tcp", port=CONNECTOR_PORT, address="127.0.0.1")

Serial = Annotated[str, Field(pattern=r"^\d{10}$")]
"""Of a YubiHSM 2, as USB shows it: ten digits, `0007550001`."""
UsbId = Annotated[str, Field(pattern=r"^[0-9a-f]{4}:[0-9a-f]{4}$")]
"""Vendor and product, as lsusb shows them."""
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


class Settings(Typed):
    """The signing host."""

    hsms: tuple[Serial, ...] = Field(min_length=1, max_length=2)
    """Serial numbers of the YubiHSM 2 that may be plugged in."""
    connected: Serial = ""
    """The one that the connector speaks to. Default: the first."""
    keyboards: tuple[UsbId, ...] = ()
    """Keyboards that may be plugged in, for the console."""
    hubs: tuple[UsbId, ...] = ()
    """USB hubs inside the machine, or between it and a declared device."""
    destinations: tuple[Destination, ...] = ()
    """All that the host may connect to, by account: log upload (`signing-logs`), packages (`_apt`), names
    (`systemd-resolve`)."""

    @model_validator(mode="after")
    def _is_declared(self) -> Self:
        if self.connected and self.connected not in self.hsms:
            raise ValueError(f"connected: {self.connected} is none of hsms: {', '.join(self.hsms)}")
        return self

    @property
    def serial(self) -> str:
        """Of the device that the connector speaks to."""
        return self.connected or self.hsms[0]
