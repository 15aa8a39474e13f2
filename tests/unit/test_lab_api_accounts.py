"""Two accounts at one provider: each sees its own things alone, whatever it asks for; what they share is the wire."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import dnslib
import pytest

from lab.api import names
from lab.api.server import FAMILIES
from lab.api.store import DRILL, MAIN, Store
from tests.unit.lab_api import DEBIAN, DRILL_KEY, Client, serve, volume

SSH_KEY = "ssh-ed25519 AAAA a"
SCRIPT = "IyEvYmluL3NoCg=="
RULE = {"ip_type": "v4", "protocol": "tcp", "port": "22", "subnet": "0.0.0.0", "subnet_size": 0}
LISTS = (
    "instances",
    "blocks",
    "snapshots",
    "ssh-keys",
    "startup-scripts",
    "firewalls",
    "vpcs",
    "reserved-ips",
    "domains",
    "users",
)
KINDS = (
    *("instance", "block", "snapshot", "ssh_key", "startup_script", "firewall_group", "firewall_rule", "vpc"),
    *("reserved_ip", "domain", "record", "user"),
)
"""In the store."""
ANYBODYS = ("/regions/{id}/availability",)
NAMED = [
    (method, path) for family in FAMILIES for method, path, _ in family.ROUTES if "{" in path and path not in ANYBODYS
]
"""Every call that names a thing."""


@dataclass
class Account:
    """An account with one thing of each kind."""

    api: Client
    name: str
    instance: dict[str, Any]
    ids: dict[str, str]
    """By the first part of a path."""


def make(api: Client, path: str, body: Any) -> Any:
    status, answer = api("POST", path, body)
    assert status < 300, answer
    [made] = answer.values()
    return made


def equip(api: Client, name: str) -> Account:
    group = make(api, "/firewalls", {"description": name})["id"]
    assert api("POST", f"/firewalls/{group}/rules", RULE)[0] == 201
    vpc = make(api, "/vpcs", {"region": "ams", "v4_subnet": "10.20.0.0"})["id"]
    key = make(api, "/ssh-keys", {"name": name, "ssh_key": SSH_KEY})["id"]
    script = make(api, "/startup-scripts", {"name": name, "script": SCRIPT})["id"]
    domain = make(api, "/domains", {"domain": f"{name}.example.org"})["domain"]
    access = {"sshkey_id": [key], "script_id": script, "backups": "enabled", "enable_ipv6": True}
    host = api.instance(label=name, firewall_group_id=group, attach_vpc=[vpc], **access)
    block = volume(api)
    assert api("POST", f"/blocks/{block}/attach", {"instance_id": host["id"], "live": True})[0] == 204
    snapshot = make(api, "/snapshots", {"instance_id": host["id"]})["id"]
    api.settled(host["id"])
    record = make(api, f"/domains/{domain}/records", {"type": "A", "name": "www", "data": host["main_ip"]})["id"]
    user = {"name": name, "email": f"{name}@example.org", "password": "x"}
    ids = {
        "instances": host["id"],
        "blocks": block,
        "snapshots": snapshot,
        "ssh-keys": key,
        "startup-scripts": script,
        "firewalls": group,
        "vpcs": vpc,
        "reserved-ips": make(api, "/reserved-ips", {"region": "ams", "ip_type": "v4"})["id"],
        "domains": domain,
        "users": make(api, "/users", user)["id"],
        "rule": "1",
        "record": record,
        "ip": host["main_ip"],
    }
    return Account(api, name, host, ids)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Client]:
    with serve(tmp_path) as client:
        yield client


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Account]]:
    """Nothing that is tried on them here may change anything."""
    with serve(tmp_path_factory.mktemp("accounts")) as api:
        yield {MAIN: equip(api, MAIN), DRILL: equip(replace(api, key=DRILL_KEY), DRILL)}


@pytest.fixture(params=[(DRILL, MAIN), (MAIN, DRILL)], ids=["drill on main", "main on drill"])
def pair(request: pytest.FixtureRequest, both: dict[str, Account]) -> tuple[Account, Account]:
    """Who asks, and whose things are asked for."""
    asks, owns = request.param
    return both[asks], both[owns]


def held(account: Account) -> str:
    """All that there is, of anybody."""
    return json.dumps({kind: account.api.cloud.everything.all(kind) for kind in KINDS})


def filled(path: str, ids: dict[str, str]) -> str:
    first = path.split("/")[1]
    return re.sub(r"\{(\w+)\}", lambda found: ids[first if found[1] in ("id", "domain") else found[1]], path)


def test_the_calls_that_name_a_thing_are_all_there() -> None:
    assert len(NAMED) > 50
    assert {path.split("/")[1] for _, path in NAMED} == set(LISTS)


@pytest.mark.parametrize(("method", "path"), NAMED, ids=lambda value: value)
def test_a_thing_of_the_other_account_is_none(pair: tuple[Account, Account], method: str, path: str) -> None:
    asks, owns = pair
    body = {
        **dict.fromkeys(("name", "label", "description", "reverse", "email"), "changed"),
        **{"type": "daily" if "schedule" in path else "A", "data": "192.0.2.1", "dns_sec": "enabled"},
        **{"instance_id": asks.ids["instances"], "vpc_id": asks.ids["vpcs"], "ip": owns.ids["ip"]},
        **(RULE if path.endswith("/rules") else {}),
        **({"type": "boot"} if path.startswith("/startup-scripts") else {}),
        **({"snapshot_id": asks.ids["snapshots"]} if path.endswith("/restore") else {}),
    }
    before, asked = held(owns), None if method == "GET" else body
    refused = asks.api(method, filled(path, owns.ids), asked)
    nobodys = {**dict.fromkeys(owns.ids, str(uuid4())), "domains": "nobodys.example.org", "ip": owns.ids["ip"]}
    assert refused == asks.api(method, filled(path, nobodys), asked)
    assert refused[0] == 404
    assert held(owns) == before


@pytest.mark.parametrize("name", LISTS)
def test_a_list_shows_what_is_the_accounts_own(both: dict[str, Account], name: str) -> None:
    for account in both.values():
        status, body = account.api("GET", f"/{name}")
        assert status == 200
        [found] = (value for key, value in body.items() if key != "meta")
        assert body["meta"]["total"] == 1
        assert [item.get("id", item.get("domain")) for item in found] == [account.ids[name]]
        assert not any(key.startswith("_") for item in found for key in item)


@pytest.mark.parametrize(
    ("field", "kind", "listed"),
    [
        ("firewall_group_id", "firewalls", False),
        ("attach_vpc", "vpcs", True),
        ("sshkey_id", "ssh-keys", True),
        ("script_id", "startup-scripts", False),
        ("reserved_ipv4", "reserved-ips", False),
        ("snapshot_id", "snapshots", False),
    ],
)
def test_a_host_is_made_of_its_own_accounts_things(
    pair: tuple[Account, Account], field: str, kind: str, listed: bool
) -> None:
    asks, owns = pair
    before = held(owns)
    body = {key: value for key, value in DEBIAN.items() if (key, field) != ("os_id", "snapshot_id")}
    theirs, nobodys = (
        asks.api("POST", "/instances", body | {field: [thing] if listed else thing})
        for thing in (owns.ids[kind], str(uuid4()))
    )
    assert theirs == nobodys
    assert theirs[0] == 400
    assert held(owns) == before


def test_a_host_joins_and_takes_nothing_of_the_other_account(pair: tuple[Account, Account]) -> None:
    asks, owns = pair
    before = held(owns)
    mine, theirs = asks.ids, owns.ids
    for method, path, body in (
        ("POST", f"/instances/{mine['instances']}/vpcs/attach", {"vpc_id": theirs["vpcs"]}),
        ("PATCH", f"/instances/{mine['instances']}", {"attach_vpc": [theirs["vpcs"]]}),
        ("PATCH", f"/instances/{mine['instances']}", {"firewall_group_id": theirs["firewalls"]}),
        ("POST", f"/instances/{mine['instances']}/restore", {"snapshot_id": theirs["snapshots"]}),
        ("POST", f"/blocks/{mine['blocks']}/attach", {"instance_id": theirs["instances"]}),
        ("POST", f"/blocks/{theirs['blocks']}/attach", {"instance_id": mine["instances"]}),
        ("POST", f"/reserved-ips/{mine['reserved-ips']}/attach", {"instance_id": theirs["instances"]}),
        ("POST", "/reserved-ips/convert", {"ip_address": theirs["ip"]}),
        ("POST", "/snapshots", {"instance_id": theirs["instances"]}),
        *(
            ("POST", f"/instances/{act}", {"instance_ids": [theirs["instances"]]})
            for act in ("halt", "reboot", "start")
        ),
    ):
        status, answer = asks.api(method, path, body)
        assert status in (400, 404), (path, answer)
    assert held(owns) == before


def test_a_zone_is_one_accounts_and_a_zone_below_it_another_ones(api: Client) -> None:
    drill = replace(api, key=DRILL_KEY)
    make(api, "/domains", {"domain": "example.org", "ip": "192.0.2.1"})
    assert drill("POST", "/domains", {"domain": "example.org"}) == (
        400,
        {"error": "Domain is already in use.", "status": 400},
    )
    make(drill, "/domains", {"domain": "drill.example.org", "ip": "192.0.2.2"})
    resolver = names.Names(api.cloud.everything, api.engine.config, [])
    for name, address in (("example.org", "192.0.2.1"), ("drill.example.org", "192.0.2.2")):
        answer = resolver.resolve(dnslib.DNSRecord.question(name), None)
        assert [str(rr.rdata) for rr in answer.rr] == [address]


def test_addresses_and_openings_are_those_of_both(both: dict[str, Account]) -> None:
    main, drill = both[MAIN], both[DRILL]
    addresses = [account.instance[key] for account in (main, drill) for key in ("main_ip", "v6_main_ip")]
    assert len(set(addresses)) == 4
    rules = main.api.engine.rules
    assert {address: len(opened) for address, opened in rules.items()} == {
        address: int(":" not in address) for address in addresses
    }
    reserved = {account.api("GET", "/reserved-ips")[1]["reserved_ips"][0]["subnet"] for account in both.values()}
    assert len(reserved | set(addresses)) == 6


def test_hosts_of_both_get_their_metadata_and_go_on_after_a_start(both: dict[str, Account]) -> None:
    machines = both[MAIN].api.engine.machines
    for account in both.values():
        assert len(machines[account.instance["id"]].nics) == 2
    running = both[MAIN].api.engine.running
    running.clear()
    both[MAIN].api.cloud.resume()
    for account in both.values():
        account.api.settled(account.instance["id"])
    assert running == {account.instance["id"] for account in both.values()}


def test_what_was_stored_before_there_were_accounts_is_the_main_ones(api: Client) -> None:
    found = api.instance()
    item = api.cloud.everything.get("instance", found["id"])
    assert item
    assert item.pop("_account") == MAIN
    api.cloud.everything.put("instance", item)
    assert api("GET", f"/instances/{found['id']}")[0] == 200
    drill = replace(api, key=DRILL_KEY)
    assert drill("GET", f"/instances/{found['id']}")[0] == 404
    assert drill("GET", "/instances")[1]["instances"] == []


def test_an_account_says_which_it_is_and_what_is_sold_is_the_same(both: dict[str, Account]) -> None:
    main, drill = (both[name].api for name in (MAIN, DRILL))
    assert main("GET", "/account")[1]["account"]["email"] != drill("GET", "/account")[1]["account"]["email"]
    for path in ("/regions", "/plans", "/os", "/regions/ams/availability"):
        assert main("GET", path) == drill("GET", path)


def test_the_labs_own_calls_are_the_main_accounts_and_reach_every_host(api: Client) -> None:
    drill = replace(api, key=DRILL_KEY)
    host = drill.instance(label="d")
    for method, path in (("GET", "/lab"), ("GET", "/lab/faults"), ("POST", "/lab/faults"), ("DELETE", "/lab/faults")):
        assert drill.raw(method, path, {"kind": "locked"} if method == "POST" else None).status_code == 401
    api.fault(kind="cut", instance="d")
    assert ("cut", host["id"], True) in api.engine.calls
    api.fault(kind="locked")
    assert drill("GET", "/instances")[0] == 500
    api.fault(kind="never_boots")
    doomed = drill.instance()
    assert api.engine.machines[doomed["id"]].boot == "never"


def test_a_key_that_is_no_accounts_opens_nothing(api: Client) -> None:
    for key in ("", "OTHER", DRILL_KEY.lower()):
        assert replace(api, key=key)("GET", "/instances")[0] == 401


def test_both_accounts_share_what_one_address_may_ask_for_in_a_second(tmp_path: Path) -> None:
    with serve(tmp_path, rate_limit=2, clock=lambda: 0.0) as api:
        asked = [client("GET", "/os")[0] for client in (api, replace(api, key=DRILL_KEY), api)]
    assert asked == [200, 200, 429]


def test_a_store_changes_nothing_of_another_account(tmp_path: Path) -> None:
    whole = Store(tmp_path / "db")
    main, drill = whole.of(MAIN), whole.of(DRILL)
    main.put("vpc", {"id": "a", "n": 1})
    drill.delete("vpc", "a")
    drill.amend("vpc", "a", {"n": 2})
    assert [item["n"] for item in main.all("vpc")] == [1]
    whole.close()
