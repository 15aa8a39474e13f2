"""Firewalls, VPCs, reserved addresses and DNS records as a client of the lab's API sees them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.lab_api import Client, serve
from tests.waiting import until


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Client]:
    with serve(tmp_path) as client:
        yield client


def test_firewall_rules_have_integer_ids_and_reach_the_engine(api: Client) -> None:
    group = api("POST", "/firewalls", {"description": "web"})[1]["firewall_group"]["id"]
    instance = api.instance(firewall_group_id=group, enable_ipv6=True)
    rules = f"/firewalls/{group}/rules"
    https = {"ip_type": "v4", "protocol": "TCP", "subnet": "0.0.0.0", "subnet_size": 0, "port": "80:443"}
    assert api.engine.rules == {instance["main_ip"]: (), instance["v6_main_ip"]: ()}
    status, body = api("POST", rules, https)
    rule = body["firewall_rule"]
    assert (status, rule["id"], rule["protocol"], rule["port"], rule["action"]) == (201, 1, "tcp", "80:443", "accept")
    assert [(r.first_port, r.last_port) for r in api.engine.rules[instance["main_ip"]]] == [(80, 443)]
    assert api.engine.rules[instance["v6_main_ip"]] == ()
    assert api("POST", rules, https)[0] == 400
    assert api("POST", rules, https | {"port": ""})[0] == 400
    assert api("POST", rules, https | {"subnet": "::"})[0] == 400
    assert api("DELETE", f"{rules}/1") == (204, None)
    assert api("POST", rules, https)[1]["firewall_rule"]["id"] == 2
    shown = api("GET", f"/firewalls/{group}")[1]["firewall_group"]
    assert (shown["instance_count"], shown["rule_count"]) == (1, 1)


def test_a_hosts_interfaces_differ_in_all_its_vpcs(api: Client) -> None:
    subnets = ("10.16.0.0", "172.16.0.0")
    bodies = [{"region": "ams", "v4_subnet": subnet, "v4_subnet_mask": 24} for subnet in subnets]
    instance = api.instance(attach_vpc=[api("POST", "/vpcs", body)[1]["vpc"]["id"] for body in bodies])
    assert len({nic.mac for nic in api.engine.machines[instance["id"]].nics}) == 3


def test_hosts_in_a_vpc_get_its_addresses_and_vpc2_is_empty(api: Client) -> None:
    vpc = api("POST", "/vpcs", {"region": "ams", "v4_subnet": "10.20.0.0", "v4_subnet_mask": 24})[1]["vpc"]
    first, second = api.instance(attach_vpc=[vpc["id"]]), api.instance()
    assert first["internal_ip"] == "10.20.0.3"
    assert api("POST", f"/instances/{second['id']}/vpcs/attach", {"vpc_id": vpc["id"]}) == (204, None)
    joined = api("GET", f"/instances/{second['id']}/vpcs")[1]["vpcs"]
    assert [(v["id"], v["ip_address"]) for v in joined] == [(vpc["id"], "10.20.0.4")]
    assert api("DELETE", f"/vpcs/{vpc['id']}")[0] == 400
    assert api("GET", f"/instances/{first['id']}/vpc2")[1] == {
        "vpcs": [],
        "meta": {"total": 0, "links": {"next": "", "prev": ""}},
    }
    for instance in (first, second):
        path = f"/instances/{instance['id']}/vpcs/detach"
        assert api("POST", path, {"vpc_id": vpc["id"]}) == (204, None)
    assert api("DELETE", f"/vpcs/{vpc['id']}") == (204, None)


def test_a_reserved_address_moves_between_hosts_and_outlives_them(api: Client) -> None:
    reserved = api("POST", "/reserved-ips", {"region": "ams", "ip_type": "v4"})[1]["reserved_ip"]
    path = f"/reserved-ips/{reserved['id']}"
    first, second = api.instance(), api.instance()
    for instance in (first, second):
        assert api("POST", f"{path}/attach", {"instance_id": instance["id"]}) == (204, None)
        addresses = [a["ip"] for a in api("GET", f"/instances/{instance['id']}/ipv4")[1]["ipv4s"]]
        assert addresses == [instance["main_ip"], reserved["subnet"]]
        assert api("POST", f"{path}/attach", {"instance_id": second["id"]})[0] == 400
        if instance is first:
            assert api("POST", f"{path}/detach") == (204, None)
    api("DELETE", f"/instances/{second['id']}")
    until(
        "the address is free",
        lambda: api("GET", path)[1]["reserved_ip"]["instance_id"] == "",
        timeout_s=30,
        every_s=0.005,
    )


def test_records_that_no_server_could_answer_are_refused(api: Client) -> None:
    assert api("POST", "/domains", {"domain": "example.org"})[0] == 200
    path = "/domains/example.org/records"
    assert [r["type"] for r in api("GET", path)[1]["records"]] == ["NS", "NS"]
    for kind, data in (
        ("A", "::1"),
        ("AAAA", "192.0.2.1"),
        ("CAA", "letsencrypt.org"),
        ("CAA", '300 issue "letsencrypt.org"'),
        ("SSHFP", "4 2 xyz"),
        ("TXT", ""),
        ("TXT", "x" * 70_000),
    ):
        assert api("POST", path, {"type": kind, "name": "x", "data": data})[0] == 400, data
    assert api("POST", path, {"type": "MX", "name": "", "data": "mail.example.org"})[0] == 400
    status, body = api("POST", path, {"type": "A", "name": "www", "data": "192.0.2.1", "ttl": 300})
    assert (status, body["record"]["ttl"]) == (201, 300)
    record = f"{path}/{body['record']['id']}"
    assert api("PATCH", record, {"data": "192.0.2.1"})[1]["error"] == "Nothing to change"
    assert api("PATCH", record, {"data": "192.0.2.2"}) == (204, None)
    assert api("POST", path, {"type": "CNAME", "name": "www", "data": "x.org"})[0] == 400
    alias = api("POST", path, {"type": "CNAME", "name": "alias", "data": "x.org"})[1]["record"]["id"]
    for moved, name in ((f"{path}/{alias}", "www"), (record, "alias")):
        assert api("PATCH", moved, {"name": name})[0] == 400
    assert api("DELETE", "/domains/example.org") == (204, None)
    assert api("GET", record)[0] == 404
