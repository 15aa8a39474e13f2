"""DNS domains and records. What is written here the lab's name servers answer (`names`)."""

import re
from uuid import uuid4

from lab.api import names
from lab.api.cloud import now
from lab.api.store import Item, public
from lab.api.wire import NO_CONTENT, ApiError, Call, Reply, Routes, page

INVALID, INVALID_RECORD = "Invalid domain.", "Invalid record ID."
TYPES = ("A", "AAAA", "CNAME", "NS", "MX", "SRV", "TXT", "CAA", "SSHFP")
DOMAIN = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
LABELS = re.compile(rf"(\*|{_LABEL})(\.{_LABEL})*")


def _domain(call: Call) -> Item:
    return call.cloud.find("domain", call.path["domain"].lower(), INVALID)


def _shown(domain: Item) -> Item:
    return {key: value for key, value in public(domain).items() if key != "id"}


def _list(call: Call) -> Reply:
    shown = [{**_shown(domain), "_seq": domain["_seq"]} for domain in call.cloud.store.all("domain")]
    return page(call, "domains", shown)


def _create(call: Call) -> Reply:
    name = call.text("domain").lower()
    address = call.text("ip", "")
    if not DOMAIN.fullmatch(name):
        raise ApiError(400, "Invalid domain name.")
    store = call.cloud.store
    domain: Item = {
        "id": name,
        "domain": name,
        "date_created": now(),
        "dns_sec": _dns_sec(call, "disabled"),
        "_soa": {"nsprimary": names.NAME_SERVERS[0], "email": f"dnsadmin@{name}"},
    }
    with store.change():
        if call.cloud.everything.get("domain", name):
            raise ApiError(400, "Domain is already in use.")
        store.put("domain", domain)
        records = [("NS", "", server, 0) for server in names.NAME_SERVERS]
        if address:
            kind = "AAAA" if ":" in address else "A"
            records += [(kind, "", address, 0), ("CNAME", "*", name, 0), ("MX", "", name, 10)]
        for kind, label, data, priority in records:
            store.put("record", _checked(_record(name, kind, label, data, 300, priority)))
    return Reply(200, {"domain": _shown(domain)})


def _dns_sec(call: Call, default: str | None = None) -> str:
    value = call.text("dns_sec", default)
    if value not in ("enabled", "disabled"):
        raise ApiError(400, "Invalid dns_sec.")
    return value


def _put(call: Call) -> Reply:
    dns_sec = _dns_sec(call)
    with call.cloud.store.change():
        call.cloud.store.put("domain", _domain(call) | {"dns_sec": dns_sec})
    return NO_CONTENT


def _delete(call: Call) -> Reply:
    with call.cloud.store.change():
        domain = _domain(call)
        for record in _records(call, domain):
            call.cloud.store.delete("record", record["id"])
        call.cloud.store.delete("domain", domain["id"])
    return NO_CONTENT


def _get_dnssec(call: Call) -> Reply:
    """No keys: the lab's name servers do not sign."""
    _domain(call)
    return Reply(200, {"dns_sec": []})


def _patch_soa(call: Call) -> Reply:
    with call.cloud.store.change():
        domain = _domain(call)
        soa = {key: call.text(key, value) for key, value in domain["_soa"].items()}
        if soa == domain["_soa"]:
            raise ApiError(400, "Nothing to change")
        call.cloud.store.put("domain", domain | {"_soa": soa})
    return NO_CONTENT


def _records(call: Call, domain: Item) -> list[Item]:
    return [record for record in call.cloud.store.all("record") if record["_domain"] == domain["id"]]


def _record(domain: str, kind: str, name: str, data: str, ttl: int, priority: int) -> Item:
    return {
        "id": str(uuid4()),
        "type": kind,
        "name": name,
        "data": data,
        "priority": priority,
        "ttl": ttl,
        "_domain": domain,
    }


def _checked(record: Item) -> Item:
    """Refuses what no name server could answer with."""
    if record["name"] and not LABELS.fullmatch(record["name"]):
        raise ApiError(400, "Invalid record name.")
    if not 120 <= record["ttl"] <= 604_800:
        raise ApiError(400, "Invalid TTL: 120 to 604800 seconds.")
    try:
        names.check(record)
    except (ValueError, LookupError) as error:
        raise ApiError(400, f"Invalid {record['type']} record data: {error}") from None
    return record


def _fitting(call: Call, record: Item) -> Item:
    """Refuses what cannot stand beside the other records of its domain."""
    same = ("type", "data", "priority")
    others = _records(call, _domain(call))
    siblings = [other for other in others if other["name"] == record["name"] and other["id"] != record["id"]]
    if any(all(other[key] == record[key] for key in same) for other in siblings):
        raise ApiError(400, "This record already exists.")
    if siblings and "CNAME" in (record["type"], *(other["type"] for other in siblings)):
        raise ApiError(400, "A CNAME cannot stand beside other records of its name.")
    return record


def _create_record(call: Call) -> Reply:
    kind = call.text("type").upper()
    if kind not in TYPES:
        raise ApiError(400, "Invalid record type.")
    if kind in ("MX", "SRV") and "priority" not in call.body:
        raise ApiError(400, "Priority is required for MX and SRV records.")
    name = call.text("name", "").removesuffix("@")
    fields = (name, call.text("data"), call.integer("ttl", 300), call.integer("priority", 0))
    with call.cloud.store.change():
        domain = _domain(call)
        record = _fitting(call, _checked(_record(domain["id"], kind, *fields)))
        call.cloud.store.put("record", record)
    return Reply(201, {"record": public(record)})


def _find_record(call: Call) -> Item:
    record = call.cloud.find("record", call.path["record"], INVALID_RECORD)
    if record["_domain"] != _domain(call)["id"]:
        raise ApiError(404, INVALID_RECORD)
    return record


def _patch_record(call: Call) -> Reply:
    with call.cloud.store.change():
        record = _find_record(call)
        changed = record | {
            "name": call.text("name", record["name"]).removesuffix("@"),
            "data": call.text("data", record["data"]),
            "ttl": call.integer("ttl", record["ttl"]),
            "priority": call.integer("priority", record["priority"]),
        }
        if changed == record:
            raise ApiError(400, "Nothing to change")
        call.cloud.store.put("record", _fitting(call, _checked(changed)))
    return NO_CONTENT


def _delete_record(call: Call) -> Reply:
    call.cloud.store.delete("record", _find_record(call)["id"])
    return NO_CONTENT


ROUTES: Routes = (
    ("GET", "/domains", _list),
    ("POST", "/domains", _create),
    ("GET", "/domains/{domain}", lambda call: Reply(200, {"domain": _shown(_domain(call))})),
    ("PUT", "/domains/{domain}", _put),
    ("DELETE", "/domains/{domain}", _delete),
    ("GET", "/domains/{domain}/soa", lambda call: Reply(200, {"dns_soa": _domain(call)["_soa"]})),
    ("PATCH", "/domains/{domain}/soa", _patch_soa),
    ("GET", "/domains/{domain}/dnssec", _get_dnssec),
    ("GET", "/domains/{domain}/records", lambda call: page(call, "records", _records(call, _domain(call)))),
    ("POST", "/domains/{domain}/records", _create_record),
    ("GET", "/domains/{domain}/records/{record}", lambda call: Reply(200, {"record": public(_find_record(call))})),
    ("PATCH", "/domains/{domain}/records/{record}", _patch_record),
    ("DELETE", "/domains/{domain}/records/{record}", _delete_record),
)
