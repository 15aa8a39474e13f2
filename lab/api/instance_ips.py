"""Addresses of an instance and their reverse names; more IPv4 addresses."""

from ipaddress import ip_address

from lab.api import addresses, names
from lab.api.store import Item
from lab.api.wire import NO_CONTENT, ApiError, Call, Reply, Routes, numbered, page


def _reverse(item: Item, address: str) -> str:
    return item["_reverse"].get(address) or names.default_reverse(address)


def _ipv4(call: Call) -> Reply:
    item = call.cloud.instance(call.path["id"])
    config = call.cloud.engine.config
    public, *private = call.cloud.machine(item).nics
    found = [
        {
            "ip": item["main_ip"],
            "netmask": str(config.network4.netmask),
            "gateway": str(config.gateway4),
            "type": "main_ip",
            "reverse": _reverse(item, item["main_ip"]),
            "mac_address": public.mac,
        }
    ]
    found += [
        {
            "ip": address,
            "netmask": "255.255.255.255",
            "gateway": "",
            "type": "secondary_ip",
            "reverse": _reverse(item, address),
            "mac_address": public.mac,
        }
        for address in item["_extra_ipv4"]
    ]
    found += [
        {
            "ip": str(nic.ipv4[0].ip),
            "netmask": str(nic.ipv4[0].netmask),
            "gateway": "",
            "type": "private",
            "reverse": "",
            "mac_address": nic.mac,
        }
        for nic in private
    ]
    if call.query.get("public_network") == "true":
        found = [entry for entry in found if entry["type"] != "private"]
    return page(call, "ipv4s", numbered(found))


def _add_ipv4(call: Call) -> Reply:
    config, everything = call.cloud.engine.config, call.cloud.everything

    def more(item: Item) -> Item:
        return {"_extra_ipv4": [*item["_extra_ipv4"], str(addresses.next_ipv4(config, everything))]}

    item = call.cloud.act(call.path["id"], "network", wait=True, change=more)
    if call.flag("reboot", default=True):
        call.cloud.act(item["id"], "reboot")
    address = item["_extra_ipv4"][-1]
    added = {"ip": address, "netmask": "255.255.255.255", "gateway": "", "type": "secondary_ip"}
    return Reply(202, {"ipv4": added | {"reverse": _reverse(item, address)}})


def _delete_ipv4(call: Call) -> Reply:
    address = call.path["ip"]

    def less(item: Item) -> Item:
        if address not in item["_extra_ipv4"]:
            raise ApiError(400, "Invalid IP address: only secondary addresses can be removed.")
        for reserved in call.cloud.store.all("reserved_ip"):
            if reserved["subnet"] == address:
                call.cloud.store.put("reserved_ip", reserved | {"instance_id": ""})
        return {"_extra_ipv4": [other for other in item["_extra_ipv4"] if other != address]}

    call.cloud.act(call.path["id"], "network", wait=True, change=less)
    return NO_CONTENT


def _ipv6(call: Call) -> Reply:
    item = call.cloud.instance(call.path["id"])
    network = call.cloud.engine.config.network6
    found = [
        {
            "ip": address,
            "network": str(network.network_address),
            "network_size": network.prefixlen,
            "type": "main_ip",
        }
        for address in (item["_ipv6"],)
        if address
    ]
    return page(call, "ipv6s", numbered(found))


def _set_reverse(call: Call, address: str, name: str) -> Reply:
    """An empty name takes it away. Addresses are compared as such: IPv6 has many spellings."""
    try:
        address = str(ip_address(address))
    except ValueError:
        raise ApiError(400, "Invalid IP address.") from None
    with call.cloud.store.change():
        item = call.cloud.instance(call.path["id"])
        if address not in (item["main_ip"], item["_ipv6"], *item["_extra_ipv4"]):
            raise ApiError(400, "Invalid IP address.")
        others = {key: value for key, value in item["_reverse"].items() if key != address}
        call.cloud.store.put("instance", item | {"_reverse": others | ({address: name} if name else {})})
    return NO_CONTENT


def _list_reverse6(call: Call) -> Reply:
    item = call.cloud.instance(call.path["id"])
    found = [{"ip": address, "reverse": name} for address, name in item["_reverse"].items() if ":" in address]
    return Reply(200, {"reverse_ipv6s": found})


ROUTES: Routes = (
    ("GET", "/instances/{id}/ipv4", _ipv4),
    ("POST", "/instances/{id}/ipv4", _add_ipv4),
    ("DELETE", "/instances/{id}/ipv4/{ip}", _delete_ipv4),
    ("POST", "/instances/{id}/ipv4/reverse", lambda call: _set_reverse(call, call.text("ip"), call.text("reverse"))),
    ("POST", "/instances/{id}/ipv4/reverse/default", lambda call: _set_reverse(call, call.text("ip"), "")),
    ("GET", "/instances/{id}/ipv6", _ipv6),
    ("GET", "/instances/{id}/ipv6/reverse", _list_reverse6),
    ("POST", "/instances/{id}/ipv6/reverse", lambda call: _set_reverse(call, call.text("ip"), call.text("reverse"))),
    ("DELETE", "/instances/{id}/ipv6/reverse/{ip}", lambda call: _set_reverse(call, call.path["ip"], "")),
)
