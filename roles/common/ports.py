"""What a role opens and listens on, as constants of its settings.py.

`roles.base` opens exactly the OPENINGS of a host's roles in its firewall; a test finds no listener that LISTENS of some
role of the host does not declare.
"""

from ipaddress import ip_address, ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from inventories.typed import Typed

Protocol = Literal["tcp", "udp"]
Port = Annotated[int, Field(ge=1, le=65535)]


def _network(value: str) -> str:
    return str(ip_network(value))


def _address(value: str) -> str:
    return value if value == "*" else str(ip_address(value))


class Opening(Typed):
    """Something others may connect to. Without sources: anyone, over IPv4 and IPv6."""

    protocol: Protocol
    port: Port
    sources: tuple[Annotated[str, AfterValidator(_network)], ...] = ()
    """Networks in CIDR notation, of either family."""


class Listen(Typed):
    """A socket that a role's service holds; `address` is `*` for all addresses of both families."""

    protocol: Protocol
    port: Port
    address: Annotated[str, AfterValidator(_address)] = "*"
