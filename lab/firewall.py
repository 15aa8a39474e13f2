"""The provider's firewall and what keeps labs and hosts apart, as nftables rules. Pure but for `load`.

Table `inet PREFIX` filters what goes to a public address, whether a host sends it (forward) or this machine (output).
Table `bridge PREFIX` drops what a host sends under a MAC or an address that is not its own.
"""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, ip_address

from lab.command import run
from lab.engine import LabConfig, Machine, Rule
from lab.network import METADATA, bridge, links

UNSPECIFIED = IPv4Address(0)
PORTLESS = {"icmp": ("icmp", "ipv6-icmp"), "gre": ("gre", "gre"), "esp": ("esp", "esp"), "ah": ("ah", "ah")}
"""Names of protocols in nft, for IPv4 and IPv6."""


def rule_text(rule: Rule, version: int) -> str | None:
    """One opening in a chain of an address of that IP version; None where it cannot match such an address."""
    if rule.source.version != version:
        return None
    source = f"{'ip' if version == 4 else 'ip6'} saddr {rule.source} " if rule.source.prefixlen else ""
    if rule.protocol in PORTLESS:
        return f"{source}meta l4proto {PORTLESS[rule.protocol][version == 6]} accept"
    if not rule.first_port:
        return f"{source}meta l4proto {rule.protocol} accept"
    ports = f"{rule.first_port}-{rule.last_port}" if rule.last_port > rule.first_port else str(rule.first_port)
    return f"{source}{rule.protocol} dport {ports} accept"


def firewall(config: LabConfig, addresses: Mapping[str, Iterable[Rule]]) -> str:
    """The whole of table `inet PREFIX`, replacing what there was in one transaction."""
    table, wire = config.prefix, bridge(config)
    chains: list[str] = []
    jumps: dict[int, list[str]] = {4: [], 6: []}
    for text, rules in sorted(addresses.items()):
        address = ip_address(text)
        chain = "to_" + address.exploded.replace(".", "_").replace(":", "_")
        lines = [line for rule in rules if (line := rule_text(rule, address.version))]
        chains.append(_chain(chain, [*lines, "drop"]))
        jumps[address.version].append(f"{address} : jump {chain}")
    guarded = [
        f"{family} daddr vmap {{ {', '.join(jumps[version])} }}"
        for version, family in ((4, "ip"), (6, "ip6"))
        if jumps[version]
    ]
    chains.append(_chain("guarded", guarded))
    forward = [
        "type filter hook forward priority filter; policy accept;",
        f'iifname != "{wire}" oifname != "{wire}" accept',
        f'iifname != "{wire}" drop',
        f'oifname != "{wire}" drop',
        "ct state established,related accept",
        "goto guarded",
    ]
    output = [
        "type filter hook output priority filter; policy accept;",
        f'oifname != "{wire}" accept',
        # The kernel sends them when packets go out where they came in, and has no setting against it for IPv6. A host
        # that believes one looks for its neighbour on the wire, where ports are isolated.
        "icmpv6 type nd-redirect drop",
        # For IPv4 there is one, but the machine's own `all` overrules a single bridge's.
        "icmp type redirect drop",
        "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept",
        "ct state established,related accept",
        "goto guarded",
    ]
    own4 = f"{config.gateway4}, {METADATA}, {config.network4.broadcast_address}, 255.255.255.255, 224.0.0.0/4"
    incoming = [
        "type filter hook input priority filter; policy accept;",
        f'iifname != "{wire}" accept',
        f"ip daddr != {{ {own4} }} drop",
        f"ip6 daddr != {{ {config.gateway6}, fe80::/10, ff00::/8 }} drop",
    ]
    chains += [_chain("forward", forward), _chain("output", output), _chain("input", incoming)]
    return _table("inet", table, chains)


def guard(config: LabConfig, ports: Mapping[str, tuple[str, Iterable[str]]]) -> str:
    """The whole of table `bridge PREFIX`: for each port of the public bridge its host's MAC and addresses."""
    chains, jumps = [], []
    for port, (mac, addresses) in sorted(ports.items()):
        chain = "from_" + port.replace("-", "_")
        v4 = [str(address) for address in map(ip_address, addresses) if isinstance(address, IPv4Address)]
        v6 = [str(address) for address in map(ip_address, addresses) if not isinstance(address, IPv4Address)]
        lines = [
            f"ether saddr != {mac} drop",
            f"ip saddr != {{ {', '.join(v4)} }} drop",
            f"arp saddr ip != {{ {', '.join([*v4, str(UNSPECIFIED)])} }} drop",
            f"ip6 saddr != {{ {', '.join([*v6, 'fe80::/10', '::'])} }} drop",
        ]
        chains.append(_chain(chain, lines))
        jumps.append(f'"{port}" : jump {chain}')
    hook = ["type filter hook prerouting priority -300; policy accept;"]
    hook += [f"iifname vmap {{ {', '.join(jumps)} }}"] if jumps else []
    return _table("bridge", config.prefix, [*chains, _chain("prerouting", hook)])


def ports(config: LabConfig, machines: Iterable[Machine]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """What `guard` is to know, from the links that exist."""
    found = {}
    for machine in machines:
        if not machine.nics:
            continue
        nic = machine.nics[0]
        addresses = (*(str(address.ip) for address in nic.ipv4), *(str(address.ip) for address in nic.ipv6))
        for name, wire in links(config, machine.id).items():
            if wire == bridge(config):
                found[name] = (nic.mac, addresses)
    return found


def _chain(name: str, lines: Iterable[str]) -> str:
    return f"  chain {name} {{\n" + "".join(f"    {line}\n" for line in lines) + "  }\n"


def _table(family: str, name: str, chains: Iterable[str]) -> str:
    return f"table {family} {name} {{}}\ndelete table {family} {name}\ntable {family} {name} {{\n{''.join(chains)}}}\n"


def load(rules: str) -> None:
    run("nft", "-f", "-", input=rules)


def sweep(config: LabConfig) -> None:
    for family in ("inet", "bridge"):
        load(f"table {family} {config.prefix} {{}}\ndelete table {family} {config.prefix}\n")
