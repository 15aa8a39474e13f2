"""Firewall groups and rules. Rules only accept, have integer ids of their group's own, and cannot be changed.

A rule whose source is `cloudflare` is kept and shown but opens nothing here: none of its networks is in the lab.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from uuid import uuid4

from lab.api.cloud import now
from lab.api.store import Item, public
from lab.api.wire import NO_CONTENT, ApiError, Call, Reply, Routes, page

MAX_RULES = 50
PROTOCOLS = ("icmp", "tcp", "udp", "gre", "esp", "ah")
SOURCES = ("", "cloudflare")
PORT = re.compile(r"(\d{1,5})(?:[:-](\d{1,5}))?")
INVALID = "Invalid firewall group."


def _group(call: Call) -> Item:
    return call.cloud.find("firewall_group", call.path["id"], INVALID)


def _rules(call: Call, group: Item) -> list[Item]:
    return [rule for rule in call.cloud.store.all("firewall_rule") if rule["_group"] == group["id"]]


def _present(call: Call, group: Item) -> Item:
    members = [i for i in call.cloud.store.all("instance") if i["firewall_group_id"] == group["id"]]
    return group | {
        "instance_count": len(members),
        "rule_count": len(_rules(call, group)),
        "max_rule_count": MAX_RULES,
    }


def _list(call: Call) -> Reply:
    return page(call, "firewall_groups", [_present(call, group) for group in call.cloud.store.all("firewall_group")])


def _get(call: Call) -> Reply:
    return Reply(200, {"firewall_group": public(_present(call, _group(call)))})


def _create(call: Call) -> Reply:
    group: Item = {
        "id": str(uuid4()),
        "description": call.text("description", ""),
        "date_created": now(),
        "date_modified": now(),
        "_last_rule": 0,
    }
    call.cloud.store.put("firewall_group", group)
    return Reply(201, {"firewall_group": public(_present(call, group))})


def _put(call: Call) -> Reply:
    description = call.text("description")
    with call.cloud.store.change():
        group = _group(call)
        call.cloud.store.put("firewall_group", group | {"description": description, "date_modified": now()})
    return NO_CONTENT


def _delete(call: Call) -> Reply:
    """Hosts that were behind it stand open afterwards, as the provider does."""
    with call.cloud.store.change():
        group = _group(call)
        for rule in _rules(call, group):
            call.cloud.store.delete("firewall_rule", rule["id"])
        for instance in call.cloud.store.all("instance"):
            if instance["firewall_group_id"] == group["id"]:
                call.cloud.store.put("instance", instance | {"firewall_group_id": ""})
        call.cloud.store.delete("firewall_group", group["id"])
    call.cloud.sync_firewall()
    return NO_CONTENT


def _port(protocol: str, port: str) -> str:
    if protocol not in ("tcp", "udp"):
        if port:
            raise ApiError(400, "Ports are for TCP and UDP rules only.")
        return ""
    match = PORT.fullmatch(port)
    if not match:
        raise ApiError(400, "Invalid port." if port else "Port is required for TCP and UDP rules.")
    first, last = int(match[1]), int(match[2] or match[1])
    if not 1 <= first <= last <= 65_535:
        raise ApiError(400, "Invalid port range.")
    return str(first) if first == last else f"{first}:{last}"


def _subnet(call: Call, ip_type: str) -> tuple[str, int]:
    size = call.integer("subnet_size")
    try:
        subnet = (IPv4Address if ip_type == "v4" else IPv6Address)(call.text("subnet"))
    except AddressValueError:
        raise ApiError(400, "Invalid subnet.") from None
    if not 0 <= size <= subnet.max_prefixlen:
        raise ApiError(400, "Invalid subnet size.")
    return str(subnet), size


def _new_rule(call: Call) -> Item:
    ip_type = call.text("ip_type", call.body.get("type"))
    protocol = call.text("protocol").lower()
    if ip_type not in ("v4", "v6") or protocol not in PROTOCOLS:
        raise ApiError(400, "Invalid ip_type." if protocol in PROTOCOLS else "Invalid protocol.")
    source = call.choice("source", SOURCES, "")
    subnet, size = ("", 0) if source else _subnet(call, ip_type)
    return {
        "ip_type": ip_type,
        "type": ip_type,
        "action": "accept",
        "protocol": protocol,
        "port": _port(protocol, str(call.body.get("port", ""))),
        "subnet": subnet,
        "subnet_size": size,
        "source": source,
        "notes": call.text("notes", ""),
    }


def _shown(rule: Item) -> Item:
    """Its id in the store is GROUP/NUMBER."""
    return rule | {"id": rule["_number"]}


def _add_rule(call: Call) -> Reply:
    rule = _new_rule(call)
    with call.cloud.store.change():
        group = _group(call)
        others = _rules(call, group)
        same = ("ip_type", "protocol", "port", "subnet", "subnet_size", "source")
        if any(all(other[key] == rule[key] for key in same) for other in others):
            raise ApiError(400, "This rule is already defined.")
        if len(others) >= MAX_RULES:
            raise ApiError(400, f"A firewall group holds at most {MAX_RULES} rules.")
        number = group["_last_rule"] + 1
        rule |= {"id": f"{group['id']}/{number}", "_number": number, "_group": group["id"]}
        call.cloud.store.put("firewall_rule", rule)
        call.cloud.store.put("firewall_group", group | {"_last_rule": number, "date_modified": now()})
    call.cloud.sync_firewall()
    return Reply(201, {"firewall_rule": public(_shown(rule))})


def _list_rules(call: Call) -> Reply:
    return page(call, "firewall_rules", [_shown(rule) for rule in _rules(call, _group(call))])


def _rule(call: Call) -> Item:
    return call.cloud.find("firewall_rule", f"{_group(call)['id']}/{call.path['rule']}", "Invalid firewall rule.")


def _get_rule(call: Call) -> Reply:
    return Reply(200, {"firewall_rule": public(_shown(_rule(call)))})


def _delete_rule(call: Call) -> Reply:
    call.cloud.store.delete("firewall_rule", _rule(call)["id"])
    call.cloud.sync_firewall()
    return NO_CONTENT


ROUTES: Routes = (
    ("GET", "/firewalls", _list),
    ("POST", "/firewalls", _create),
    ("GET", "/firewalls/{id}", _get),
    ("PUT", "/firewalls/{id}", _put),
    ("DELETE", "/firewalls/{id}", _delete),
    ("GET", "/firewalls/{id}/rules", _list_rules),
    ("POST", "/firewalls/{id}/rules", _add_rule),
    ("GET", "/firewalls/{id}/rules/{rule}", _get_rule),
    ("DELETE", "/firewalls/{id}/rules/{rule}", _delete_rule),
)
