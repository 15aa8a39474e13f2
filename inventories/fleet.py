"""The typed fleet model: what one `inventories/NAME.toml` may say.

Pure data: loading, defaults and checks that need no host and no network. Every number carries its unit in its name.
"""

import posixpath
import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from itertools import combinations
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, IPvAnyNetwork, model_validator

from inventories import keys
from inventories.typed import ApiUrl, DnsName, Name, PortRange, Typed

VOLUME_GB = {"high_perf": (10, 10_000), "storage_opt": (40, 40_000)}
"""What the provider sells, by type (API v2, POST /blocks)."""
LABEL_BYTES = {"ext4": 16, "xfs": 12, "btrfs": 255}
"""A volume's name is the label of its filesystem."""
MOUNT = re.compile(r"/(srv|mnt|data|opt)(/.+)?|/(var|home)/.+")
"""Where a volume hides nothing that the system or an admin's login needs."""
VPC_MAX_PREFIX = 29


def _subnet(value: IPv4Network) -> IPv4Network:
    if not value.is_private:
        raise ValueError(f"{value} is not private: use a part of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16")
    if value.prefixlen > VPC_MAX_PREFIX:
        raise ValueError(f"{value} is too small: at least a /{VPC_MAX_PREFIX}")
    return value


def _host_key(value: str) -> str:
    key = keys.parse(value)
    if key.type != keys.ED25519:
        raise ValueError("must be the host's ed25519 key, /etc/ssh/ssh_host_ed25519_key.pub")
    return key.recipient


def _mount(value: str) -> str:
    if value != posixpath.normpath(value) or not MOUNT.fullmatch(value):
        raise ValueError(f"must be a plain path below /srv, /var, /mnt, /home, /opt or /data, not {value!r}")
    return value


HostKey = Annotated[str, AfterValidator(_host_key)]


class Site(Typed):
    """The site as a whole."""

    name: Name
    domain: DnsName
    """Its DNS domain at the provider; names of hosts must lie in it."""
    files: str = ""
    """Folder of admins.toml, secrets.age and lock.json, relative to the inventory; default: the site's name."""
    ssh_user: str = ""
    """Admin to log in as. Default: $MAINSTAY_ADMIN, else your local user name if an admin's, else the only one."""
    ssh_key: str = ""
    """Private key to log in with, relative to `files`. Default: the agent and ~/.ssh, as ssh does."""
    connection: Literal["ssh", "local"] = "ssh"
    """local: no network leads to its hosts, no provider has them: each is deployed at its console, from a bundle."""


class Provider(Typed):
    """The cloud the site lives in (Vultr API v2)."""

    api_url: ApiUrl = "https://api.vultr.com/v2"
    api_key: str = "vultr_api_key"
    """Name of the secret that holds the key."""
    requests_per_second: int = Field(default=20, ge=1, le=30)
    """The provider allows 30 per source address."""


class Vpc(Typed):
    """A private network; hosts reach each other in it and nowhere else."""

    region: str
    subnet: Annotated[IPv4Network, AfterValidator(_subnet)]


class FirewallRule(Typed):
    """One opening of the provider's firewall, which only ever accepts."""

    protocol: Literal["tcp", "udp", "icmp", "gre", "esp", "ah"]
    port: PortRange = ""
    """A port, or first:last; for tcp and udp alone."""
    sources: tuple[IPvAnyNetwork, ...] = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
    notes: str = ""

    @model_validator(mode="after")
    def _has_port(self) -> Self:
        if (self.protocol in ("tcp", "udp")) != bool(self.port):
            raise ValueError(f"{self.protocol} {'has no' if self.port else 'needs a'} port")
        return self


class Firewall(Typed):
    """A group of rules at the provider, in front of the hosts' own."""

    rules: tuple[FirewallRule, ...]


class Volume(Typed):
    """Block storage, which outlives its host: only `--data remove=volume/HOST/NAME` ever removes it."""

    size_gb: int
    """In the provider's range for its type: VOLUME_GB."""
    mount: Annotated[str, Field(pattern=r"^/[\w./-]+$"), AfterValidator(_mount)]
    filesystem: Literal["ext4", "xfs", "btrfs"] = "ext4"
    block_type: Literal["high_perf", "storage_opt"] = "high_perf"


class Host(Typed):
    """One host. `roles` names packages under roles/; every host has the role `base` besides."""

    role: Name
    plan: str = ""
    """Of the provider, as is the region; every host needs both but machines of your own and those of a local site."""
    region: str = ""
    address: IPv4Address | None = None
    """Of a machine of your own, which no provider has and `provision` does not make; all hosts of its site are such."""
    host_keys: tuple[HostKey, ...] = ()
    """Of a machine of your own: /etc/ssh/ssh_host_*_key.pub as read at its console. No other is believed."""
    os: str = "Debian 13 x64 (trixie)"
    """Name as the provider lists it; ids are looked up."""
    firewall: Name | None = None
    vpcs: tuple[Name, ...] = ()
    volumes: dict[Name, Volume] = {}
    dns: tuple[DnsName, ...] = ()
    """Names in the site's domain that point to this host (A and AAAA). Several hosts may share one."""
    labels: tuple[Name, ...] = ()
    snapshots: bool = False
    """The provider's own daily backups of the root disk."""
    protected: bool = False
    """Never replaced or removed, even when named."""
    settings: dict[Name, dict[str, Any]] = {}
    """Settings of roles, over those of the fleet."""


class SecondCopy(Typed):
    """Storage that speaks S3, at another provider or region: what survives the loss of the vault."""

    endpoint: ApiUrl
    """Like https://s3.example.org."""
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    region: str = ""
    """Where the endpoint needs to be told."""


class RestoreFrom(Typed):
    """Where another site's backups lie: its vault, or its second copy."""

    vault: DnsName | None = None
    """The name by which that site's hosts reach it."""
    copy_: SecondCopy | None = Field(default=None, alias="copy")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.vault is None) == (self.copy_ is None):
            raise ValueError("needs vault or copy, and not both")
        return self


class Backups(Typed):
    """Where backups lie besides the vault."""

    copy_: SecondCopy | None = Field(default=None, alias="copy")
    restore_from: RestoreFrom | None = None
    """For a fleet that restores what another one saved under the same names of hosts, and saves nothing."""


class Drills(Typed):
    """Restore drills: on throwaway hosts of a second account at the provider, which cannot see this site's."""

    api_key: Annotated[str, Field(pattern=r"^drill_[a-z0-9_]+$")] = "drill_api_key"
    """Name of the secret that holds that account's key. The control host may read it, so it can be that of no other."""
    api_url: ApiUrl | None = None
    """Default: the site's own provider."""
    domain: DnsName
    """Zones for drills are made below it: `drill.example.org`, delegated to the provider's name servers."""
    hosts: int = Field(default=8, ge=1)
    """So many hosts may exist in that account at once."""
    hours: int = Field(default=6, ge=1, le=168)
    """So long a drill may take. What it made is removed after that, whatever became of it."""
    usd: float = Field(default=20, gt=0)
    """So much one drill may cost, by the provider's prices for that time."""


class Bundle(Typed):
    """What hosts of a local site are deployed from."""

    mirror: Annotated[str, Field(pattern=r"^https?://[!-~]+[^/]$")] = "http://deb.debian.org"
    """Of Debian, with its folders debian and debian-security. What it serves is known by Debian's signatures."""
    packages: tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9+.-]+$")], ...] = ()
    """More packages than the roles say, such as those that a role installs by its settings."""
    stock: bool = False
    """Whether it brings what a stock installation has, too, so that its updates come to the host."""


class Fleet(Typed):
    """Everything one inventory declares."""

    site: Site
    provider: Provider = Provider()
    vpcs: dict[Name, Vpc] = {}
    firewalls: dict[Name, Firewall] = {}
    hosts: dict[Name, Host]
    backup: Backups = Backups()
    drill: Drills | None = None
    bundle: Bundle = Bundle()
    settings: dict[Name, dict[str, Any]] = {}
    """Settings of roles, for all hosts."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for problem in problems(self):
            raise ValueError(problem)
        return self

    @property
    def own_machines(self) -> bool:
        """Whether its hosts are machines that no provider has."""
        return any(host.address for host in self.hosts.values())

    def with_role(self, role: str) -> dict[str, Host]:
        """The hosts of a role, by name."""
        return {name: host for name, host in self.hosts.items() if host.role == role}


PROVIDED = ("plan", "region", "firewall", "vpcs", "volumes", "dns", "snapshots")
"""What of a host is its provider's to give."""


def problems(fleet: Fleet) -> list[str]:
    """What is wrong between the parts of a fleet whose parts are right, each as `field: problem`."""
    found = []
    if fleet.drill and fleet.drill.api_key == fleet.provider.api_key:
        found.append("drill.api_key: is the site's own: drills need an account that cannot see the site")
    for name, host in fleet.hosts.items():
        where = f"hosts.{name}"
        if fleet.site.connection == "local":
            not_there = (*PROVIDED, "address", "host_keys")
            found += [f"{where}.{one}: a local site has no provider" for one in not_there if getattr(host, one)]
        elif host.address:
            found += [f"{where}.{one}: a machine of your own has no provider" for one in PROVIDED if getattr(host, one)]
            if not host.host_keys:
                found.append(f"{where}.host_keys: Field required: /etc/ssh/ssh_host_ed25519_key.pub there")
        elif fleet.own_machines:
            found.append(f"{where}.address: Field required: the hosts of a site are all machines of your own, or none")
        else:
            found += [f"{where}.{one}: Field required" for one in ("plan", "region") if not getattr(host, one)]
        if host.firewall and host.firewall not in fleet.firewalls:
            found.append(f"{where}.firewall: no firewall {host.firewall!r} is declared")
        for private in host.vpcs:
            if private not in fleet.vpcs:
                found.append(f"{where}.vpcs: no VPC {private!r} is declared")
            elif (region := fleet.vpcs[private].region) != host.region:
                found.append(f"{where}.vpcs: VPC {private!r} is in region {region!r}, not {host.region!r}")
        for dns in host.dns:
            if dns != fleet.site.domain and not dns.endswith("." + fleet.site.domain):
                found.append(f"{where}.dns: {dns!r} is not in the site's domain {fleet.site.domain!r}")
            owner = dns.removesuffix("." + fleet.site.domain)
            if owner != name and owner in fleet.hosts:
                found.append(f"{where}.dns: {dns!r} is the name of the host {owner!r}")
        for volume_name, volume in host.volumes.items():
            low, high = VOLUME_GB[volume.block_type]
            if not low <= volume.size_gb <= high:
                sold = f"{volume.block_type} is sold from {low} to {high} GB, not {volume.size_gb}"
                found.append(f"{where}.volumes.{volume_name}.size_gb: {sold}")
            limit = LABEL_BYTES[volume.filesystem]
            if len(volume_name) > limit:
                label = f"the name is its {volume.filesystem} label: at most {limit} characters"
                found.append(f"{where}.volumes.{volume_name}: {label}")
        found += [f"{where}.volumes.{problem}" for problem in _overlapping_mounts(host.volumes)]
    if fleet.backup.restore_from and (vaults := fleet.with_role("vault")):
        own = f"this fleet has a vault of its own, {', '.join(vaults)}"
        found.append(f"backup.restore_from: {own}: what restores another's backups saves nothing")
    vpcs = list(fleet.vpcs.items())
    for i, (name, vpc) in enumerate(vpcs):
        for other, other_vpc in vpcs[:i]:
            if vpc.subnet.overlaps(other_vpc.subnet):
                found.append(f"vpcs.{name}.subnet: {vpc.subnet} overlaps {other_vpc.subnet} of VPC {other!r}")
    return found


def _overlapping_mounts(volumes: Mapping[str, Volume]) -> list[str]:
    """Volumes that would hide each other, as `VOLUME.mount: problem`."""
    found = []
    for (a, one), (b, two) in combinations(volumes.items(), 2):
        if one.mount == two.mount:
            found.append(f"{b}.mount: {two.mount} is where {a!r} lies")
        elif one.mount.startswith(f"{two.mount}/"):
            found.append(f"{a}.mount: {one.mount} is below {two.mount}, where {b!r} lies")
        elif two.mount.startswith(f"{one.mount}/"):
            found.append(f"{b}.mount: {two.mount} is below {one.mount}, where {a!r} lies")
    return found
