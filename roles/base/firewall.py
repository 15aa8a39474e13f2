"""What may come into a host and go out of it as nftables rules. Pure but for importing the roles' settings."""

from collections.abc import Iterable, Sequence
from importlib import import_module
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network

from roles.base.settings import Egress, Settings
from roles.common import Listen, Opening

ANY = {"ip": "0.0.0.0/0", "ip6": "::/0"}
EVERYWHERE = ("0.0.0.0", "::", "*")  # noqa: S104
PROBE = 'test "$(nft -st list ruleset)" = "$(unshare --net sh -c "nft -f /etc/nftables.conf && nft -st list ruleset")"'
"""Fails when the host's rules are others than those of the file, loaded where they concern nobody; without counters
(-s) and what sets hold (-t)."""
SETS = {"ip": "ssh_new4", "ip6": "ssh_new6"}


def openings_of(roles: Iterable[str]) -> list[Opening]:
    """What the roles open, in their order."""
    return [opening for role in roles for opening in import_module(f"roles.{role}.settings").OPENINGS]


def listens_of(roles: Iterable[str]) -> list[Listen]:
    """What the roles' services may listen on."""
    return [listen for role in roles for listen in import_module(f"roles.{role}.settings").LISTENS]


def places(listens: Iterable[Listen]) -> set[tuple[str, str, int]]:
    """The same as protocol, address and port, with each address that `ss` writes for all."""
    return {
        (one.protocol, address, one.port)
        for one in listens
        for address in (EVERYWHERE if one.address == "*" else (one.address,))
    }


def by_family(networks: Sequence[str]) -> dict[str, str]:
    """nftables' set of networks for each family that has any; no networks at all are all of both."""
    if not networks:
        return dict(ANY)
    found: dict[str, list[str]] = {}
    for network in networks:
        found.setdefault("ip" if ip_network(network).version == 4 else "ip6", []).append(network)
    return {family: f"{{ {', '.join(members)} }}" for family, members in found.items()}


def rules(openings: Iterable[Opening]) -> list[str]:
    """One rule for each opening and family; without sources one for both."""
    lines = []
    for opening in openings:
        port = f"{opening.protocol} dport {opening.port}"
        if opening.sources:
            lines += [f"{port} {family} saddr {nets} accept" for family, nets in by_family(opening.sources).items()]
        else:
            lines.append(f"{port} accept")
    return list(dict.fromkeys(lines))


def ssh(settings: Settings) -> list[tuple[str, str, str]]:
    """Family, set of its rate limit and networks, for the template."""
    return [(family, SETS[family], networks) for family, networks in by_family(settings.ssh_sources).items()]


def egress(limits: Egress | None) -> list[str]:
    """Rules of what goes out, in their order; none without limits. Who is rejected is told so at once."""
    if limits is None:
        return []
    lines = []
    for endpoint in limits.allowed:
        family = "ip" if endpoint.address.version == 4 else "ip6"
        lines.append(f"{family} daddr {endpoint.address} tcp dport {endpoint.port} accept")
    for family, networks in by_family(_without_overlaps(limits.blocked)).items():
        lines.append(f"{family} daddr {networks} meta l4proto tcp counter reject with tcp reset")
        lines.append(f"{family} daddr {networks} counter reject")
    return lines


def _without_overlaps(networks: Iterable[str]) -> list[str]:
    """The same addresses: nftables refuses a set one of whose networks is in another."""
    parsed = [ip_network(network) for network in networks]
    v4 = collapse_addresses(network for network in parsed if isinstance(network, IPv4Network))
    v6 = collapse_addresses(network for network in parsed if isinstance(network, IPv6Network))
    return [str(network) for network in (*v4, *v6)]
