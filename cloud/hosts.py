"""Steps on hosts."""

from collections.abc import Callable, Mapping
from typing import Any

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from cloud import actions as do
from cloud import first_contact, user_data
from cloud.actual import Instance, find_instance, instance
from cloud.client import CloudError, Item
from cloud.declared import wanted_tags
from cloud.first_contact import Keys
from cloud.work import Work
from inventories.lock import Lock, LockedHost

BOOT_S = 900


def _body(work: Work, name: str) -> Item:
    """What can be set when a host is made and changed afterwards."""
    host = work.site.fleet.hosts[name]
    return {
        "label": name,
        "tags": wanted_tags(work.site.fleet, name),
        "firewall_group_id": work.lock.firewalls[host.firewall] if host.firewall else "",
        "backups": "enabled" if host.snapshots else "disabled",
        "plan": host.plan,
    }


def _user_data(work: Work, name: str, key: user_data.HostKey) -> str:
    admins = work.admins(work.site.fleet.hosts[name].role)
    return user_data.encode(user_data.cloud_config(name, work.domain, admins, key))


def _create(work: Work, action: do.CreateHost) -> None:
    name, host = action.host, work.site.fleet.hosts[action.host]

    def find() -> Item | None:
        found = find_instance(work.client, work.site.name, name)
        return found.model_dump() if found else None

    # The key in the lock is that of the earlier attempt, which must be looked for before a new key takes its place.
    made = work.client.settle(find) if action.doubtful else None
    if made is None:
        key = user_data.host_key()
        # Its volumes outlive a host that was lost; the lock may be all that still knows them.
        volumes = work.lock.hosts[name].volumes if name in work.lock.hosts else {}
        work.save_host(name, **vars(LockedHost(instance_id="", ipv4="", first_contact_key=key.public, volumes=volumes)))
        body = {
            **_body(work, name),
            "region": host.region,
            "hostname": name,
            "os_id": work.site.actual.catalogue.systems[host.os],
            "enable_ipv6": True,
            "attach_vpc": [work.lock.vpcs[vpc] for vpc in host.vpcs],
            "user_data": _user_data(work, name, key),
            "activation_email": False,
        }
        made = work.client.create("/instances", "instance", body, find)
    work.save_host(name, instance_id=made["id"])


def _reinstall(work: Work, action: do.ReinstallHost) -> None:
    """Pinned keys stay in the lock until the provider has begun: a run killed before that leaves the host known."""
    name, found = action.host, work.site.instances()[action.host]
    path = f"/instances/{found.id}"
    key = user_data.host_key()
    locked = work.lock.hosts.get(name)
    pinned = locked.host_keys if locked and locked.instance_id == found.id else ()
    work.save_host(name, instance_id=found.id, first_contact_key=key.public, host_keys=pinned)
    work.client.change(path, user_data=_user_data(work, name, key))
    _active(work, name)
    work.client.ensure(f"{path}/reinstall", {"hostname": name}, lambda: False)

    def begun(item: Item) -> str:
        return "not reinstalling yet" if item["server_status"] == "ok" else ""

    work.client.wait(action.thing, lambda: work.client.get(path)["instance"], begun, timeout_s=120)
    work.save_host(name, host_keys=())


def _active(work: Work, name: str) -> Instance:
    """Waits until the provider shows the host as up, with its address."""
    path = f"/instances/{work.instance_id(name)}"

    def look() -> Item:
        found: Item = work.client.get(path)["instance"]
        return found

    def missing(item: Item) -> str:
        states = item["status"], item["power_status"], item["server_status"]
        up = states == ("active", "running", "ok") and instance(item).ipv4
        return "" if up else " ".join(filter(None, states))

    return instance(work.client.wait(f"host/{name}", look, missing, timeout_s=BOOT_S))


def _first_contact(work: Work, action: do.FirstContact) -> None:
    name = action.host
    found = _active(work, name)
    names = {vpc_id: vpc for vpc, vpc_id in work.lock.vpcs.items()}
    private = {names.get(vpc, vpc): address for vpc, address in _joined(work, name).items()}
    work.save_host(name, ipv4=found.ipv4, ipv6=found.v6_main_ip, vpc_ipv4=private)
    lost = retry_if_exception_type(first_contact.LOST)
    for attempt in Retrying(retry=lost, stop=stop_after_attempt(3), reraise=True):
        with attempt:
            locked = work.lock.hosts[name]
            first_contact.make(
                name,
                found.ipv4,
                work.login,
                Keys(locked.first_contact_key, locked.host_keys),
                pin=lambda key: work.save_host(name, host_keys=(key,)),
                empty_user_data=lambda: work.client.change(f"/instances/{found.id}", user_data=""),
                report=work.client.report,
            )
    work.save_host(name, first_contact_key="")


def _change(work: Work, action: do.ChangeHost) -> None:
    body, keys = _body(work, action.host), {"firewall": "firewall_group_id"}
    changes = {keys.get(field, field): body[keys.get(field, field)] for field in action.fields}
    work.client.change(f"/instances/{work.instance_id(action.host)}", **changes)
    if "plan" in action.fields:
        found, locked = _active(work, action.host), work.lock.hosts.get(action.host)
        if locked and locked.host_keys:
            back = first_contact.wait_for(
                action.host, found.ipv4, work.login, locked.host_keys, work.client.report, first_contact.BOOT_S
            )
            back.close()


def _joined(work: Work, host: str) -> dict[str, str]:
    """The host's addresses by VPC id."""
    joined = work.client.list(f"/instances/{work.instance_id(host)}/vpcs", "vpcs")
    return {vpc["id"]: vpc["ip_address"] for vpc in joined}


def _join_vpc(work: Work, action: do.JoinVpc) -> None:
    vpc_id = work.lock.vpcs[action.vpc]
    path = f"/instances/{work.instance_id(action.host)}/vpcs/attach"
    work.client.ensure(path, {"vpc_id": vpc_id}, lambda: vpc_id in _joined(work, action.host))


def _leave_vpc(work: Work, action: do.LeaveVpc) -> None:
    path = f"/instances/{work.instance_id(action.host)}/vpcs/detach"
    work.client.ensure(path, {"vpc_id": action.vpc_id}, lambda: action.vpc_id not in _joined(work, action.host))


def _remove(work: Work, action: do.RemoveHost) -> None:
    path = f"/instances/{action.instance_id}"
    work.client.remove(path)

    def look() -> Item:
        try:
            found: Item = work.client.get(path)["instance"]
        except CloudError as error:
            if error.status == 404:
                return {}
            raise
        return found

    work.client.wait(action.thing, look, lambda item: "being removed" if item else "")

    def without(lock: Lock) -> Lock:
        left = {name: host for name, host in lock.hosts.items() if name != action.host}
        return lock.model_copy(update={"hosts": left})

    work.save(without)


STEPS: Mapping[type[do.Action], Callable[[Work, Any], None]] = {
    do.CreateHost: _create,
    do.ReinstallHost: _reinstall,
    do.FirstContact: _first_contact,
    do.ChangeHost: _change,
    do.JoinVpc: _join_vpc,
    do.LeaveVpc: _leave_vpc,
    do.RemoveHost: _remove,
}
