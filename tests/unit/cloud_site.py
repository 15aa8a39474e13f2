"""A small site for tests of plans: what is declared, what exists, and the lock that agrees with both."""

from pathlib import Path
from typing import Any

from cloud import plan
from cloud.actual import Actual, Block, Catalogue, Group, GroupRule, Instance, Network, Plan, Record
from cloud.client import Client
from cloud.declared import Site
from cloud.first_contact import Login
from cloud.switches import parse
from cloud.work import Work
from inventories.fleet import Fleet
from inventories.lock import Lock, LockedHost

CATALOGUE = Catalogue(
    plans={"small": Plan(id="small", monthly_cost=5, locations=("ams",)), "big": Plan(id="big", monthly_cost=40)},
    regions=frozenset({"ams", "ewr"}),
    systems={"Debian 13 x64 (trixie)": 2625, "Debian 12 x64 (bookworm)": 2136},
)
KEY = "ssh-ed25519 AAAApinned"
Change = dict[str, Any]


def fleet(**host: Any) -> Fleet:
    declared = {
        "role": "web",
        "plan": "small",
        "region": "ams",
        "firewall": "front",
        "vpcs": ["inside"],
        "volumes": {"data": {"size_gb": 20, "mount": "/srv"}},
        "dns": ["www.example.org"],
    }
    return Fleet.model_validate(
        {
            "site": {"name": "s", "domain": "example.org"},
            "vpcs": {"inside": {"region": "ams", "subnet": "10.1.0.0/24"}},
            "firewalls": {"front": {"rules": [{"protocol": "tcp", "port": "80", "sources": ["0.0.0.0/0"]}]}},
            "hosts": {"web-1": declared | host},
        }
    )


def instance(**change: Any) -> Instance:
    """web-1 as declared."""
    as_declared: Change = {
        "id": "i1",
        "label": "web-1",
        "hostname": "web-1",
        "region": "ams",
        "plan": "small",
        "os_id": 2625,
        "os": "Debian 13 x64 (trixie)",
        "tags": ("mainstay:s:web-1", "role:web"),
        "firewall_group_id": "g1",
        "main_ip": "192.0.2.1",
        "v6_main_ip": "2001:db8::1",
        "vpcs": {"v1": "10.1.0.3"},
    }
    return Instance.model_validate(as_declared | change)


DATA = Block(id="b1", label="s/web-1/data", region="ams", size_gb=20, attached_to_instance="i1", mount_id="ams-1")
INSIDE = Network(id="v1", description="mainstay:s:inside", region="ams", v4_subnet="10.1.0.0", v4_subnet_mask=24)
RULE = GroupRule(id=1, ip_type="v4", protocol="tcp", port="80", subnet="0.0.0.0", subnet_size=0)
NAMES = tuple(
    Record(id=f"{name}-{kind}", name=name, type=kind, data=data)
    for name in ("web-1", "www")
    for kind, data in (("A", "192.0.2.1"), ("AAAA", "2001:db8::1"))
)


def actual(**change: Any) -> Actual:
    """Everything as `fleet()` declares it."""
    return Actual.model_validate(
        {
            "catalogue": CATALOGUE,
            "instances": (instance(),),
            "blocks": (DATA,),
            "vpcs": (INSIDE,),
            "firewalls": (Group(id="g1", description="mainstay:s:front", rules=(RULE,)),),
            "domain": True,
            "records": NAMES,
        }
        | change
    )


def lock(**change: Any) -> Lock:
    host: Change = {
        "instance_id": "i1",
        "ipv4": "192.0.2.1",
        "ipv6": "2001:db8::1",
        "vpc_ipv4": {"inside": "10.1.0.3"},
        "host_keys": (KEY,),
        "volumes": {"data": {"id": "b1", "disk": "virtio-ams-1"}},
    }
    hosts = {"web-1": LockedHost.model_validate(host | change)}
    return Lock(hosts=hosts, vpcs={"inside": "v1"}, firewalls={"front": "g1"})


def made(
    declared: Fleet | None = None, exists: Actual | None = None, locked: Lock | None = None, **switches: str
) -> list[str]:
    """The plan's lines."""
    site = Site("prod.toml", declared or fleet(), exists or actual(), locked or lock(), parse(switches, "prod.toml"))
    return [str(action) for action in plan.make(site)]


def work_on(site: Site, folder: Path) -> Work:
    """A run on it; the provider is out of reach."""
    return Work(site, Client("http://api.invalid", "key"), folder / "lock.json", Login("a", None), lambda role: [])


def undeclared(declared: Fleet) -> Fleet:
    """The same fleet without web-1 (a fleet may have no hosts while one is being replaced)."""
    return declared.model_copy(update={"hosts": {}})
