"""Reserved IPs: addresses of the account, put on a host beside its own."""

from ipaddress import IPv4Address
from uuid import uuid4

from lab.api import addresses, catalogue
from lab.api.store import Item, public
from lab.api.wire import NO_CONTENT, ApiError, Call, Reply, Routes, page

INVALID = "Invalid reserved IP."


def _find(call: Call) -> Item:
    return call.cloud.find("reserved_ip", call.path["id"], INVALID)


def _new(region: str, ip_type: str, subnet: str, label: str, instance_id: str = "") -> Item:
    return {
        "id": str(uuid4()),
        "region": region,
        "ip_type": ip_type,
        "subnet": subnet,
        "subnet_size": 32 if ip_type == "v4" else 64,
        "label": label,
        "instance_id": instance_id,
    }


def _create(call: Call) -> Reply:
    region = catalogue.region(call.text("region"))["id"]
    ip_type = call.text("ip_type")
    if ip_type != "v4":
        raise ApiError(400, "Invalid IP type: this cloud reserves v4 addresses only.")
    store = call.cloud.store
    with store.change():
        address = addresses.next_ipv4(call.cloud.engine.config, call.cloud.everything)
        reserved = _new(region, ip_type, str(address), call.text("label", ""))
        store.put("reserved_ip", reserved)
    return Reply(201, {"reserved_ip": reserved})


def _convert(call: Call) -> Reply:
    """Keeps a host's address when the host goes."""
    address = call.text("ip_address")
    store = call.cloud.store
    with store.change():
        owners = [i for i in store.all("instance") if address in (i["main_ip"], *i["_extra_ipv4"])]
        if not owners or any(item["subnet"] == address for item in store.all("reserved_ip")):
            raise ApiError(400, "Invalid IP address.")
        reserved = _new(owners[0]["region"], "v4", str(IPv4Address(address)), call.text("label", ""), owners[0]["id"])
        store.put("reserved_ip", reserved)
    return Reply(201, {"reserved_ip": reserved})


def _patch(call: Call) -> Reply:
    label = call.text("label")
    with call.cloud.store.change():
        reserved = _find(call)
        if reserved["label"] == label:
            raise ApiError(400, "Nothing to change")
        reserved["label"] = label
        call.cloud.store.put("reserved_ip", reserved)
    return Reply(200, {"reserved_ip": public(reserved)})


def _attach(call: Call) -> Reply:
    store = call.cloud.store
    instance = store.get("instance", call.text("instance_id"))
    if instance is None or instance["_deleted"]:
        raise ApiError(400, "Invalid instance ID.")

    def join(item: Item) -> Item:
        reserved = _find(call)
        if reserved["instance_id"] or reserved["region"] != item["region"]:
            raise ApiError(400, "Reserved IP is attached already, or in another region than the server.")
        store.put("reserved_ip", reserved | {"instance_id": item["id"]})
        return {"_extra_ipv4": [*item["_extra_ipv4"], reserved["subnet"]]}

    call.cloud.act(instance["id"], "network", wait=True, change=join)
    return NO_CONTENT


def _leave(call: Call) -> None:
    reserved = _find(call)
    instance = call.cloud.store.get("instance", reserved["instance_id"])
    if instance is None:
        raise ApiError(400, "Reserved IP is not attached to a server.")
    if instance["main_ip"] == reserved["subnet"]:
        raise ApiError(400, "Reserved IP is the server's main address.")

    def leave(item: Item) -> Item:
        call.cloud.store.put("reserved_ip", reserved | {"instance_id": ""})
        return {"_extra_ipv4": [address for address in item["_extra_ipv4"] if address != reserved["subnet"]]}

    call.cloud.act(instance["id"], "network", wait=True, change=leave)


def _detach(call: Call) -> Reply:
    _leave(call)
    return NO_CONTENT


def _delete(call: Call) -> Reply:
    if _find(call)["instance_id"]:
        _leave(call)
    call.cloud.store.delete("reserved_ip", call.path["id"])
    return NO_CONTENT


ROUTES: Routes = (
    ("GET", "/reserved-ips", lambda call: page(call, "reserved_ips", call.cloud.store.all("reserved_ip"))),
    ("POST", "/reserved-ips", _create),
    ("POST", "/reserved-ips/convert", _convert),
    ("GET", "/reserved-ips/{id}", lambda call: Reply(200, {"reserved_ip": public(_find(call))})),
    ("PATCH", "/reserved-ips/{id}", _patch),
    ("DELETE", "/reserved-ips/{id}", _delete),
    ("POST", "/reserved-ips/{id}/attach", _attach),
    ("POST", "/reserved-ips/{id}/detach", _detach),
)
