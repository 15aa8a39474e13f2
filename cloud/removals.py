"""What exists and is not declared: listed, and removed only when named. Pure.

A volume never goes with its host: whoever removes a host must say of each of its volumes what becomes of the data, by
naming it in `remove` (deleted) or in `detach` (kept). A host that was declared `protected` is not removed at all.
"""

from collections.abc import Iterator

from cloud import actions as do
from cloud.actual import host_of
from cloud.declared import PROTECTED, Site, wanted_names
from inventories.errors import InputError


def plan(site: Site) -> Iterator[do.Action]:
    """Detachments and removals asked for, and the list of the rest. Raises InputError."""
    undeclared = _undeclared(site)
    declared = {f"host/{name}" for name in site.fleet.hosts}
    declared |= {f"volume/{host}/{v}" for host, h in site.fleet.hosts.items() for v in h.volumes}
    declared |= {f"vpc/{name}" for name in site.fleet.vpcs} | {f"firewall/{name}" for name in site.fleet.firewalls}
    declared |= {f"record/{name or '@'}" for name in wanted_names(site.fleet)}
    for thing in sorted(site.switches.remove):
        if thing in declared:
            raise InputError(site.file, f"--data remove={thing}", "is still declared", "take it out of the file first")
        if thing not in undeclared:
            raise InputError(site.file, f"--data remove={thing}", "there is no such thing of this site")
    yield from _detachments(site)
    for thing, (note, removals) in undeclared.items():
        if thing not in site.switches.remove:
            yield do.Undeclared(thing, note)
            continue
        if thing.startswith("host/"):
            _may_go(site, thing.removeprefix("host/"))
        elif thing.startswith("volume/"):
            _, host, volume = thing.split("/")
            _volume_may_go(site, host, volume)
        yield from removals


def _undeclared(site: Site) -> dict[str, tuple[str, list[do.Action]]]:
    """Things with a note and what removes them, in the order in which they can go."""
    found: dict[str, tuple[str, list[do.Action]]] = {}
    instances = site.instances()
    addresses = {a: host for host, locked in site.lock.hosts.items() for a in (locked.ipv4, locked.ipv6) if a}
    addresses |= {a: host for host, i in instances.items() for a in (i.ipv4, i.v6_main_ip) if a}
    names = wanted_names(site.fleet)
    for host, instance in instances.items():
        if host not in site.fleet.hosts:
            removals: list[do.Action] = [
                do.DropRecord(r.name, r.type, r.data, r.id)
                for r in site.actual.records
                if r.name not in names and addresses.get(r.data) == host
            ]
            found[f"host/{host}"] = ("", [*removals, do.RemoveHost(host, instance.id)])
    for (host, volume), block in site.blocks().items():
        if host not in site.fleet.hosts or volume not in site.fleet.hosts[host].volumes:
            note = f" ({block.size_gb} GB of data)"
            found[f"volume/{host}/{volume}"] = (note, [do.RemoveVolume(host, volume, block.id)])
    for name, vpc in site.vpcs().items():
        if name not in site.fleet.vpcs:
            found[f"vpc/{name}"] = ("", [do.RemoveVpc(name, vpc.id)])
    for name, group in site.firewalls().items():
        if name not in site.fleet.firewalls:
            found[f"firewall/{name}"] = ("", [do.RemoveFirewall(name, group.id)])
    for record in site.actual.records:
        owner = addresses.get(record.data)
        if record.name not in names and owner and f"host/{owner}" not in found:
            _, drops = found.setdefault(f"record/{record.name or '@'}", ("", []))
            drops.append(do.DropRecord(record.name, record.type, record.data, record.id))
    return found


def _detachments(site: Site) -> Iterator[do.Action]:
    for thing in sorted(site.switches.detach):
        _, host, volume = thing.split("/")
        block = site.blocks().get((host, volume))
        instance = site.instances().get(host)
        if block is None or not block.attached_to_instance:
            raise InputError(site.file, f"--data detach={thing}", "no such volume is attached")
        declared = host in site.fleet.hosts and volume in site.fleet.hosts[host].volumes
        if declared and instance and block.attached_to_instance == instance.id:
            raise InputError(site.file, f"--data detach={thing}", "is still declared", "take it out of the file first")
        yield do.DetachVolume(host, volume, block.id)


def _may_go(site: Site, host: str) -> None:
    instance = site.instances()[host]
    where = f"--data remove=host/{host}"
    if PROTECTED in instance.tags:
        hint = "declare it again with protected = false, provision, and remove it then"
        raise InputError(site.file, where, "it is protected", hint)
    if host_of(site.name, instance) != host:
        hint = "declare it again and provision, which puts its tags right, and remove it then"
        raise InputError(site.file, where, "its tags were changed, so that it was protected may be lost", hint)
    for (owner, volume), block in site.blocks().items():
        thing = f"volume/{owner}/{volume}"
        if block.attached_to_instance == instance.id and thing not in site.switches.remove | site.switches.detach:
            hint = f"name it as well: in remove to delete its data, in detach to keep it ({thing})"
            raise InputError(site.file, where, f"it holds {thing}", hint)


def _volume_may_go(site: Site, host: str, volume: str) -> None:
    thing = f"volume/{host}/{volume}"
    at = site.blocks()[host, volume].attached_to_instance
    names = {instance.id: name for name, instance in site.instances().items()}
    if at and f"host/{names.get(at)}" not in site.switches.remove:
        hint = f"stop what uses it, then --data detach={thing}, then remove it"
        problem = f"it is attached to {names.get(at, f'instance {at}')}"
        raise InputError(site.file, f"--data remove={thing}", problem, hint)
