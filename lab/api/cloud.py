"""The lab's cloud as a whole: what it holds, the engine that makes it real, and the actions under way."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface, ip_network
from threading import Lock
from typing import Any, Final

from lab.api import addresses, catalogue, faults, rights
from lab.api.store import MAIN, Item, Store
from lab.api.wire import ApiError
from lab.engine import Engine, Machine, Nic, Rule

log = logging.getLogger(__name__)

LOCKED: Final = "Server is currently locked"
Step = Callable[["Cloud", Item, Item], Mapping[str, Any]]
"""(cloud, instance, job) -> what changes in the instance."""


def nothing(cloud: "Cloud", item: Item, job: Item) -> Mapping[str, Any]:
    """The step that changes nothing."""
    return {}


@dataclass(frozen=True)
class Action:
    """run must bear being run again from its start after a crash; undo takes back what was recorded, in the store only,
    when the engine failed at it."""

    run: Step
    undo: Step = nothing


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def logged(what: str) -> Iterator[None]:
    """What fails inside is logged and goes no further: one thing that cannot be done must not hold up the others."""
    try:
        yield
    except Exception:
        log.exception("cannot %s", what)


@contextmanager
def answered(what: str, undo: Callable[[], None]) -> Iterator[None]:
    """What fails inside is an ApiError with the engine's words, once `undo` has taken back what was recorded."""
    try:
        yield
    except Exception as error:
        log.exception("cannot %s", what)
        undo()
        raise ApiError(500, f"Unable to {what}: {error}") from error


class Cloud:
    """Shared by all requests; safe for threads.

    An action on an instance is written into it as `_job` before it begins, locks it while it lasts, and is begun again
    by `resume` when the process died under it.
    """

    def __init__(self, store: Store, engine: Engine, actions: Mapping[str, Action]) -> None:
        self.store, self.engine, self._actions = store, engine, actions
        self.account = MAIN
        self.acls: tuple[str, ...] = rights.ACLS
        self.everything: Final = store
        """What all accounts have: addresses, names of zones, faults and the engine's rules know no account."""
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="action")
        self._firewall = Lock()
        self.volumes = Lock()
        """Held while a volume's disk is made, grown or removed: two of these at once would leave a disk to nobody."""

    def of(self, account: str, acls: Sequence[str] = rights.ACLS) -> "Cloud":
        """This cloud as an account sees it: `store` holds what is its own. acls: what who asks may do with that."""
        seen = copy(self)
        seen.account, seen.store, seen.acls = account, self.everything.of(account), tuple(acls)
        return seen

    def find(self, kind: str, item_id: str, error: str) -> Item:
        """The item, or ApiError 404 with that text. What is being deleted is gone already."""
        item = self.store.get(kind, item_id)
        if item is None or item.get("_deleted"):
            raise ApiError(404, error)
        return item

    def instance(self, instance_id: str) -> Item:
        return self.find("instance", instance_id, "Invalid instance ID.")

    def unlocked(self, instance_id: str) -> Item:
        """The instance; ApiError 500, as the provider does, while an action on it is under way."""
        item = self.instance(instance_id)
        if item["_job"]:
            raise ApiError(500, LOCKED)
        return item

    def awaited(self, key: str, item_id: str) -> bool:
        """Whether an action under way names this volume (`block`) or `snapshot`."""
        return any((item["_job"] or {}).get(key) == item_id for item in self.store.all("instance"))

    def act(
        self,
        instance_id: str,
        action: str,
        *,
        wait: bool = False,
        change: Callable[[Item], Mapping[str, Any]] = lambda item: {},
        **arguments: Any,
    ) -> Item:
        """Begins an action on an instance, with what `change` makes of it, and returns it as it is then.

        wait: returns when it is done. Raises ApiError when the instance is locked, or the engine failed while waiting.
        """
        with self.store.change():
            item = self.unlocked(instance_id)
            item = self.record(item, action, change(item), **arguments)
        return self.carry_out(item, wait=wait)

    def record(self, item: Item, action: str, changes: Mapping[str, Any], **arguments: Any) -> Item:
        """Writes an action into an unlocked instance, with the changes that it makes real, and what was `before`. Call
        inside `store.change()`, and `carry_out` after it."""
        before = {key: item[key] for key in changes}
        item = item | dict(changes) | {"_job": {"action": action, "before": before, **arguments}}
        self.store.put("instance", item)
        return item

    def carry_out(self, item: Item, *, wait: bool) -> Item:
        """Begins what is recorded in the instance; see `act`."""
        done = self.begin(item["id"])
        if not wait:
            return item
        try:
            done.result()
        except Exception as error:
            raise ApiError(500, f"Unable to {item['_job']['action']}: {error}") from error
        return self.store.get("instance", item["id"]) or item

    def begin(self, instance_id: str) -> "Future[None]":
        """Runs the action that is written in the instance, in the background."""
        return self._pool.submit(self._run, instance_id)

    def _run(self, instance_id: str) -> None:
        item = self.store.get("instance", instance_id)
        if item is None or not item["_job"]:
            return
        job = item["_job"]
        action = self._actions[job["action"]]
        faults.reach(self.everything, "recorded", job["action"])
        try:
            changes = action.run(self, item, job)
        except Exception as error:
            log.exception("%s of %s (%s) failed", job["action"], instance_id, item["label"])
            with self.store.change():
                undone = action.undo(self, item, job)
                self._finish(instance_id, {"_error": f"{job['action']}: {error}", **undone})
            raise
        faults.reach(self.everything, "acted", job["action"])
        self._finish(instance_id, {"_error": "", **changes})

    def _finish(self, instance_id: str, changes: Mapping[str, Any]) -> None:
        self.store.amend("instance", instance_id, {"_job": None, **changes})

    def resume(self) -> None:
        """After a start: carries on with actions that were cut short, and boots hosts that should be running."""
        with logged("load the firewall's rules"):
            self.sync_firewall()
        for item in self.store.all("instance"):
            with logged(f"carry on with {item['id']} ({item['label']})"):
                self._resume(item)

    def _resume(self, item: Item) -> None:
        """A host that runs is adopted as it is, but for one that has not asked for its metadata: cloud-init gives up at
        once where it finds none, and the host would never get its user data. Like one that went down on its first boot
        it gets a fresh disk and another first boot, unless its disk came with something on it. Call it before the
        metadata service answers: no host that was just given its user data may be stopped."""
        if item["_job"]:
            self.store.amend("instance", item["id"], {"_job": item["_job"] | {"again": True}})
            self.begin(item["id"])
        elif item["_deleted"]:
            self.carry_out(self.record(item, "delete", {}), wait=False)
        elif item["power_status"] == "running":
            fresh = not item["_booted"] and item["_boot"] == "normal" and not item["_image"].startswith("snapshot/")
            if fresh:
                self.engine.stop(item["id"], force=True)
            if not self.engine.status(item["id"]).running:
                self.act(item["id"], "reinstall" if fresh else "start")

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def machine(self, item: Item) -> Machine:
        """What the engine is told of an instance."""
        config = self.engine.config
        plan = catalogue.plan(item["plan"], item["region"])
        main = IPv4Address(item["main_ip"])
        public = Nic(
            mac=addresses.mac_of(config, main),
            network="public",
            ipv4=(
                IPv4Interface((main, config.network4.prefixlen)),
                *(IPv4Interface(address) for address in item["_extra_ipv4"]),
            ),
            ipv6=(IPv6Interface(item["_ipv6"]),) if item["_ipv6"] else (),
        )
        nics = [public]
        for vpc_id, address in item["_vpcs"].items():
            vpc = self.store.get("vpc", vpc_id)
            if vpc:
                interface = IPv4Interface((address, vpc["v4_subnet_mask"]))
                nics.append(Nic(addresses.vpc_mac(config, vpc_id, interface.ip), vpc_id, (interface,)))
        return Machine(
            id=item["id"],
            image=item["_image"],
            vcpus=plan["vcpu_count"],
            memory_mb=plan["ram"],
            disk_gb=plan["disk"],
            nics=tuple(nics),
            boot=item["_boot"],
            kind=catalogue.kind(plan),
        )

    def sync_firewall(self) -> None:
        """Makes the engine's rules those of all accounts."""
        with self._firewall:
            self.engine.set_firewall(self._rules())

    def _rules(self) -> dict[str, tuple[Rule, ...]]:
        groups: dict[str, list[Item]] = {}
        for rule in self.everything.all("firewall_rule"):
            groups.setdefault(rule["_group"], []).append(rule)
        rules = {}
        for item in self.everything.all("instance"):
            if not item["firewall_group_id"]:
                continue
            for address in filter(None, (item["main_ip"], *item["_extra_ipv4"], item["_ipv6"])):
                family = "v6" if ":" in address else "v4"
                group = groups.get(item["firewall_group_id"], [])
                matching = [rule for rule in group if rule["ip_type"] == family and not rule["source"]]
                rules[address] = tuple(_rule(rule) for rule in matching)
        return rules


def _rule(item: Item) -> Rule:
    first, _, last = item["port"].partition(":")
    return Rule(
        protocol=item["protocol"],
        source=ip_network(f"{item['subnet']}/{item['subnet_size']}", strict=False),
        first_port=int(first or 0),
        last_port=int(last or first or 0),
    )
