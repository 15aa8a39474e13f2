"""Carries a plan out. Everything that becomes known is in the lock file before the next step relies on it."""

import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pyinfra.api.exceptions import PyinfraError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from cloud import actions as do
from cloud import first_contact, user_data
from cloud.actual import Instance, find_instance, instance, tag, volume_label
from cloud.client import PARALLEL, Client, CloudError, Item
from cloud.declared import Site, wanted_tags
from cloud.first_contact import Keys, Login
from cloud.plan import remembered
from inventories import lock as lock_file
from inventories.admins import Admin
from inventories.lock import Lock, LockedHost

TTL_S = 300
BOOT_S = 900
A = TypeVar("A", bound=do.Action)
Failures = list[str]


class BusyError(PyinfraError):  # type: ignore[misc]  # pyinfra ships this base untyped
    """Another run provisions this site on this machine."""


@contextmanager
def alone(lock_path: Path) -> Iterator[None]:
    """Holds the site's folder for one run; a killed one lets go of it. Touches nothing."""
    folder = os.open(lock_path.parent, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"{lock_path.parent}: another run provisions this site: wait for its end") from None
        yield
    finally:
        os.close(folder)


class Applier:
    """Applies the actions of one plan."""

    def __init__(
        self, site: Site, client: Client, lock_path: Path, login: Login, admins: Callable[[str], Sequence[Admin]]
    ) -> None:
        self.site, self.client, self.lock_path, self.login, self.admins = site, client, lock_path, login, admins
        self.lock = site.lock
        self._writing = threading.Lock()
        self._steps: dict[type[do.Action], Callable[[Any], None]] = {
            do.CreateVpc: self._create_vpc,
            do.CreateFirewall: self._create_firewall,
            do.AddRule: self._add_rule,
            do.DropRule: self._drop_rule,
            do.CreateDomain: self._create_domain,
            do.CreateHost: self._create_host,
            do.ReinstallHost: self._reinstall_host,
            do.FirstContact: self._first_contact,
            do.ChangeHost: self._change_host,
            do.JoinVpc: self._join_vpc,
            do.LeaveVpc: self._leave_vpc,
            do.CreateVolume: self._create_volume,
            do.AttachVolume: self._attach_volume,
            do.GrowVolume: self._grow_volume,
            do.DetachVolume: self._detach_volume,
            do.PointName: self._point_name,
            do.DropRecord: lambda a: client.remove(f"/domains/{self._domain}/records/{a.record_id}"),
            do.RemoveHost: self._remove_host,
            do.RemoveVolume: lambda a: client.remove(f"/blocks/{a.block_id}"),
            do.RemoveVpc: lambda a: client.remove(f"/vpcs/{a.vpc_id}"),
            do.RemoveFirewall: lambda a: client.remove(f"/firewalls/{a.group_id}"),
        }

    @property
    def _domain(self) -> str:
        return self.site.fleet.site.domain

    def run(self, plan: Sequence[do.Action]) -> Failures:
        """Applies everything that can be; what fails takes only what depends on it along. Returns what failed."""
        self._save(lambda _: remembered(self.site))
        failures = self._together(_of(plan, do.CreateVpc, do.CreateFirewall, do.CreateDomain))
        failures += self._together(_of(plan, do.AddRule))
        failures += self._together(_of(plan, do.DropRule))
        if failures:
            return failures
        hosts: dict[str, list[do.Action]] = {}
        removals = _of(plan, do.DetachVolume, do.RemoveHost, do.RemoveVolume)
        for action in _of(plan, do.OfHost):
            if action not in removals:
                hosts.setdefault(action.host, []).append(action)
        failures += self._parallel([lambda chain=chain: self._chain(chain) for chain in hosts.values()])
        names = [a for a in _of(plan, do.PointName) if a.host in self.lock.hosts and self.lock.hosts[a.host].ipv4]
        failures += self._together(names)
        if not failures:
            for kinds in ((do.DropRecord,), (do.DetachVolume,), (do.RemoveHost,), (do.RemoveVolume,)):
                failures += self._together(_of(plan, *kinds))
            failures += self._together(_of(plan, do.RemoveVpc, do.RemoveFirewall))
        return failures

    def _together(self, actions: Sequence[do.Action]) -> Failures:
        return self._parallel([lambda action=action: self._chain([action]) for action in actions])

    def _parallel(self, chains: Sequence[Callable[[], Failures]]) -> Failures:
        with ThreadPoolExecutor(PARALLEL) as pool:
            futures = [pool.submit(chain) for chain in chains]
            return [failure for future in futures for failure in future.result()]

    def _chain(self, actions: Sequence[do.Action]) -> Failures:
        """One after the other; the first failure ends it."""
        for action in actions:
            try:
                self._steps[type(action)](action)
            except (PyinfraError, *first_contact.LOST) as error:
                return [f"{action.thing}: {error}"]
            self.client.report(f"{action}: done")
        return []

    def _save(self, change: Callable[[Lock], Lock]) -> None:
        with self._writing:
            fresh = change(self.lock)
            if fresh != self.lock:
                lock_file.save(self.lock_path, fresh)
                self.lock = fresh

    def _save_host(self, name: str, **values: object) -> None:
        def change(lock: Lock) -> Lock:
            host = lock.hosts.get(name, LockedHost(instance_id="", ipv4=""))
            return lock.model_copy(update={"hosts": {**lock.hosts, name: host.model_copy(update=values)}})

        self._save(change)

    def _create_marked(self, path: str, list_key: str, key: str, mark: str, body: Item) -> str:
        """Creates a thing that is known by its description; returns its id."""

        def find() -> Item | None:
            items = self.client.list(path, list_key)
            return next((item for item in items if item.get("description") == mark), None)

        return str(self.client.create(path, key, {**body, "description": mark}, find)["id"])

    def _create_vpc(self, action: do.CreateVpc) -> None:
        body = {
            "region": action.region,
            "v4_subnet": str(action.subnet.network_address),
            "v4_subnet_mask": action.subnet.prefixlen,
        }
        vpc_id = self._create_marked("/vpcs", "vpcs", "vpc", tag(self.site.name, action.name), body)
        self._save(lambda lock: lock.model_copy(update={"vpcs": {**lock.vpcs, action.name: vpc_id}}))

    def _create_firewall(self, action: do.CreateFirewall) -> None:
        mark = tag(self.site.name, action.name)
        group = self._create_marked("/firewalls", "firewall_groups", "firewall_group", mark, {})
        self._save(lambda lock: lock.model_copy(update={"firewalls": {**lock.firewalls, action.name: group}}))

    def _add_rule(self, action: do.AddRule) -> None:
        path = f"/firewalls/{self.lock.firewalls[action.firewall]}/rules"
        body = {**vars(action.rule), "notes": action.notes}

        def there() -> bool:
            rules = self.client.list(path, "firewall_rules")
            return any(all(rule[key] == value for key, value in vars(action.rule).items()) for rule in rules)

        self.client.ensure(path, body, there)

    def _drop_rule(self, action: do.DropRule) -> None:
        self.client.remove(f"/firewalls/{self.lock.firewalls[action.firewall]}/rules/{action.rule_id}")

    def _create_domain(self, action: do.CreateDomain) -> None:
        def there() -> bool:
            return any(d["domain"] == action.domain for d in self.client.list("/domains", "domains"))

        self.client.ensure("/domains", {"domain": action.domain}, there)

    def _host_body(self, name: str) -> Item:
        host = self.site.fleet.hosts[name]
        return {
            "label": name,
            "tags": wanted_tags(self.site.fleet, name),
            "firewall_group_id": self.lock.firewalls[host.firewall] if host.firewall else "",
            "backups": "enabled" if host.snapshots else "disabled",
            "plan": host.plan,
        }

    def _user_data(self, name: str, key: user_data.HostKey) -> str:
        admins = self.admins(self.site.fleet.hosts[name].role)
        return user_data.encode(user_data.cloud_config(name, self._domain, admins, key))

    def _create_host(self, action: do.CreateHost) -> None:
        name, host = action.host, self.site.fleet.hosts[action.host]

        def find() -> Item | None:
            found = find_instance(self.client, self.site.name, name)
            return found.model_dump() if found else None

        # The key in the lock is that of the earlier attempt, which must be found before a new key takes its place.
        made = self.client.settle(find) if action.doubtful else None
        if made is None:
            key = user_data.host_key()
            self._save_host(name, **LockedHost(instance_id="", ipv4="", first_contact_key=key.public).model_dump())
            body = {
                **self._host_body(name),
                "region": host.region,
                "hostname": name,
                "os_id": self.site.actual.catalogue.systems[host.os],
                "enable_ipv6": True,
                "attach_vpc": [self.lock.vpcs[vpc] for vpc in host.vpcs],
                "user_data": self._user_data(name, key),
                "activation_email": False,
            }
            made = self.client.create("/instances", "instance", body, find)
        self._save_host(name, instance_id=made["id"])

    def _reinstall_host(self, action: do.ReinstallHost) -> None:
        """Pinned keys stay in the lock until the provider has begun: a run killed before that leaves the host known."""
        name, found = action.host, self.site.instances()[action.host]
        key = user_data.host_key()
        locked = self.lock.hosts.get(name)
        pinned = locked.host_keys if locked and locked.instance_id == found.id else ()
        self._save_host(name, instance_id=found.id, first_contact_key=key.public, host_keys=pinned)
        self.client.change(f"/instances/{found.id}", user_data=self._user_data(name, key))
        self._active(name)
        self.client.ensure(f"/instances/{found.id}/reinstall", {"hostname": name}, lambda: False)
        self.client.wait(
            f"host/{name}",
            lambda: self.client.get(f"/instances/{found.id}")["instance"],
            lambda item: "not reinstalling yet" if item["server_status"] == "ok" else "",
            timeout_s=120,
        )
        self._save_host(name, host_keys=())

    def _active(self, name: str) -> Instance:
        path = f"/instances/{self.lock.hosts[name].instance_id}"

        def ready(item: Item) -> str:
            states = item["status"], item["power_status"], item["server_status"]
            done = states[:2] == ("active", "running") and states[2] == "ok" and instance(item).ipv4
            return "" if done else " ".join(filter(None, states))

        look = lambda: self.client.get(path)["instance"]  # noqa: E731
        return instance(self.client.wait(f"host/{name}", look, ready, timeout_s=BOOT_S))

    def _first_contact(self, action: do.FirstContact) -> None:
        name = action.host
        found = self._active(name)
        names = {vpc_id: vpc for vpc, vpc_id in self.lock.vpcs.items()}
        joined = self.client.list(f"/instances/{found.id}/vpcs", "vpcs")
        private = {names.get(vpc["id"], vpc["id"]): vpc["ip_address"] for vpc in joined}
        self._save_host(name, ipv4=found.ipv4, ipv6=found.v6_main_ip, vpc_ipv4=private)
        for attempt in Retrying(
            retry=retry_if_exception_type(first_contact.LOST), stop=stop_after_attempt(3), reraise=True
        ):
            with attempt:
                locked = self.lock.hosts[name]
                first_contact.make(
                    name,
                    found.ipv4,
                    self.login,
                    Keys(locked.first_contact_key, locked.host_keys),
                    pin=lambda key: self._save_host(name, host_keys=(key,)),
                    empty_user_data=lambda: self.client.change(f"/instances/{found.id}", user_data=""),
                    report=self.client.report,
                )
        self._save_host(name, first_contact_key="")

    def _change_host(self, action: do.ChangeHost) -> None:
        body = self._host_body(action.host)
        keys = {"firewall": "firewall_group_id"}
        changes = {keys.get(field, field): body[keys.get(field, field)] for field in action.fields}
        self.client.change(f"/instances/{self._instance_id(action.host)}", **changes)

    def _instance_id(self, host: str) -> str:
        """An existing host's, also of one that the lock does not know."""
        existing = self.site.instances().get(host)
        return existing.id if existing else self.lock.hosts[host].instance_id

    def _joined(self, host: str) -> dict[str, str]:
        joined = self.client.list(f"/instances/{self._instance_id(host)}/vpcs", "vpcs")
        return {vpc["id"]: vpc["ip_address"] for vpc in joined}

    def _join_vpc(self, action: do.JoinVpc) -> None:
        vpc_id = self.lock.vpcs[action.vpc]
        path = f"/instances/{self._instance_id(action.host)}/vpcs/attach"
        self.client.ensure(path, {"vpc_id": vpc_id}, lambda: vpc_id in self._joined(action.host))
        private = {**self.lock.hosts[action.host].vpc_ipv4, action.vpc: self._joined(action.host)[vpc_id]}
        self._save_host(action.host, vpc_ipv4=private)

    def _leave_vpc(self, action: do.LeaveVpc) -> None:
        path = f"/instances/{self._instance_id(action.host)}/vpcs/detach"
        self.client.ensure(path, {"vpc_id": action.vpc_id}, lambda: action.vpc_id not in self._joined(action.host))
        names = {vpc_id: vpc for vpc, vpc_id in self.lock.vpcs.items()}
        gone = names.get(action.vpc_id, action.vpc_id)
        private = {vpc: a for vpc, a in self.lock.hosts[action.host].vpc_ipv4.items() if vpc != gone}
        self._save_host(action.host, vpc_ipv4=private)

    def _create_volume(self, action: do.CreateVolume) -> None:
        host = self.site.fleet.hosts[action.host]
        label = volume_label(self.site.name, action.host, action.volume)
        body = {
            "region": host.region,
            "size_gb": action.size_gb,
            "label": label,
            "block_type": host.volumes[action.volume].block_type,
        }

        def find() -> Item | None:
            return next((b for b in self.client.list("/blocks", "blocks") if b["label"] == label), None)

        block = self.client.create("/blocks", "block", body, find)
        volumes = {**self.lock.hosts[action.host].volumes, action.volume: block["id"]}
        self._save_host(action.host, volumes=volumes)

    def _block(self, block_id: str) -> Item:
        block: Item = self.client.get(f"/blocks/{block_id}")["block"]
        return block

    def _attach_volume(self, action: do.AttachVolume) -> None:
        blocks = self.site.blocks()
        block = blocks.get((action.host, action.volume))
        block_id = block.id if block else self.lock.hosts[action.host].volumes[action.volume]
        target = self._instance_id(action.host)
        self.client.wait(
            action.thing, lambda: self._block(block_id), lambda b: "" if b["status"] == "active" else b["status"]
        )
        there = {"instance_id": target, "live": True}
        self.client.ensure(
            f"/blocks/{block_id}/attach", there, lambda: self._block(block_id)["attached_to_instance"] == target
        )
        volumes = {**self.lock.hosts[action.host].volumes, action.volume: block_id}
        self._save_host(action.host, volumes=volumes)

    def _grow_volume(self, action: do.GrowVolume) -> None:
        self.client.change(f"/blocks/{action.block_id}", size_gb=action.size_gb)

    def _detach_volume(self, action: do.DetachVolume) -> None:
        path = f"/blocks/{action.block_id}/detach"
        self.client.ensure(path, {"live": True}, lambda: not self._block(action.block_id)["attached_to_instance"])

    def _point_name(self, action: do.PointName) -> None:
        host = self.lock.hosts[action.host]
        data = host.ipv4 if action.type == "A" else host.ipv6
        if not data:
            raise CloudError(action.thing, 0, f"{action.host} has no address for {action.type}")
        path = f"/domains/{self._domain}/records"
        body = {"name": action.name, "type": action.type, "data": data, "ttl": TTL_S}

        def find() -> Item | None:
            same = ("name", "type", "data")
            return next((r for r in self.client.list(path, "records") if all(r[k] == body[k] for k in same)), None)

        self.client.create(path, "record", body, find)

    def _remove_host(self, action: do.RemoveHost) -> None:
        self.client.remove(f"/instances/{action.instance_id}")

        def gone() -> Item:
            try:
                found: Item = self.client.get(f"/instances/{action.instance_id}")["instance"]
            except CloudError as error:
                if error.status == 404:
                    return {}
                raise
            return found

        self.client.wait(action.thing, gone, lambda item: "being removed" if item else "")
        self._save(
            lambda lock: lock.model_copy(update={"hosts": {n: h for n, h in lock.hosts.items() if n != action.host}})
        )


def _of(plan: Sequence[do.Action], *kinds: type[A]) -> list[A]:
    return [action for action in plan if isinstance(action, kinds)]
