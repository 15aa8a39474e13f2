"""From what is declared, what exists and what the lock says to a list of actions. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from cloud import actions as do
from cloud import removals
from cloud.actual import GroupRule, Instance, tag, volume_label
from cloud.declared import Site, check, rules, wanted_names, wanted_tags
from inventories.errors import InputError
from inventories.fleet import Host
from inventories.lock import Lock, LockedHost


def make(site: Site) -> list[do.Action]:
    """The whole plan, in an order in which it can be applied. Raises InputError before anything was done."""
    check(site)
    found = list(_lock(site))
    found += _networks(site)
    for name, host in site.fleet.hosts.items():
        found += _host(site, name, host)
    found += _names(site)
    found += removals.plan(site)
    return found


def changes(plan: Iterable[do.Action]) -> list[do.Action]:
    """Those that do something; the rest is only told."""
    return [action for action in plan if not isinstance(action, do.Told)]


def remembered(site: Site) -> Lock:
    """The lock with everything of it that exists as it exists; what is neither declared nor exists falls out.

    A host that is gone stays as long as a record points to it or a volume of it is there.
    """
    vpc_names = {vpc.id: name for name, vpc in site.vpcs().items()}
    instances, hosts = site.instances(), {}
    left = {record.data for record in site.actual.records} | {block.id for block in site.actual.blocks}
    for name, locked in site.lock.hosts.items():
        traces = {locked.ipv4, locked.ipv6} | {volume.id for volume in locked.volumes.values()}
        if name not in instances and (name in site.fleet.hosts or traces & left):
            hosts[name] = locked
    for name, instance in instances.items():
        locked = site.lock.hosts.get(name, LockedHost(instance_id="", ipv4=""))
        if locked.instance_id not in ("", instance.id):
            hosts[name] = locked
        elif locked.host_keys or locked.first_contact_key:
            seen = {
                "instance_id": instance.id,
                "ipv4": instance.ipv4,
                "ipv6": instance.v6_main_ip,
                "vpc_ipv4": {vpc_names.get(vpc, vpc): address for vpc, address in instance.vpcs.items()},
                "volumes": {volume: block.locked for (host, volume), block in site.blocks().items() if host == name},
            }
            hosts[name] = locked.model_copy(update=seen)
    vpcs = {name: vpc.id for name, vpc in site.vpcs().items()}
    return Lock(hosts=hosts, vpcs=vpcs, firewalls={name: group.id for name, group in site.firewalls().items()})


def _lock(site: Site) -> Iterator[do.Action]:
    fresh, old = remembered(site), site.lock
    if fresh != old:
        pairs: list[tuple[str, Mapping[str, object], Mapping[str, object]]] = [
            ("host", fresh.hosts, old.hosts),
            ("vpc", fresh.vpcs, old.vpcs),
            ("firewall", fresh.firewalls, old.firewalls),
        ]
        what = [f"{k}/{n}" for k, new, was in pairs for n in sorted({*new, *was}) if new.get(n) != was.get(n)]
        yield do.Remember(", ".join(what))


def _networks(site: Site) -> Iterator[do.Action]:
    existing = site.vpcs()
    for name, vpc in site.fleet.vpcs.items():
        if name not in existing:
            yield do.CreateVpc(name, vpc.region, vpc.subnet)
            continue
        if existing[name].description != tag(site.name, name):
            yield do.DescribeVpc(name, existing[name].id)
        if (existing[name].region, existing[name].subnet) != (vpc.region, vpc.subnet):
            found = f"{existing[name].subnet} in {existing[name].region}"
            yield do.Drift(f"vpc/{name}", f"is {found}, declared {vpc.subnet} in {vpc.region}: make a new one")
    groups = site.firewalls()
    for name, firewall in site.fleet.firewalls.items():
        if name not in groups:
            yield do.CreateFirewall(name)
        elif groups[name].description != tag(site.name, name):
            yield do.DescribeFirewall(name, groups[name].id)
        yield from _rules(name, rules(firewall), groups[name].rules if name in groups else ())


def _rules(firewall: str, wanted: Mapping[do.RuleKey, str], existing: Iterable[GroupRule]) -> Iterator[do.Action]:
    have = {do.RuleKey(r.ip_type, r.protocol.lower(), r.port, r.subnet, r.subnet_size, r.source): r for r in existing}
    for key, notes in wanted.items():
        if key not in have:
            yield do.AddRule(firewall, key, notes)
        elif have[key].notes != notes:
            # Dropped and added again it would be away for a moment, and whoever is only let in by it as well.
            found = f"{key} has the notes {have[key].notes!r}, declared {notes!r}: a rule cannot be changed"
            yield do.Drift(f"firewall/{firewall}", found)
    for key, rule in have.items():
        if key not in wanted:
            yield do.DropRule(firewall, key, rule.id)


def _host(site: Site, name: str, host: Host) -> Iterator[do.Action]:
    instance = site.instances().get(name)
    locked = site.lock.hosts.get(name)
    reinstall = f"host/{name}" in site.switches.reinstall
    if reinstall and (instance is None or host.protected):
        problem = "there is no such host yet" if instance is None else "it is declared protected"
        raise InputError(site.file, f"hosts.{name}", f"cannot be reinstalled: {problem}")
    if instance is None:
        doubtful = bool(locked and not locked.instance_id)
        cost = site.actual.catalogue.plans[host.plan].monthly_cost
        yield do.CreateHost(name, f"{host.plan} in {host.region}, {host.os}", cost, doubtful)
        yield do.FirstContact(name)
    else:
        known = bool(locked and locked.instance_id in ("", instance.id))
        pinned = known and locked is not None and bool(locked.host_keys or locked.first_contact_key)
        if reinstall:
            yield do.ReinstallHost(name)
            yield do.FirstContact(name)
        elif not pinned:
            hint = f"restore lock.json from git, or start it afresh: --data reinstall=host/{name}"
            yield do.Drift(
                f"host/{name}", f"instance {instance.id} is not in the lock, so its keys are unknown: {hint}"
            )
        elif locked and locked.first_contact_key:
            yield do.FirstContact(name)
        yield from _host_changes(site, name, host, instance)
    yield from _volumes(site, name, host, instance)


def _host_changes(site: Site, name: str, host: Host, instance: Instance) -> Iterator[do.Action]:
    fields: list[do.Field] = []
    if instance.label != name:
        fields.append("label")
    if set(instance.tags) != set(wanted_tags(site.fleet, name)):
        fields.append("tags")
    group = site.firewalls().get(host.firewall) if host.firewall else None
    if (host.firewall and not group) or instance.firewall_group_id != (group.id if group else ""):
        fields.append("firewall")
    if ("auto_backups" in instance.features) != host.snapshots:
        fields.append("backups")
    if instance.plan != host.plan:
        if f"host/{name}" in site.switches.resize:
            fields.append("plan")
        else:
            hint = f"to change it, with a reboot: --data resize=host/{name}"
            yield do.Drift(f"host/{name}", f"plan is {instance.plan!r}, declared {host.plan!r}; {hint}")
    if fields:
        yield do.ChangeHost(name, tuple(fields))
    if instance.region != host.region:
        yield do.Drift(f"host/{name}", f"region is {instance.region!r}, declared {host.region!r}: make a new host")
    if instance.os_id != site.actual.catalogue.systems[host.os]:
        yield do.Drift(f"host/{name}", f"os is {instance.os!r}, declared {host.os!r}: upgrade it in place or anew")
    ids = {vpc: network.id for vpc, network in site.vpcs().items()}
    for vpc in host.vpcs:
        if vpc not in ids or ids[vpc] not in instance.vpcs:
            yield do.JoinVpc(name, vpc)
    for vpc_id in instance.vpcs:
        if vpc_id not in {ids.get(vpc) for vpc in host.vpcs}:
            yield do.LeaveVpc(name, vpc_id)


def _volumes(site: Site, name: str, host: Host, instance: Instance | None) -> Iterator[do.Action]:
    blocks, ids = site.blocks(), {known.id for known in site.actual.instances}
    for volume_name, volume in host.volumes.items():
        block = blocks.get((name, volume_name))
        thing = f"volume/{name}/{volume_name}"
        if block and block.label != volume_label(site.name, name, volume_name):
            yield do.LabelVolume(name, volume_name, block.id)
        if block and block.block_type not in ("", volume.block_type):
            types = f"{block.block_type!r}, declared {volume.block_type!r}"
            yield do.Drift(thing, f"is of type {types}: copy its data over")
        if block is None:
            yield do.CreateVolume(name, volume_name, volume.size_gb)
        elif block.region != host.region:
            yield do.Drift(thing, f"is in region {block.region!r}, declared {host.region!r}: copy its data over")
            continue
        elif block.size_gb > volume.size_gb:
            yield do.Drift(thing, f"has {block.size_gb} GB, declared {volume.size_gb}: volumes cannot shrink")
        elif block.size_gb < volume.size_gb:
            yield do.GrowVolume(name, volume_name, block.id, volume.size_gb)
        at = block.attached_to_instance if block else ""
        if at and at in ids and (instance is None or at != instance.id):
            yield do.Drift(thing, f"is attached to another host (instance {at}): --data detach={thing}")
        elif instance is None or at != instance.id:
            yield do.AttachVolume(name, volume_name)


def _names(site: Site) -> Iterator[do.Action]:
    if not site.actual.domain:
        yield do.CreateDomain(site.fleet.site.domain)
    instances = site.instances()
    types: tuple[do.AddressType, do.AddressType] = ("A", "AAAA")
    for name, hosts in wanted_names(site.fleet).items():
        for kind in types:
            have = {r.data: r.id for r in site.actual.records if (r.name, r.type) == (name, kind)}
            wanted = {host: address(instances.get(host), kind) for host in hosts}
            for host, data in wanted.items():
                if not data or data not in have:
                    yield do.PointName(name, kind, host)
            for data, record_id in have.items():
                if data not in wanted.values():
                    yield do.DropRecord(name, kind, data, record_id)


def address(instance: Instance | None, kind: do.AddressType) -> str:
    """ "" when it is not known yet."""
    if instance is None:
        return ""
    return instance.ipv4 if kind == "A" else instance.v6_main_ip
