"""The lock file: what `provision` made, as reviewed and committed beside the inventory.

With it deploys need no API key: addresses and pinned SSH host keys come from here.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from pydantic import ValidationError

from inventories import keys
from inventories.errors import InputError
from inventories.files import replace
from inventories.fleet import Host
from inventories.typed import Typed


class LockedVolume(Typed):
    """Block storage that exists."""

    id: str
    disk: str
    """How the host it is attached to names it in /dev/disk/by-id: `virtio-` and the provider's mount_id."""


class LockedHost(Typed):
    """A host that exists. Host keys are OpenSSH public key lines without comment, `ssh-ed25519 AAAA...`."""

    instance_id: str
    ipv4: str
    ipv6: str = ""
    vpc_ipv4: dict[str, str] = {}
    host_keys: tuple[str, ...] = ()
    """Pinned keys, made on the host itself at first contact; empty until then."""
    first_contact_key: str = ""
    """Public part of the key handed over in user_data; empty once replaced."""
    volumes: dict[str, LockedVolume] = {}


class Lock(Typed):
    """The whole file."""

    hosts: dict[str, LockedHost] = {}
    vpcs: dict[str, str] = {}
    firewalls: dict[str, str] = {}

    @property
    def ids(self) -> frozenset[str]:
        """Of everything that is known to exist."""
        hosts = self.hosts.values()
        found = {host.instance_id for host in hosts} | {volume.id for host in hosts for volume in host.volumes.values()}
        return frozenset({*found, *self.vpcs.values(), *self.firewalls.values()} - {""})


def load(path: Path) -> Lock:
    """Reads a lock file; a missing one is an empty lock. Raises InputError."""
    hint = "provision writes this file: restore it from git"
    try:
        lock = Lock.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Lock()
    except OSError as error:
        raise InputError(path, "", f"cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(path, field, first["msg"], hint) from error
    for field, value, check in _checked(lock):
        try:
            check(value)
        except ValueError as error:
            raise InputError(path, field, str(error).partition("; ")[0], hint) from error
    return lock


def own_machines(hosts: Mapping[str, Host]) -> Lock:
    """Of hosts that no provider has: what the inventory says of them."""
    return Lock(
        hosts={
            name: LockedHost(instance_id="", ipv4=str(host.address), host_keys=host.host_keys)
            for name, host in hosts.items()
        }
    )


def _checked(lock: Lock) -> Iterator[tuple[str, str, Callable[[str], object]]]:
    """What ssh is given: each field with its value and what must be able to read it. No address yet is none."""
    for name, host in lock.hosts.items():
        where = f"hosts.{name}"
        private = [(f"{where}.vpc_ipv4.{vpc}", address) for vpc, address in host.vpc_ipv4.items()]
        yield from ((field, value, IPv4Address) for field, value in [(f"{where}.ipv4", host.ipv4), *private] if value)
        if host.ipv6:
            yield f"{where}.ipv6", host.ipv6, IPv6Address
        yield from ((f"{where}.host_keys.{i}", key, keys.parse) for i, key in enumerate(host.host_keys))


def save(path: Path, lock: Lock) -> None:
    """Writes atomically, sorted, one value a line, so that a change reads well in a diff."""
    replace(path, json.dumps(lock.model_dump(exclude_defaults=True), indent=2, sort_keys=True) + "\n")


def known_hosts(lock: Lock) -> str:
    """An OpenSSH known_hosts file for the pinned keys, under each address and name of a host."""
    lines = []
    for name, host in sorted(lock.hosts.items()):
        names = ",".join(filter(None, (name, host.ipv4, host.ipv6)))
        lines += [f"{names} {key}" for key in host.host_keys]
    return "".join(line + "\n" for line in lines)
