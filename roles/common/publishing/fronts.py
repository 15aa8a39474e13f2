"""Web servers as they are looked at from outside: each by its own addresses, under the name that it may share.

What a shared name leads to is one of its servers, and not the one that is wrong.
"""

import socket
from collections.abc import Callable
from ipaddress import ip_address

from backup.drills.web_client import Web
from inventories import trusted
from inventories.inventory import LoadedSite
from roles.common.nginx import certificate

PORT = 443


def addresses(site: LoadedSite, host: str) -> tuple[str, ...]:
    """A host's public ones, by IPv4 first."""
    locked = site.lock.hosts[host]
    return tuple(filter(None, (locked.ipv4, locked.ipv6)))


def has_way(address: str) -> bool:
    """Whether this machine has an address and a route for it; nothing is sent."""
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, PORT))
    except OSError:
        return False
    return True


def fronts(site: LoadedSite, host: str) -> list[Web]:
    """By each of its addresses that this machine has a way to, and by IPv4 in any case."""
    first, *others = addresses(site, host)
    name, trusting = certificate.names(site, host)[0], trusted.context(site.files)
    return [Web(one, name, trusting) for one in (first, *filter(has_way, others))]


def look(site: LoadedSite, host: str, at: Callable[[Web], list[str]]) -> list[str]:
    """What is not as it should be, in words, by each of its addresses; the same is told once."""
    found: dict[str, list[str]] = {}
    for front in fronts(site, host):
        for told in at(front):
            found.setdefault(told, []).append(front.address)
    return [f"{told} (asked at {' and '.join(where)})" for told, where in found.items()]
