"""What the lab's API makes of options: those that need something else made, and those that it must refuse."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.api import metadata
from tests.unit.lab_api import DEBIAN, Client, serve


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Client]:
    with serve(tmp_path) as client:
        yield client


def test_enabling_vpc_joins_the_regions_network_and_makes_it_when_there_is_none(api: Client) -> None:
    first = api.instance(enable_vpc=True)
    (vpc,) = api("GET", "/vpcs")[1]["vpcs"]
    assert (vpc["region"], first["internal_ip"]) == ("ams", "10.1.96.3")
    second = api.instance()
    path = f"/instances/{second['id']}"
    assert api("PATCH", path, {"enable_vpc": True})[1]["instance"]["internal_ip"] == "10.1.96.4"
    assert api("PATCH", path, {"enable_vpc": True})[1]["error"] == "Nothing to change"
    assert api("POST", "/instances", DEBIAN | {"region": "fra", "enable_vpc": True})[0] == 202
    assert [vpc["region"] for vpc in api("GET", "/vpcs")[1]["vpcs"]] == ["ams", "fra"]
    chosen = api("POST", "/vpcs", {"region": "ams", "v4_subnet": "10.20.0.0", "v4_subnet_mask": 24})[1]["vpc"]["id"]
    assert api.instance(enable_vpc=True, attach_vpc=[chosen])["internal_ip"] == "10.20.0.3"


def test_a_refused_instance_leaves_no_network_behind(api: Client) -> None:
    assert api("POST", "/instances", DEBIAN | {"enable_vpc": True, "backups": "sometimes"})[0] == 400
    assert api("GET", "/vpcs")[1]["vpcs"] == []


@pytest.mark.parametrize("wrong", [{"backups": "sometimes"}, {"backups": True}, {"user_scheme": "admin"}])
def test_values_outside_an_enumeration_are_refused(api: Client, wrong: dict[str, object]) -> None:
    assert api("POST", "/instances", DEBIAN | wrong)[0] == 400
    assert api("PATCH", f"/instances/{api.instance()['id']}", wrong)[0] == 400


def test_a_rule_for_cloudflare_needs_no_subnet_and_other_sources_are_unknown(api: Client) -> None:
    group = api("POST", "/firewalls")[1]["firewall_group"]["id"]
    host = api.instance(firewall_group_id=group)["main_ip"]
    rules, https = f"/firewalls/{group}/rules", {"ip_type": "v4", "protocol": "tcp", "port": "443"}
    status, body = api("POST", rules, https | {"source": "cloudflare", "subnet": "x"})
    assert (status, body["firewall_rule"]["source"], body["firewall_rule"]["subnet_size"]) == (201, "cloudflare", 0)
    assert api("POST", rules, https | {"source": "cloudflare"})[0] == 400, "it is there already"
    assert api("POST", rules, https)[1]["error"] == "subnet_size is required"
    wrong = https | {"source": "no-such-balancer", "subnet": "0.0.0.0", "subnet_size": 0}
    assert api("POST", rules, wrong)[0] == 400
    assert api.engine.rules == {host: ()}


def test_a_reserved_address_of_another_region_is_refused(api: Client) -> None:
    reserved = api("POST", "/reserved-ips", {"region": "fra", "ip_type": "v4"})[1]["reserved_ip"]
    assert api("POST", "/instances", DEBIAN | {"reserved_ipv4": reserved["id"]})[0] == 400
    made = api.instance(region="fra", reserved_ipv4=reserved["id"])
    assert made["main_ip"] == reserved["subnet"]


def test_digits_that_are_no_number_are_refused(api: Client) -> None:
    for number in ("%C2%B2", "1" * 5000, ""):
        assert api("GET", f"/blocks?per_page={number}")[0] == 400
    for size in ("²", "--5", "1" * 5000):
        assert api("POST", "/blocks", {"region": "ams", "size_gb": size})[0] == 400
    tree = {"interfaces": ["eth0"]}
    assert metadata._walk(tree, ["interfaces", "0"]).status_code == 200
    assert metadata._walk(tree, ["interfaces", "²"]).status_code == 404


def test_there_are_no_backups(api: Client) -> None:
    empty = {"backups": [], "meta": {"total": 0, "links": {"next": "", "prev": ""}}}
    assert api("GET", "/backups") == (200, empty)
