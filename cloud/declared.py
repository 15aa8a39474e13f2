"""What a site is made of for planning: what is declared, what exists, and whether the one can be had. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from cloud.actions import RuleKey
from cloud.actual import Actual, Block, Instance, host_of, name_of, tag
from cloud.switches import Switches
from inventories.errors import InputError
from inventories.fleet import Firewall, Fleet
from inventories.lock import Lock

PROTECTED = "mainstay-protected"
"""Tag of hosts that were declared `protected`: it must outlive the declaration."""
"""Sizes the provider sells, by block type."""


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

    def instances(self) -> dict[str, Instance]:
        """Those of the site by host, undeclared ones too."""
        return {host_of(self.name, instance): instance for instance in self.actual.instances}

    def blocks(self) -> dict[tuple[str, str], Block]:
        """Those of the site by host and volume, undeclared ones too."""
        labels = {block: block.label.removeprefix(f"{self.name}/").partition("/") for block in self.actual.blocks}
        return {(host, volume): block for block, (host, _, volume) in labels.items()}

    def vpcs(self) -> dict[str, str]:
        """Ids by name."""
        return {name_of(self.name, vpc.description): vpc.id for vpc in self.actual.vpcs}

    def firewalls(self) -> dict[str, str]:
        """Ids by name."""
        return {name_of(self.name, group.description): group.id for group in self.actual.firewalls}


def check(site: Site) -> None:
    """Whether what is declared can be bought, and nothing of the site exists twice. Raises InputError."""
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
    marks = [(f"hosts.{host_of(site.name, i)}", i.id) for i in site.actual.instances]
    marks += [(f"volumes {b.label}", b.id) for b in site.actual.blocks]
    marks += [(f"vpcs.{name_of(site.name, v.description)}", v.id) for v in site.actual.vpcs]
    marks += [(f"firewalls.{name_of(site.name, g.description)}", g.id) for g in site.actual.firewalls]
    for mark, _ in marks:
        ids = [known for other, known in marks if other == mark]
        if len(ids) > 1:
            hint = "compare them at the provider and delete one, or take this site's mark off it"
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
