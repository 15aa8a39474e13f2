"""Addresses and MACs of hosts: which are free, which is next."""

import hashlib
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from itertools import islice

from lab.api.store import Item, Store
from lab.api.wire import ApiError
from lab.engine import LabConfig

FIRST = 16
"""Offset of the first host's address in the lab's network; those below are the lab's own."""


def used(store: Store) -> set[str]:
    """Every public IPv4 address that is somebody's. store: that of all accounts."""
    hosts = {address for item in store.all("instance") for address in (item["main_ip"], *item["_extra_ipv4"])}
    return hosts | {item["subnet"] for item in store.all("reserved_ip")}


def next_ipv4(config: LabConfig, store: Store) -> IPv4Address:
    """The address after the last one given out: one that was just given back is stale in many a cache. store: that
    of all accounts. Call inside `store.change()`."""
    taken = used(store)
    last = store.get("counter", "ipv4") or {"id": "ipv4", "last": FIRST - 1}
    size = config.network4.num_addresses - 1
    for step in range(1, size):
        offset = FIRST + (last["last"] + step - FIRST) % (size - FIRST)
        if str(config.network4[offset]) not in taken:
            store.put("counter", {"id": "ipv4", "last": offset})
            return config.network4[offset]
    raise ApiError(500, "No free addresses")


def ipv6_of(config: LabConfig, address: IPv4Address) -> IPv6Address:
    """The IPv6 address that goes with a public IPv4 address: the same offset in the lab's IPv6 network."""
    return config.network6[int(address) - int(config.network4.network_address)]


def mac_of(config: LabConfig, address: IPv4Address) -> str:
    """The public interface's MAC, in the provider's own range 56:00."""
    offset = int(address) - int(config.network4.network_address)
    return _mac(0x56, 0, config.index, *offset.to_bytes(3, "big"))


def vpc_mac(config: LabConfig, vpc_id: str, address: IPv4Address) -> str:
    """An interface's MAC in a VPC: unique there by the address, and on its host by the VPC."""
    vpc, number = hashlib.sha256(vpc_id.encode()).digest(), address.packed
    return _mac(0x5A, vpc[0], config.index, vpc[1], *number[2:])


def _mac(*numbers: int) -> str:
    return ":".join(f"{byte:02x}" for byte in numbers)


def vpc_network(vpc: Item) -> IPv4Network:
    return IPv4Network((vpc["v4_subnet"], vpc["v4_subnet_mask"]))


def next_in_vpc(vpc: Item, taken: Iterable[str]) -> IPv4Address:
    """The first free address of a VPC; the provider keeps the first two for itself."""
    occupied = set(taken)
    for address in islice(vpc_network(vpc).hosts(), 2, None):
        if str(address) not in occupied:
            return address
    raise ApiError(400, "No free addresses in this VPC")
