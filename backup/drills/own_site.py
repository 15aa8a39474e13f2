"""A drill's own site: an inventory with throwaway hosts, in the drills' account, and nothing else of production.

Its hosts are called as in production and have the same roles and settings, but for what would act on others: they save
nothing, send no mail, and may open no connection to any of production's addresses, but to the vault's listener for
hosts, which they restore from. Everything secret is made afresh, but for what opens the data that is restored.
"""

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import tomlkit

from backup import custody
from backup.custody import APPEND, CONTROL_ROLE, PORTS, DataSet
from backup.drills.checks import Drill
from backup.drills.common_checks import FILES, STALE, owned_by
from backup.store import AUTHORITY, COPY_KEYS, VAULT
from inventories import keys, monitoring
from inventories.errors import InputError
from inventories.files import replace
from inventories.fleet import VOLUME_GB, Host
from inventories.inventory import ADMINS, CONTROL_RECIPIENT, PROVIDER_AUTHORITY, LoadedSite, load_site
from inventories.roles import roles_of
from inventories.secrets import Secrets

ADMIN = "drill"
KEY = "id_ed25519"
FIREWALL = "drill"
ROOM = 1.25
"""A volume is so much larger than what is restored to it: the filesystem needs some, and so does a restore."""
SPARE_GB = 2
INVENTORY = "from inventories.inventory import groups\n\nglobals().update(groups(__file__))\n"


@dataclass(frozen=True)
class Wanted:
    """What the drill's own site is to be. bytes: how much is restored, by host.

    whole: with all hosts and networks of production's, and a vault of its own.
    """

    site: LoadedSite
    name: str
    store: str
    data_sets: tuple[DataSet, ...]
    bytes: Mapping[str, int]
    whole: bool = False

    @property
    def domain(self) -> str:
        return f"{self.name}.{declared(self.site).domain}"


def declared(site: LoadedSite) -> Any:
    """What the fleet says of drills. Raises InputError where it says nothing."""
    if site.fleet.drill is None:
        hint = 'declare [drill] with a domain = "drill.example.org": docs/drills.md'
        raise InputError(site.path, "drill", "no drills are declared for this site", hint)
    return site.fleet.drill


def drill_of(role: str) -> Drill:
    """What a role says of drills; one with data that says nothing is restored and compared, no more."""
    says = custody.recovery(role)
    return says.drill or Drill((FILES, *([owned_by(says.owner)] if says.owner else ()), STALE))


def make(wanted: Wanted, folder: Path) -> LoadedSite:
    """Writes inventory, admin, keys and secrets of the drill's own site into a folder, and loads it.

    Raises InputError when a secret that it needs cannot be read here.
    """
    site, files = wanted.site, folder / wanted.name
    files.mkdir(mode=0o700, parents=True)
    private = keys.new_ssh()
    public = keys.public_ssh(private)
    replace(files / KEY, private, 0o600)
    replace(files / f"{KEY}.pub", f"{public} {ADMIN}\n", 0o644)
    replace(files / ADMINS, f'[admins.{ADMIN}]\nssh_keys = ["{public} {ADMIN}"]\n', 0o644)
    for name in (PROVIDER_AUTHORITY, *(() if wanted.whole else (custody.CERTIFICATE, AUTHORITY))):
        if (site.files / name).exists():
            shutil.copy(site.files / name, files / name)
    Secrets.create(files / "secrets.age", {ADMIN: [public]}, _secrets(wanted, files))
    (folder / f"{wanted.name}.py").write_text(INVENTORY)
    write(wanted, folder)
    own = load(wanted, folder)
    if wanted.whole:
        custody.make(own)
        if monitoring.monitor_host(own):
            monitoring.make(own)
        own = load(wanted, folder)
    return own


def write(wanted: Wanted, folder: Path, sources: Sequence[str] = ()) -> None:
    """Writes the inventory. sources: the only addresses that may connect; without, anybody may try the door of ssh."""
    inventory = _inventory(wanted, sources)
    # As of a lab's: what is collected and cached lies there too, and goes with it.
    inventory["site"]["files"] = str(folder / wanted.name)
    replace(folder / f"{wanted.name}.toml", tomlkit.dumps(inventory))


def load(wanted: Wanted, folder: Path) -> LoadedSite:
    """As it is written now."""
    return load_site(folder / f"{wanted.name}.py", control="")


def _secrets(wanted: Wanted, files: Path) -> dict[str, str]:
    """What opens the data that is restored, and the drills' account; the rest is new."""
    site, drills = wanted.site, declared(wanted.site)
    names = [drills.api_key, *(data_set.secret for data_set in wanted.data_sets)]
    if wanted.whole:
        pass
    elif wanted.store == VAULT:
        names += [custody.host_secret(data_set.host) for data_set in wanted.data_sets]
    else:
        names += COPY_KEYS[custody.CONTROL]
    found = {name: custody.secret(site, name).get_secret_value() for name in dict.fromkeys(names)}
    for data_set in wanted.data_sets:
        role = data_set.plan
        settings = {**site.fleet.settings.get(role, {}), **site.fleet.hosts[data_set.host].settings.get(role, {})}
        found |= {name: token_urlsafe() for name in drill_of(role).fresh(settings)}
    if not wanted.whole and any(data_set.plan == CONTROL_ROLE for data_set in wanted.data_sets):
        found |= {custody.SSH_KEY: keys.new_ssh(), custody.AGE_KEY: keys.new_age()}
        replace(files / CONTROL_RECIPIENT, f"{keys.public_age(found[custody.AGE_KEY])}\n")
    return found


def _inventory(wanted: Wanted, sources: Sequence[str]) -> dict[str, Any]:
    site, drills = wanted.site, declared(wanted.site)
    fleet = site.fleet
    names = list(fleet.hosts) if wanted.whole else list(dict.fromkeys(data_set.host for data_set in wanted.data_sets))
    hosts = {name: fleet.hosts[name] for name in names}
    roles = {role for host in hosts.values() for role in roles_of(host)}
    provider = {**fleet.provider.model_dump(mode="json"), "api_key": drills.api_key}
    return {
        "site": {"name": wanted.name, "domain": wanted.domain, "ssh_user": ADMIN, "ssh_key": KEY},
        "provider": provider | ({"api_url": drills.api_url} if drills.api_url else {}),
        "firewalls": {FIREWALL: {"rules": _rules(sources)}},
        "hosts": {name: _host(wanted, name, host) for name, host in hosts.items()},
        **(_networks(wanted) if wanted.whole else {"backup": {"restore_from": _restore_from(wanted)}}),
        "settings": {role: _quiet(wanted, role, fleet.settings.get(role, {})) for role in sorted(roles)},
    }


def _networks(wanted: Wanted) -> dict[str, Any]:
    return {"vpcs": {name: vpc.model_dump(mode="json") for name, vpc in wanted.site.fleet.vpcs.items()}}


def _rules(addresses: Sequence[str]) -> list[dict[str, Any]]:
    if not addresses:
        return [{"protocol": "tcp", "port": "22"}]
    sources = [str(ip_network(address)) for address in addresses]
    return [{"protocol": "tcp", "port": "1:65535", "sources": sources}, {"protocol": "icmp", "sources": sources}]


def _host(wanted: Wanted, name: str, host: Host) -> dict[str, Any]:
    own = wanted.site.fleet.site.domain
    found: dict[str, Any] = {
        "role": host.role,
        "plan": host.plan,
        "region": host.region,
        "os": host.os,
        "firewall": FIREWALL,
        "vpcs": list(host.vpcs) if wanted.whole else [],
        "dns": [_renamed(dns, own, wanted.domain) for dns in host.dns],
        "volumes": {volume: one.model_dump(mode="json") for volume, one in host.volumes.items()},
        "settings": {role: _quiet(wanted, role, settings) for role, settings in host.settings.items()},
    }
    for volume in found["volumes"].values():
        least, _ = VOLUME_GB[volume["block_type"]]
        needed = math.ceil(wanted.bytes.get(name, 0) * ROOM / 1e9) + SPARE_GB
        volume["size_gb"] = max(least, min(volume["size_gb"], needed))
    return found


def _renamed(name: str, domain: str, drill: str) -> str:
    """A name of production's as one of the drill's."""
    return drill if name == domain else f"{name.removesuffix(f'.{domain}')}.{drill}"


def _restore_from(wanted: Wanted) -> dict[str, Any]:
    if wanted.store == VAULT:
        vault = custody.vault_of(wanted.site)
        assert vault, "a site with data sets to restore has a vault"
        return {"vault": vault[1].dns[0]}
    copy = wanted.site.fleet.backup.copy_
    assert copy, "who restores from the second copy has looked whether there is one"
    return {"copy": copy.model_dump(mode="json")}


def _quiet(wanted: Wanted, role: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a role that acts on nobody. What is None cannot be said in TOML: it is left out."""
    if role != "base":
        return {**settings, **drill_of(role).quiet}
    found = {key: value for key, value in settings.items() if key not in ("mail", "ssh_only", "ssh_sources")}
    return found | {"reboot": False, "egress": _egress(wanted)}


def _egress(wanted: Wanted) -> dict[str, Any]:
    """Away from production: its public addresses and private networks, but for the vault's listener for hosts."""
    site = wanted.site
    locked = site.lock.hosts
    addresses = [address for host in locked.values() for address in (host.ipv4, host.ipv6) if address]
    blocked = [str(ip_network(address)) for address in addresses]
    allowed: list[dict[str, Any]] = []
    vault = custody.vault_of(site)
    if wanted.store == VAULT and not wanted.whole and vault and vault[0] in locked:
        there = locked[vault[0]]
        allowed = [{"address": address, "port": PORTS[APPEND]} for address in (there.ipv4, there.ipv6) if address]
    networks = [] if wanted.whole else [str(vpc.subnet) for vpc in site.fleet.vpcs.values()]
    return {"blocked": [*blocked, *networks], "allowed": allowed}
