"""What exists at the provider and concerns a site: typed, and read in few requests.

Things are found again by what provisioning wrote on them: instances by the tag `mainstay:SITE:HOST`, volumes by the
label `SITE/HOST/VOLUME`, VPCs and firewall groups by the description `mainstay:SITE:NAME`. All that can be
changed at the provider; what the lock knows by its id stays the site's whatever is written on it.
"""

from collections.abc import Callable, Iterable
from ipaddress import IPv4Network
from multiprocessing.pool import ThreadPool
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from cloud.client import PARALLEL, Client, CloudError, Item
from inventories.fleet import Fleet
from inventories.lock import Lock, LockedVolume

NO_ADDRESS = "0.0.0.0"  # noqa: S104  # what the provider shows until an instance has one


class _Thing(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Instance(_Thing):
    id: str
    label: str = ""
    hostname: str = ""
    region: str
    plan: str
    os_id: int = 0
    os: str = ""
    tags: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    firewall_group_id: str = ""
    main_ip: str = ""
    v6_main_ip: str = ""
    status: str = ""
    power_status: str = ""
    server_status: str = ""
    vpcs: dict[str, str] = {}
    """The host's address in each VPC, by the VPC's id."""

    @property
    def ipv4(self) -> str:
        return "" if self.main_ip == NO_ADDRESS else self.main_ip


class Block(_Thing):
    id: str
    label: str = ""
    region: str
    size_gb: int
    block_type: str = ""
    attached_to_instance: str = ""
    status: str = ""
    mount_id: str

    @property
    def locked(self) -> LockedVolume:
        """As the lock file has it. A virtio serial number is cut to 20 bytes (virtio specification 5.2.6)."""
        return LockedVolume(id=self.id, disk=f"virtio-{self.mount_id[:20]}")


class Network(_Thing):
    id: str
    description: str = ""
    region: str
    v4_subnet: str
    v4_subnet_mask: int

    @property
    def subnet(self) -> IPv4Network:
        return IPv4Network((self.v4_subnet, self.v4_subnet_mask))


class GroupRule(_Thing):
    id: int
    ip_type: str
    protocol: str
    port: str = ""
    subnet: str
    subnet_size: int
    source: str = ""
    notes: str = ""


class Group(_Thing):
    id: str
    description: str = ""
    rules: tuple[GroupRule, ...] = ()


class Record(_Thing):
    id: str
    type: str
    name: str
    data: str


class Plan(_Thing):
    id: str
    monthly_cost: float = 0
    locations: tuple[str, ...] = ()


T = TypeVar("T", Instance, Block, Network, Group)


class Catalogue(_Thing):
    """What can be bought."""

    plans: dict[str, Plan]
    regions: frozenset[str]
    systems: dict[str, int]
    """Ids of operating systems by name."""


class Actual(_Thing):
    """The account, as far as it is this site's."""

    catalogue: Catalogue
    instances: tuple[Instance, ...] = ()
    blocks: tuple[Block, ...] = ()
    vpcs: tuple[Network, ...] = ()
    firewalls: tuple[Group, ...] = ()
    domain: bool = False
    records: tuple[Record, ...] = ()

    @property
    def ids(self) -> frozenset[str]:
        """Of what the lock could know."""
        hosts, volumes = (i.id for i in self.instances), (b.id for b in self.blocks)
        return frozenset((*hosts, *volumes, *(v.id for v in self.vpcs), *(g.id for g in self.firewalls)))


def tag(site: str, name: str) -> str:
    """What marks a thing of the site."""
    return f"mainstay:{site}:{name}"


def name_of(site: str, text: str) -> str:
    """The name in a tag or description of this site; "" for others'."""
    prefix = tag(site, "")
    return text.removeprefix(prefix) if text.startswith(prefix) else ""


def host_of(site: str, instance: Instance) -> str:
    """The host that an instance is; "" when it is not the site's."""
    return next(filter(None, (name_of(site, text) for text in instance.tags)), "")


def volume_label(site: str, host: str, volume: str) -> str:
    return f"{site}/{host}/{volume}"


def find_instance(client: Client, site: str, host: str) -> Instance | None:
    """Looks a host up by its tag alone."""
    items = client.list("/instances", "instances")
    return next((found for found in map(instance, items) if host_of(site, found) == host), None)


def instance(item: Item) -> Instance:
    """From the provider's form."""
    networks = item.get("v6_networks") or [{}]
    return Instance.model_validate(item | {"v6_main_ip": item.get("v6_main_ip") or networks[0].get("main_ip", "")})


def read(client: Client, fleet: Fleet, lock: Lock) -> Actual:
    """Reads the account, in parallel: what bears the site's marks, and what the lock knows. Raises CloudError."""
    site, domain = fleet.site.name, fleet.site.domain
    lists: dict[str, Callable[[], Any]] = {
        "plans": lambda: client.list("/plans", "plans"),
        "regions": lambda: client.list("/regions", "regions"),
        "os": lambda: client.list("/os", "os"),
        "instances": lambda: client.list("/instances", "instances"),
        "blocks": lambda: client.list("/blocks", "blocks"),
        "vpcs": lambda: client.list("/vpcs", "vpcs"),
        "firewalls": lambda: client.list("/firewalls", "firewall_groups"),
        "records": lambda: _records(client, domain),
    }
    known = lock.ids
    with ThreadPool(PARALLEL) as pool:
        found = dict(zip(lists, pool.map(lambda look: look(), lists.values(), chunksize=1), strict=True))

        def ours(things: Iterable[T], marked: Callable[[T], object]) -> list[T]:
            return [thing for thing in things if thing.id in known or marked(thing)]

        vpcs = ours(map(Network.model_validate, found["vpcs"]), lambda n: name_of(site, n.description))
        groups = ours(map(Group.model_validate, found["firewalls"]), lambda g: name_of(site, g.description))
        instances = ours(map(instance, found["instances"]), lambda i: host_of(site, i))
        blocks = ours(map(Block.model_validate, found["blocks"]), lambda b: b.label.startswith(f"{site}/"))
        if vpcs:
            instances = list(pool.map(lambda i: _with_vpcs(client, i), instances, chunksize=1))
        groups = list(pool.map(lambda g: _with_rules(client, g), groups, chunksize=1))
    return Actual(
        catalogue=Catalogue(
            plans={plan["id"]: Plan.model_validate(plan) for plan in found["plans"]},
            regions=frozenset(region["id"] for region in found["regions"]),
            systems={system["name"]: system["id"] for system in found["os"]},
        ),
        instances=tuple(instances),
        blocks=tuple(blocks),
        vpcs=tuple(vpcs),
        firewalls=tuple(groups),
        domain=found["records"] is not None,
        records=tuple(found["records"] or ()),
    )


def _records(client: Client, domain: str) -> list[Record] | None:
    try:
        records = client.list(f"/domains/{domain}/records", "records")
    except CloudError as error:
        if error.status == 404:
            return None
        raise
    return [Record.model_validate(record) for record in records]


def _with_vpcs(client: Client, found: Instance) -> Instance:
    joined = client.list(f"/instances/{found.id}/vpcs", "vpcs")
    return found.model_copy(update={"vpcs": {vpc["id"]: vpc.get("ip_address", "") for vpc in joined}})


def _with_rules(client: Client, group: Group) -> Group:
    rules = client.list(f"/firewalls/{group.id}/rules", "firewall_rules")
    return group.model_copy(update={"rules": tuple(GroupRule.model_validate(rule) for rule in rules)})
