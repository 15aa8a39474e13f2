"""What a site is made of for planning: what is declared, what exists, and whether the one can be had. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from cloud.actions import RuleKey
from cloud.actual import Actual, Block, Group, Instance, Network, host_of, name_of, tag, volume_label
from cloud.switches import Switches
from inventories.errors import InputError
from inventories.fleet import Firewall, Fleet
from inventories.lock import Lock

PROTECTED = "mainstay-protected"
"""Tag of hosts that were declared `protected`: it must outlive the declaration."""


@dataclass(frozen=True)
class Site:
    """What a plan is made from."""

    file: Path | str
    """The inventory, for errors."""
    fleet: Fleet
    actual: Actual
    lock: Lock
    switches: Switches = field(default_factory=Switches)

    @property
    def name(self) -> str:
        return self.fleet.site.name

    def host(self, instance: Instance) -> str:
        """The host that it is: by its id in the lock, else by its tag."""
        known = {host.instance_id: name for name, host in self.lock.hosts.items()}
        return known.get(instance.id) or host_of(self.name, instance)

    def volume(self, block: Block) -> tuple[str, str]:
        """The host and volume that it is: by its id in the lock, else by its label."""
        for name, host in self.lock.hosts.items():
            for volume, locked in host.volumes.items():
                if locked.id == block.id:
                    return name, volume
        name, _, volume = block.label.removeprefix(f"{self.name}/").partition("/")
        return name, volume

    def network(self, vpc: Network) -> str:
        """The VPC that it is: by its id in the lock, else by its description."""
        known = {vpc_id: name for name, vpc_id in self.lock.vpcs.items()}
        return known.get(vpc.id) or name_of(self.name, vpc.description)

    def firewall(self, group: Group) -> str:
        """The firewall that it is: by its id in the lock, else by its description."""
        known = {group_id: name for name, group_id in self.lock.firewalls.items()}
        return known.get(group.id) or name_of(self.name, group.description)

    def instances(self) -> dict[str, Instance]:
        """Those of the site by host, undeclared ones too."""
        return {self.host(instance): instance for instance in self.actual.instances}

    def blocks(self) -> dict[tuple[str, str], Block]:
        """Those of the site by host and volume, undeclared ones too."""
        return {self.volume(block): block for block in self.actual.blocks}

    def vpcs(self) -> dict[str, Network]:
        """Those of the site by name, undeclared ones too."""
        return {self.network(vpc): vpc for vpc in self.actual.vpcs}

    def firewalls(self) -> dict[str, Group]:
        """Those of the site by name, undeclared ones too."""
        return {self.firewall(group): group for group in self.actual.firewalls}


def check(site: Site) -> None:
    """Whether what is declared can be bought, what is named is there, nothing exists twice, and the account is right.

    Raises InputError.
    """
    catalogue = site.actual.catalogue
    for name, host in site.fleet.hosts.items():
        where = f"hosts.{name}"
        _known(site, f"{where}.region", "region", host.region, catalogue.regions)
        _known(site, f"{where}.plan", "plan", host.plan, catalogue.plans)
        _known(site, f"{where}.os", "operating system", host.os, catalogue.systems)
        locations = catalogue.plans[host.plan].locations
        if locations and host.region not in locations:
            hint = f"it is sold in: {', '.join(locations)}"
            raise InputError(site.file, f"{where}.plan", f"{host.plan!r} is not sold in {host.region!r}", hint)
    for name, vpc in site.fleet.vpcs.items():
        _known(site, f"vpcs.{name}.region", "region", vpc.region, catalogue.regions)
    for switch in ("reinstall", "resize"):
        for thing in sorted(getattr(site.switches, switch)):
            if thing.removeprefix("host/") not in site.fleet.hosts:
                hint = f"declared are: {', '.join(sorted(site.fleet.hosts))}"
                raise InputError(site.file, f"--data {switch}={thing}", "no such host is declared", hint)
    if site.lock.ids and site.lock.ids.isdisjoint(site.actual.ids):
        hint = "the key may be another account's; if all of it was deleted there, delete lock.json"
        raise InputError(site.file, "provider.api_key", "nothing that lock.json knows is in this account", hint)
    marks = [(f"hosts.{site.host(i)}", i.id) for i in site.actual.instances]
    marks += [(f"volumes {volume_label(site.name, *site.volume(b))}", b.id) for b in site.actual.blocks]
    marks += [(f"vpcs.{site.network(v)}", v.id) for v in site.actual.vpcs]
    marks += [(f"firewalls.{site.firewall(g)}", g.id) for g in site.actual.firewalls]
    for mark, _ in marks:
        ids = [known for other, known in marks if other == mark]
        if len(ids) > 1:
            hint = "compare them at the provider; delete one, or take this site's mark off the one not in the lock"
            raise InputError(site.file, mark, f"exists more than once: {', '.join(ids)}", hint)


def _known(site: Site, field: str, kind: str, value: str, known: Iterable[str]) -> None:
    choices = sorted(known)
    if value not in choices:
        near = get_close_matches(value, choices, 5, 0.3) or choices[:10]
        raise InputError(site.file, field, f"the provider has no {kind} {value!r}", f"it has: {', '.join(near)}")


def wanted_tags(fleet: Fleet, name: str) -> list[str]:
    """All tags of a host."""
    host = fleet.hosts[name]
    marks = [tag(fleet.site.name, name), f"role:{host.role}", *host.labels]
    return [*marks, PROTECTED] if host.protected else marks


def rules(firewall: Firewall) -> dict[RuleKey, str]:
    """The provider's rules of a firewall group, with their notes. ICMP and the like have no port."""
    return {
        RuleKey(
            f"v{network.version}", rule.protocol, rule.port, str(network.network_address), network.prefixlen
        ): rule.notes
        for rule in firewall.rules
        for network in rule.sources
    }


def relative(name: str, domain: str) -> str:
    """A record's name: without the domain, "" for the domain itself."""
    return "" if name == domain else name.removesuffix(f".{domain}")


def wanted_names(fleet: Fleet) -> dict[str, list[str]]:
    """Hosts by the names that point to them, relative to the domain; every host has its own name besides."""
    found: dict[str, list[str]] = {name: [name] for name in fleet.hosts}
    for name, host in fleet.hosts.items():
        for dns in host.dns:
            hosts = found.setdefault(relative(dns, fleet.site.domain), [])
            if name not in hosts:
                hosts.append(name)
    return found
