"""What the steps of one provisioning run share: site, client, and the lock, which is on disk before it is relied on."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cloud import plan
from cloud.actions import AddressType
from cloud.client import Client
from cloud.declared import Site
from cloud.first_contact import Login
from inventories import lock as lock_file
from inventories.admins import Admin
from inventories.lock import Lock, LockedHost


@dataclass
class Work:
    """One run. Safe to use from several threads."""

    site: Site
    client: Client
    lock_path: Path
    login: Login
    admins: Callable[[str], Sequence[Admin]]
    """Who gets an account on hosts of a role."""
    lock: Lock = field(init=False)
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.lock = self.site.lock

    @property
    def domain(self) -> str:
        return self.site.fleet.site.domain

    def save(self, change: Callable[[Lock], Lock]) -> None:
        """Changes the lock, on disk first."""
        with self._writing:
            fresh = change(self.lock)
            if fresh != self.lock:
                lock_file.save(self.lock_path, fresh)
                self.lock = fresh

    def save_host(self, name: str, **values: object) -> None:
        """Changes one host's entry, or makes it."""

        def change(lock: Lock) -> Lock:
            host = lock.hosts.get(name, LockedHost(instance_id="", ipv4=""))
            return lock.model_copy(update={"hosts": {**lock.hosts, name: host.model_copy(update=values)}})

        self.save(change)

    def address(self, host: str, kind: AddressType) -> str:
        """A host's; the lock says it of hosts that were made by this run. "" when there is none (yet)."""
        locked = self.lock.hosts.get(host, LockedHost(instance_id="", ipv4=""))
        seen = plan.address(self.site.instances().get(host), kind)
        return seen or (locked.ipv4 if kind == "A" else locked.ipv6)

    def instance_id(self, host: str) -> str:
        """An existing host's, also of one that the lock does not know."""
        existing = self.site.instances().get(host)
        return existing.id if existing else self.lock.hosts[host].instance_id
