"""Instances: create, list, read, change, delete, reinstall, user data."""

import re
from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any
from uuid import uuid4

from lab.api import actions, addresses, catalogue, faults
from lab.api.cloud import Cloud, now
from lab.api.store import Item
from lab.api.wire import NO_CONTENT, ApiError, Call, Reply, Routes, base64_text, page
from lab.prepared import image_for

HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?")
NOTHING = ApiError(400, "Nothing to change")
BACKUPS, USER_SCHEMES = ("enabled", "disabled"), ("root", "limited")
FILTERS = ("tag", "label", "main_ip", "region", "firewall_group_id", "hostname")


def present(cloud: Cloud, item: Item) -> Item:
    """The instance as the provider shows it now: addresses only once it has been made, states as they are."""
    job = (item["_job"] or {}).get("action")
    ipv6 = item["_ipv6"]
    network6 = cloud.engine.config.network6
    shown = {
        **item,
        "features": [
            name for name, on in (("ipv6", bool(ipv6)), ("auto_backups", item["_backups"] == "enabled")) if on
        ],
        "gateway_v4": str(cloud.engine.config.gateway4),
        "netmask_v4": str(cloud.engine.config.network4.netmask),
        "v6_main_ip": ipv6,
        "v6_network": str(network6.network_address) if ipv6 else "",
        "v6_network_size": network6.prefixlen if ipv6 else 0,
        "internal_ip": next(iter(item["_vpcs"].values()), ""),
        "server_status": "ok" if item["_booted"] else "installingbooting",
        "tag": next(iter(item["tags"]), ""),
    }
    if job == "create":
        shown |= {"main_ip": "0.0.0.0", "gateway_v4": "0.0.0.0", "netmask_v4": "", "internal_ip": ""}  # noqa: S104
        shown |= {"v6_main_ip": "", "v6_network": "", "v6_network_size": 0}
    if item["status"] == "pending":
        shown["server_status"] = "none"
    elif job:
        shown["server_status"] = "locked"
    elif item["power_status"] == "running" and not cloud.engine.status(item["id"]).running:
        shown["power_status"] = "stopped"
    shown["v6_networks"] = (
        [{"main_ip": ipv6, "network": shown["v6_network"], "network_size": network6.prefixlen}]
        if shown["v6_main_ip"]
        else []
    )
    return shown


def _shown(cloud: Cloud, item: Item) -> Item:
    return {key: value for key, value in present(cloud, item).items() if not key.startswith("_")}


def _list(call: Call) -> Reply:
    found = [present(call.cloud, item) for item in call.cloud.store.all("instance") if not item["_deleted"]]
    for name in FILTERS:
        wanted = call.query.get(name)
        if wanted:
            found = [item for item in found if (wanted in item["tags"] if name == "tag" else item[name] == wanted)]
    return page(call, "instances", found)


def _get(call: Call) -> Reply:
    return Reply(200, {"instance": _shown(call.cloud, call.cloud.instance(call.path["id"]))})


def _source(call: Call, tags: list[str]) -> Item:
    """What it boots from: exactly one of an OS and a snapshot."""
    chosen = [name for name in ("os_id", "snapshot_id", "iso_id", "app_id", "image_id") if call.body.get(name)]
    if len(chosen) != 1:
        raise ApiError(400, "You must specify one of os_id, iso_id, snapshot_id, app_id or image_id.")
    if chosen == ["os_id"]:
        system = catalogue.system(call.integer("os_id"))
        return {"os": system["name"], "os_id": system["id"], "_image": image_for(call.cloud.engine.config, tags)}
    if chosen != ["snapshot_id"]:
        raise ApiError(400, f"Invalid {chosen[0]}")
    snapshot = call.cloud.store.get("snapshot", call.text("snapshot_id"))
    if snapshot is None or snapshot.get("_deleted") or snapshot["status"] != "complete":
        raise ApiError(400, "Invalid snapshot_id")
    return {"os": "Snapshot", "os_id": catalogue.SNAPSHOT_OS, "_image": f"snapshot/{snapshot['id']}"}


def _firewall_group(call: Call) -> str:
    group = call.text("firewall_group_id", "")
    if group and call.cloud.store.get("firewall_group", group) is None:
        raise ApiError(400, "Invalid firewall group.")
    return group


def _tags(call: Call, default: list[str]) -> list[str]:
    if "tags" in call.body:
        return call.texts("tags")
    return [call.text("tag")] if call.body.get("tag") else default


def _access(call: Call) -> Mapping[str, Any]:
    """SSH keys and startup script as they are at this moment: later changes do not reach a host that exists."""
    store = call.cloud.store
    keys = []
    for key_id in call.texts("sshkey_id"):
        key = store.get("ssh_key", key_id)
        if key is None:
            raise ApiError(400, "Invalid SSH key.")
        keys.append(key["ssh_key"])
    script_id = call.text("script_id", "")
    script = store.get("startup_script", script_id) if script_id else None
    if script_id and script is None:
        raise ApiError(400, "Invalid script ID.")
    return {"_ssh_keys": keys, "_script": script["script"] if script else ""}


def _main_address(call: Call, region: str) -> tuple[str, Item | None]:
    """The new host's address: a reserved one if it is asked for."""
    reserved_id = call.text("reserved_ipv4", "")
    if not reserved_id:
        return str(addresses.next_ipv4(call.cloud.engine.config, call.cloud.everything)), None
    reserved = call.cloud.store.get("reserved_ip", reserved_id)
    if reserved is None or reserved["ip_type"] != "v4" or reserved["instance_id"]:
        raise ApiError(400, "Invalid reserved IP.")
    if reserved["region"] != region:
        raise ApiError(400, "Reserved IP is in another region than the server.")
    return reserved["subnet"], reserved


def join_vpcs(cloud: Cloud, region: str, joined: Mapping[str, str], wanted: list[str]) -> dict[str, str]:
    """VPC id -> address, with the wanted ones added. Call inside `store.change()`. Raises ApiError."""
    result = dict(joined)
    for vpc_id in wanted:
        vpc = cloud.store.get("vpc", vpc_id)
        if vpc is None or vpc["region"] != region:
            raise ApiError(400, "Invalid VPC ID." if vpc is None else "VPC is in another region than the server.")
        if vpc_id not in result:
            taken = [i["_vpcs"][vpc_id] for i in cloud.store.all("instance") if vpc_id in i["_vpcs"]]
            result[vpc_id] = str(addresses.next_in_vpc(vpc, taken))
    return result


def _wanted_vpcs(call: Call, region: str, joined: Mapping[str, str]) -> list[str]:
    """By id, else by `enable_vpc`: one of the region's, made when there is none. Call inside `store.change()`."""
    named = call.texts("attach_vpc") or call.texts("attach_private_network")
    if named or joined or not (call.flag("enable_vpc") or call.flag("enable_private_network")):
        return named
    from lab.api import vpcs  # which imports this module

    found = [vpc["id"] for vpc in call.cloud.store.all("vpc") if vpc["region"] == region]
    if not found:
        vpcs._create(Call(call.cloud, body={"region": region}))
        return _wanted_vpcs(call, region, joined)
    return found[:1]


def _create(call: Call) -> Reply:
    cloud, config = call.cloud, call.cloud.engine.config
    region = catalogue.region(call.text("region"))["id"]
    plan = catalogue.plan(call.text("plan"), region)
    label = call.text("label", "")
    hostname = call.text("hostname", "") or "vultr"
    if not HOSTNAME.fullmatch(hostname):
        raise ApiError(400, "Invalid hostname.")
    with cloud.store.change():
        address, reserved = _main_address(call, region)
        item = {
            "id": str(uuid4()),
            **_source(call, _tags(call, [])),
            "ram": plan["ram"],
            "disk": plan["disk"],
            "main_ip": address,
            "vcpu_count": plan["vcpu_count"],
            "region": region,
            "plan": plan["id"],
            "date_created": now(),
            "status": "pending",
            "allowed_bandwidth": plan["bandwidth"],
            "power_status": "running",
            "label": label,
            "hostname": hostname,
            "tags": _tags(call, []),
            "app_id": 0,
            "image_id": "",
            "kvm": "",
            "default_password": "",
            "firewall_group_id": _firewall_group(call),
            "user_scheme": call.choice("user_scheme", USER_SCHEMES, "root"),
            **_access(call),
            "_user_data": base64_text("user_data", call.text("user_data", "")),
            "_ipv6": "",
            "_extra_ipv4": [],
            "_vpcs": join_vpcs(cloud, region, {}, _wanted_vpcs(call, region, {})),
            "_reverse": {},
            "_backups": call.choice("backups", BACKUPS, "disabled"),
            "_backup_schedule": {"type": "daily", "hour": 3, "dow": 1, "dom": 1},
            "_booted": False,
            "_deleted": False,
            "_error": "",
            "_job": {"action": "create"},
        }
        if call.flag("enable_ipv6"):
            item["_ipv6"] = str(addresses.ipv6_of(config, IPv4Address(address)))
        item["_boot"] = faults.of_boot(cloud.everything, item)
        cloud.store.put("instance", item)
        if reserved:
            cloud.store.put("reserved_ip", reserved | {"instance_id": item["id"]})
    cloud.begin(item["id"])
    return Reply(202, {"instance": _shown(cloud, item)})


def _changes(call: Call, item: Item) -> Item:
    """What a PATCH asks for that is not so already."""
    body = call.body
    asked: Item = {}
    if "label" in body:
        asked["label"] = call.text("label")
    if "tags" in body or "tag" in body:
        asked["tags"] = _tags(call, [])
    if "firewall_group_id" in body:
        asked["firewall_group_id"] = _firewall_group(call)
    if "user_data" in body:
        asked["_user_data"] = base64_text("user_data", call.text("user_data"))
    if "user_scheme" in body:
        asked["user_scheme"] = call.choice("user_scheme", USER_SCHEMES)
    if "backups" in body:
        asked["_backups"] = call.choice("backups", BACKUPS)
    if "plan" in body:
        plan = catalogue.plan(call.text("plan"), item["region"])
        if plan["disk"] < item["disk"]:
            raise ApiError(400, "Invalid plan chosen: downgrading is not supported.")
        sizes = {key: plan[key] for key in ("ram", "disk", "vcpu_count")}
        asked |= {"plan": plan["id"], "allowed_bandwidth": plan["bandwidth"], **sizes}
    if call.flag("enable_ipv6") and not item["_ipv6"]:
        config = call.cloud.engine.config
        asked["_ipv6"] = str(addresses.ipv6_of(config, IPv4Address(item["main_ip"])))
    attach = _wanted_vpcs(call, item["region"], item["_vpcs"])
    leave = call.texts("detach_vpc") or call.texts("detach_private_network")
    joined = join_vpcs(call.cloud, item["region"], item["_vpcs"], attach)
    asked["_vpcs"] = {vpc: address for vpc, address in joined.items() if vpc not in leave}
    return {key: value for key, value in asked.items() if item[key] != value}


def _action_for(changes: Item) -> str:
    """What makes the changes of a PATCH real; "" when they are so by being written down."""
    needed = (("_image", "reinstall"), ("plan", "resize"), ("_vpcs", "network"), ("_ipv6", "network"))
    return next((action for key, action in needed if key in changes), "")


def _patch(call: Call) -> Reply:
    """All that is asked for, or nothing when the engine fails at it."""
    cloud = call.cloud
    with cloud.store.change():
        item = cloud.unlocked(call.path["id"])
        changes = _changes(call, item)
        if call.integer("os_id", 0):
            changes |= _source(call, item["tags"]) | actions.fresh(cloud, item)
        elif "plan" in changes:
            changes["status"] = "resizing"
        if not changes:
            raise NOTHING
        action = _action_for(changes)
        if action:
            item = cloud.record(item, action, changes)
        else:
            cloud.store.put("instance", item | changes)
    try:
        if action:
            cloud.carry_out(item, wait=action == "network")
    finally:
        if "firewall_group_id" in changes:
            cloud.sync_firewall()
    return Reply(202, {"instance": _shown(cloud, cloud.instance(item["id"]))})


def _delete(call: Call) -> Reply:
    call.cloud.act(call.path["id"], "delete", change=lambda _: {"_deleted": True})
    return NO_CONTENT


def _reinstall(call: Call) -> Reply:
    hostname = call.text("hostname", "") or call.cloud.instance(call.path["id"])["hostname"]
    if not HOSTNAME.fullmatch(hostname):
        raise ApiError(400, "Invalid hostname.")
    return Reply(202, {"instance": _shown(call.cloud, actions.reinstall(call, hostname=hostname))})


def _user_data(call: Call) -> Reply:
    return Reply(200, {"user_data": {"data": call.cloud.instance(call.path["id"])["_user_data"]}})


ROUTES: Routes = (
    ("GET", "/instances", _list),
    ("POST", "/instances", _create),
    *actions.ROUTES,
    ("GET", "/instances/{id}", _get),
    ("PATCH", "/instances/{id}", _patch),
    ("DELETE", "/instances/{id}", _delete),
    ("POST", "/instances/{id}/reinstall", _reinstall),
    ("GET", "/instances/{id}/user-data", _user_data),
)
