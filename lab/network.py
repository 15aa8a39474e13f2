"""The wires of a lab: bridges, each host's interfaces and what networkd inside is told.

A container has a network namespace, in which its ends of veth pairs are; a VM has taps. Beyond that they are the same.

Public NICs are isolated ports of one bridge, so whatever one host sends another goes through this machine's own IPv4
and IPv6 stack, where firewall filters it with connection tracking (bridge tables have none). Hosts see an
ordinary /20, because the bridge answers ARP for all of it; for IPv6 they get /128 addresses and send everything to the
gateway. Each VPC is a plain bridge of its own, on which this machine has no address; it stays until the sweep.
"""

import hashlib
from pathlib import Path

from lab.command import ip, run
from lab.engine import LabConfig, Machine, Nic

METADATA = "169.254.169.254"
NETNS = Path("/run/netns")
LINKS = Path("/sys/class/net")
SYSCTL = Path("/proc/sys/net")
BRIDGE = "type bridge stp_state 0 forward_delay 0 mcast_snooping 0"


def bridge(config: LabConfig, network: str = "public") -> str:
    """The bridge of a network. The public one's name is the prefix alone; every other name goes on with a dash, so that
    no lab's name begins with another's."""
    return config.prefix if network == "public" else f"{config.prefix}-v{_short(network)}"


def netns(config: LabConfig, machine_id: str) -> str:
    """The namespace of a host; also the start of its links' names on this machine, which end in the number of ethN."""
    return f"{config.prefix}-{_short(machine_id)}"


def _short(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def is_ours(config: LabConfig, name: str) -> bool:
    """Whether a bridge, link or namespace is of this lab."""
    return name == config.prefix or name.startswith(f"{config.prefix}-")


def up(config: LabConfig) -> None:
    """The public bridge with the lab's own addresses; again and again without harm."""
    name = bridge(config)
    if not NETNS.is_mount():
        run("ip", "netns", "add", f"{name}-0")
        run("ip", "netns", "delete", f"{name}-0")
    if not link_exists(name):
        ip([f"link add {name} {BRIDGE}"])
    _sysctl(f"ipv6/conf/{name}/accept_dad", "0")
    _sysctl(f"ipv6/conf/{name}/accept_ra", "0")
    ip(
        [
            # A bridge without an address of its own takes its lowest port's, and changes it under its hosts.
            f"link set {name} address 56:00:{config.index:02x}:00:00:01",
            f"addr replace {config.gateway4}/{config.network4.prefixlen} dev {name}",
            f"addr replace {METADATA}/32 dev {name} scope link",
            f"addr replace {config.gateway6}/{config.network6.prefixlen} dev {name} nodad",
            f"link set {name} up",
        ]
    )
    _sysctl(f"ipv4/conf/{name}/forwarding", "1")
    _sysctl(f"ipv4/conf/{name}/proxy_arp_pvlan", "1")
    _sysctl(f"ipv4/conf/{name}/send_redirects", "0")
    _sysctl(f"ipv4/neigh/{name}/proxy_delay", "0")
    _forward_ipv6(name)


def _sysctl(name: str, value: str) -> None:
    path = SYSCTL / name
    if path.read_text().strip() != value:
        path.write_text(value)


def _forward_ipv6(name: str) -> None:
    """For this bridge alone where the kernel can (6.17); else for the machine, which then goes on taking its own routes
    from router advertisements only if told so."""
    if (SYSCTL / f"ipv6/conf/{name}/force_forwarding").exists():
        _sysctl(f"ipv6/conf/{name}/force_forwarding", "1")
    elif (SYSCTL / "ipv6/conf/all/forwarding").read_text().strip() != "1":
        for accepts in SYSCTL.glob("ipv6/conf/*/accept_ra"):
            if accepts.read_text().strip() == "1":
                accepts.write_text("2")
        _sysctl("ipv6/conf/all/forwarding", "1")


def link_exists(name: str) -> bool:
    return (LINKS / name).exists()


def links(config: LabConfig, machine_id: str) -> dict[str, str]:
    """This machine's ends of a host's interfaces, and the bridge each is on ("" if a crash left it half made)."""
    found = {}
    for link in LINKS.glob(f"{netns(config, machine_id)}-*"):
        master = link / "master"
        found[link.name] = master.resolve().name if master.exists() else ""
    return found


def plug(config: LabConfig, machine: Machine, before: Machine | None, *, cut: bool) -> None:
    """Makes a host's interfaces those of `machine`, and of a container what is in its namespace; addresses that only
    `before` had are taken away."""
    space, contained = netns(config, machine.id), machine.kind == "container"
    if contained and not (NETNS / space).exists():
        run("ip", "netns", "add", space)
        ip(["link set lo up"], netns=space)
    there = links(config, machine.id)
    wanted = {bridge(config, nic.network): nic for nic in machine.nics}
    for name, wire in list(there.items()):
        if wire not in wanted:
            ip([f"link delete {name}"], force=True)
            del there[name]
    old = {nic.network: nic for nic in before.nics} if before else {}
    for wire, nic in wanted.items():
        have = [name for name, on in there.items() if on == wire]
        number = int(have[0].rsplit("-", 1)[1]) if have else _free_number(there)
        name = f"{space}-{number}"
        if not have:
            other = f"type veth peer name eth{number} address {nic.mac} netns {space}" if contained else ""
            _add_link(name, wire, other)
            there[name] = wire
        isolated = "on" if nic.network == "public" else "off"
        ip([f"link set {name} type bridge_slave isolated {isolated}", f"link set {name} {'down' if cut else 'up'}"])
        if contained:
            ip(guest_commands(config, nic, f"eth{number}", old.get(nic.network)), netns=space, force=True)
        if nic.network == "public":
            # An address may have been another host's a moment ago, under that host's MAC.
            addresses = [str(address.ip) for address in nic.ipv4] + [str(address.ip) for address in nic.ipv6]
            ip([f"neigh del {address} dev {wire}" for address in addresses], force=True)


def _free_number(there: dict[str, str]) -> int:
    taken = {int(name.rsplit("-", 1)[1]) for name in there}
    return next(number for number in range(len(taken) + 1) if number not in taken)


def _add_link(name: str, wire: str, veth: str) -> None:
    """A port of a bridge: an end of a veth pair as told, else a tap."""
    if not link_exists(wire):
        ip([f"link add {wire} {BRIDGE}"], force=True)
        _sysctl(f"ipv6/conf/{wire}/disable_ipv6", "1")
        ip([f"link set {wire} up"])
    if veth:
        ip([f"link add {name} master {wire} {veth}"])
    else:
        # It has no carrier, and brings none to a bridge, until a VM runs.
        ip([f"tuntap add dev {name} mode tap", f"link set {name} master {wire}"])
    _sysctl(f"ipv6/conf/{name}/disable_ipv6", "1")


def guest_commands(config: LabConfig, nic: Nic, name: str, old: Nic | None) -> list[str]:
    """What `ip` does in a container's namespace before init runs, and a VM before cloud-init does: the same as
    `networkd_file` says."""
    gone = set(_guest_addresses(old)) - set(_guest_addresses(nic)) if old else set()
    lines = [f"addr del {address} dev {name}" for address in sorted(gone)]
    lines.append(f"link set {name} up")
    for address in _guest_addresses(nic):
        lines.append(f"addr replace {address} dev {name}{' nodad' if ':' in address else ''}")
    if nic.network == "public":
        lines.append(f"route replace default via {config.gateway4} dev {name}")
        if nic.ipv6:
            lines.append(f"route replace default via {config.gateway6} dev {name} onlink")
    return lines


def _guest_addresses(nic: Nic) -> list[str]:
    """IPv6 without a network, so that neighbours are not asked for but reached through the gateway."""
    return [str(address) for address in nic.ipv4] + [f"{address.ip}/128" for address in nic.ipv6]


def networkd_file(config: LabConfig, nic: Nic) -> str:
    """The .network file that a host finds in /run/systemd/network at every boot."""
    public = nic.network == "public"
    text = f"[Match]\nMACAddress={nic.mac}\n\n[Network]\nIPv6AcceptRA=no\n"
    text += f"DNS={config.gateway4}\n" if public else "LinkLocalAddressing=no\n"
    for address in _guest_addresses(nic):
        text += f"\n[Address]\nAddress={address}\n"
        text += "DuplicateAddressDetection=none\n" if ":" in address else ""
    if public:
        text += f"\n[Route]\nGateway={config.gateway4}\n"
        text += f"\n[Route]\nGateway={config.gateway6}\nGatewayOnLink=yes\n" if nic.ipv6 else ""
    return text


def unplug(config: LabConfig, machine_id: str) -> None:
    """Removes a host's links and namespace."""
    ip([f"link delete {name}" for name in links(config, machine_id)], force=True)
    space = netns(config, machine_id)
    if (NETNS / space).exists():
        run("ip", "netns", "delete", space)


def set_links(config: LabConfig, machine_id: str, *, up: bool) -> None:
    ip([f"link set {name} {'up' if up else 'down'}" for name in links(config, machine_id)])


def sweep(config: LabConfig) -> None:
    """Removes every namespace, link and bridge of the lab. Nothing may run in them any more."""
    for space in [path.name for path in NETNS.glob(f"{config.prefix}-*")]:
        run("ip", "netns", "delete", space)
    mine = [path.name for path in LINKS.iterdir() if is_ours(config, path.name)]
    ip([f"link delete {name}" for name in sorted(mine, key=len, reverse=True)], force=True)
