"""VPCs, and the networks of an instance: join, leave, list. VPC 2.0 is gone; its lists are empty."""

from ipaddress import IPv4Network
from uuid import uuid4

from lab.api import addresses, catalogue
from lab.api.cloud import now
from lab.api.instances import join_vpcs
from lab.api.store import Item, public
from lab.api.wire import NO_CONTENT, ApiError, Call, Reply, Routes, numbered, page

INVALID = "Invalid VPC ID."
DEFAULTS = [IPv4Network((f"10.1.{third}.0", 20)) for third in range(96, 256, 16)]
"""What the provider hands out when no subnet is asked for."""


def _subnet(call: Call) -> IPv4Network:
    if not call.body.get("v4_subnet"):
        used = [addresses.vpc_network(vpc) for vpc in call.cloud.store.all("vpc")]
        for network in DEFAULTS:
            if not any(network.overlaps(other) for other in used):
                return network
        raise ApiError(400, "No free subnet: choose one.")
    try:
        network = IPv4Network((call.text("v4_subnet"), call.integer("v4_subnet_mask", 24)))
    except ValueError:
        raise ApiError(400, "Invalid subnet.") from None
    if not network.is_private or network.prefixlen > 29:
        raise ApiError(400, "Invalid subnet: it must be a private network of /29 or more.")
    return network


def _list(call: Call) -> Reply:
    return page(call, "vpcs", call.cloud.store.all("vpc"))


def _get(call: Call) -> Reply:
    return Reply(200, {"vpc": public(call.cloud.find("vpc", call.path["id"], INVALID))})


def _create(call: Call) -> Reply:
    region = catalogue.region(call.text("region"))["id"]
    network = _subnet(call)
    vpc: Item = {
        "id": str(uuid4()),
        "region": region,
        "date_created": now(),
        "description": call.text("description", ""),
        "v4_subnet": str(network.network_address),
        "v4_subnet_mask": network.prefixlen,
    }
    call.cloud.store.put("vpc", vpc)
    return Reply(201, {"vpc": public(vpc)})


def _put(call: Call) -> Reply:
    description = call.text("description")
    with call.cloud.store.change():
        vpc = call.cloud.find("vpc", call.path["id"], INVALID)
        call.cloud.store.put("vpc", vpc | {"description": description})
    return NO_CONTENT


def _delete(call: Call) -> Reply:
    with call.cloud.store.change():
        vpc = call.cloud.find("vpc", call.path["id"], INVALID)
        members = [i["main_ip"] for i in call.cloud.store.all("instance") if vpc["id"] in i["_vpcs"]]
        if members:
            raise ApiError(400, f"The following servers are attached to this VPC network: {', '.join(members)}")
        call.cloud.store.delete("vpc", vpc["id"])
    return NO_CONTENT


def _joined(call: Call, id_key: str) -> list[Item]:
    item = call.cloud.instance(call.path["id"])
    nics = call.cloud.machine(item).nics[1:]
    return numbered([{id_key: n.network, "mac_address": n.mac, "ip_address": str(n.ipv4[0].ip)} for n in nics])


def _attach(call: Call) -> Reply:
    wanted = call.text("vpc_id", call.body.get("network_id"))

    def join(item: Item) -> Item:
        if wanted in item["_vpcs"]:
            raise ApiError(400, "VPC is already attached to this server.")
        return {"_vpcs": join_vpcs(call.cloud, item["region"], item["_vpcs"], [wanted])}

    call.cloud.act(call.path["id"], "network", wait=True, change=join)
    return NO_CONTENT


def _detach(call: Call) -> Reply:
    wanted = call.text("vpc_id", call.body.get("network_id"))

    def leave(item: Item) -> Item:
        if wanted not in item["_vpcs"]:
            raise ApiError(400, "VPC is not attached to this server.")
        return {"_vpcs": {vpc: address for vpc, address in item["_vpcs"].items() if vpc != wanted}}

    call.cloud.act(call.path["id"], "network", wait=True, change=leave)
    return NO_CONTENT


def _vpc2(call: Call) -> Reply:
    if "id" in call.path:
        call.cloud.instance(call.path["id"])
    return page(call, "vpcs", [])


ROUTES: Routes = (
    ("GET", "/vpcs", _list),
    ("POST", "/vpcs", _create),
    ("GET", "/vpcs/{id}", _get),
    ("PUT", "/vpcs/{id}", _put),
    ("DELETE", "/vpcs/{id}", _delete),
    ("GET", "/instances/{id}/vpcs", lambda call: page(call, "vpcs", _joined(call, "id"))),
    ("POST", "/instances/{id}/vpcs/attach", _attach),
    ("POST", "/instances/{id}/vpcs/detach", _detach),
    ("GET", "/instances/{id}/private-networks", lambda c: page(c, "private_networks", _joined(c, "network_id"))),
    ("POST", "/instances/{id}/private-networks/attach", _attach),
    ("POST", "/instances/{id}/private-networks/detach", _detach),
    ("GET", "/instances/{id}/vpc2", _vpc2),
    ("GET", "/vpc2", _vpc2),
)
