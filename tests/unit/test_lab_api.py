"""The lab's API as a client sees it, over HTTP, on an engine that makes nothing."""

import asyncio
import base64
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from lab.api import blocks, server
from lab.api.actions import ACTIONS
from lab.api.cloud import LOCKED, Cloud
from lab.api.store import Store
from lab.engine import LabConfig
from tests.unit.null_engine import NullEngine
from tests.waiting import until

KEY = "TESTKEY"
DEBIAN = {"region": "ams", "plan": "vc2-1c-1gb", "os_id": 2625}


@dataclass
class Client:
    """Requests with the token; `api("POST", "/blocks", {...})` is (status, body)."""

    base: str
    cloud: Cloud
    engine: NullEngine

    def raw(self, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {KEY}", **options.pop("headers", {})}
        return requests.request(method, self.base + path, json=body, headers=headers, timeout=30, **options)

    def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        answer = self.raw(method, f"/v2{path}", body)
        return answer.status_code, answer.json() if answer.content else None

    def fault(self, **fault: Any) -> None:
        assert self.raw("POST", "/lab/faults", fault).status_code == 201

    def instance(self, **fields: Any) -> dict[str, Any]:
        """A host, made and booted."""
        status, body = self("POST", "/instances", DEBIAN | fields)
        assert status == 202, body
        return self.settled(body["instance"]["id"])

    def settled(self, instance_id: str) -> dict[str, Any]:
        """The instance once nothing is being done to it."""
        until(
            "it is settled",
            lambda: not (self.cloud.store.get("instance", instance_id) or {"_job": None})["_job"],
            timeout_s=30,
            every_s=0.005,
        )
        instance: dict[str, Any] = self("GET", f"/instances/{instance_id}")[1]["instance"]
        return instance


@contextmanager
def serve(folder: Path, rate_limit: int = 0, clock: Callable[[], float] = time.monotonic) -> Iterator[Client]:
    config = LabConfig("unit", 15, folder)
    engine = NullEngine(config)
    cloud = Cloud(Store(folder / "cloud.db"), engine, ACTIONS)
    listener = server.listen("127.0.0.1", 0)
    running = server.Server(server.app(cloud, KEY, rate_limit, clock))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([(running, [listener])])))
    thread.start()
    try:
        yield Client(f"http://127.0.0.1:{listener.getsockname()[1]}", cloud, engine)
    finally:
        server.stop(running)
        engine.hold.set()
        thread.join()
        cloud.close()
        listener.close()


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Client]:
    with serve(tmp_path) as client:
        yield client


def test_answers_have_the_bare_json_content_type_and_errors_the_providers_form(api: Client) -> None:
    assert api.raw("GET", "/v2/account").headers["content-type"] == "application/json"
    refused = api.raw("GET", "/v2/account", headers={"Authorization": "Bearer wrong"})
    assert (refused.status_code, refused.json()) == (401, {"error": "Invalid API token.", "status": 401})
    assert refused.headers["content-type"] == "application/json"
    assert api("GET", "/instances/no-such") == (404, {"error": "Invalid instance ID.", "status": 404})
    assert api("GET", "/no/such/path") == (404, {"error": "Invalid API path", "status": 404})
    assert api("POST", "/instances", {"region": "ams", "plan": "vc9"})[1]["error"] == "Invalid plan chosen."
    assert api.raw("POST", "/v2/instances", headers={"Content-Type": "application/json"}, data="{").status_code == 400


def test_every_member_of_a_list_is_on_exactly_one_page(api: Client) -> None:
    made = {api("POST", "/blocks", {"region": "ams", "size_gb": 10})[1]["block"]["id"] for _ in range(5)}
    seen, cursor = [], ""
    while True:
        status, body = api("GET", f"/blocks?per_page=2&cursor={cursor}")
        assert (status, body["meta"]["total"]) == (200, 5)
        assert len(body["blocks"]) <= 2
        seen += [block["id"] for block in body["blocks"]]
        cursor = body["meta"]["links"]["next"]
        if not cursor:
            break
    assert (len(seen), set(seen)) == (5, made)
    back = api("GET", f"/blocks?per_page=2&cursor={body['meta']['links']['prev']}")[1]
    assert [block["id"] for block in back["blocks"]] == seen[2:4]
    for wrong in ("per_page=501", "per_page=0", "cursor=xyz"):
        assert api("GET", f"/blocks?{wrong}")[0] == 400


def test_pages_stay_right_when_a_member_goes_between_them(api: Client) -> None:
    made = [api("POST", "/blocks", {"region": "ams", "size_gb": 10})[1]["block"]["id"] for _ in range(4)]
    first = api("GET", "/blocks?per_page=2")[1]
    api("DELETE", f"/blocks/{made[0]}")
    second = api("GET", f"/blocks?per_page=2&cursor={first['meta']['links']['next']}")[1]
    assert [block["id"] for block in second["blocks"]] == made[2:]


def test_the_31st_request_within_a_second_is_refused_with_retry_after(tmp_path: Path) -> None:
    moment = 0.0
    with serve(tmp_path, rate_limit=30, clock=lambda: moment) as api, requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {KEY}"
        answers = [session.get(f"{api.base}/v2/account", timeout=30) for _ in range(31)]
        assert [answer.status_code for answer in answers] == [200] * 30 + [429]
        assert answers[-1].headers["retry-after"] == "1"
        assert answers[-1].json()["status"] == 429
        moment = 1.0
        assert session.get(f"{api.base}/v2/account", timeout=30).status_code == 200


def test_an_instance_goes_from_pending_over_booting_to_ok(api: Client) -> None:
    api.engine.hold.clear()
    status, body = api("POST", "/instances", DEBIAN | {"label": "a", "hostname": "a", "tags": ["role:web"]})
    fresh = body["instance"]
    assert status == 202
    assert (fresh["status"], fresh["server_status"], fresh["main_ip"]) == ("pending", "none", "0.0.0.0")
    api.engine.hold.set()
    booting = api.settled(fresh["id"])
    assert (booting["status"], booting["power_status"], booting["server_status"]) == (
        "active",
        "running",
        "installingbooting",
    )
    assert booting["main_ip"].startswith("10.79.0.")
    item = api.cloud.store.get("instance", fresh["id"]) or {}
    api.cloud.store.put("instance", item | {"_booted": True})
    assert api("GET", f"/instances/{fresh['id']}")[1]["instance"]["server_status"] == "ok"
    assert not [key for key in booting if key.startswith("_")]


def test_a_locked_server_refuses_every_other_action(api: Client) -> None:
    api.engine.hold.clear()
    instance = api("POST", "/instances", DEBIAN)[1]["instance"]["id"]
    block = api("POST", "/blocks", {"region": "ams", "size_gb": 10})[1]["block"]["id"]
    locked = (500, {"error": LOCKED, "status": 500})
    assert api("POST", f"/instances/{instance}/halt") == locked
    assert api("DELETE", f"/instances/{instance}") == locked
    assert api("PATCH", f"/instances/{instance}", {"label": "b"}) == locked
    assert api("POST", f"/blocks/{block}/attach", {"instance_id": instance}) == locked
    api.engine.hold.set()
    api.settled(instance)
    assert api("POST", f"/instances/{instance}/halt") == (204, None)
    assert api.settled(instance)["power_status"] == "stopped"
    assert api("DELETE", f"/instances/{instance}") == (204, None)
    until("the instance is gone", lambda: api("GET", f"/instances/{instance}")[0] == 404, timeout_s=30, every_s=0.005)


def test_a_patch_without_a_change_is_refused_and_nulls_are_unset(api: Client) -> None:
    data = base64.b64encode(b"#cloud-config\n").decode()
    instance = api.instance(label="a", user_data=data)
    path = f"/instances/{instance['id']}"
    nothing = (400, {"error": "Nothing to change", "status": 400})
    for body in ({}, {"label": None}, {"label": "a", "tags": None}):
        assert api("PATCH", path, body) == nothing
    status, body = api("PATCH", path, {"label": "b", "tags": None, "user_data": None})
    assert (status, body["instance"]["label"]) == (202, "b")
    assert api("GET", f"{path}/user-data")[1] == {"user_data": {"data": data}}
    assert api("PATCH", path, {"user_data": ""})[0] == 202
    assert api("GET", f"{path}/user-data")[1] == {"user_data": {"data": ""}}
    assert api("PATCH", path, {"user_data": "not base64!"})[0] == 400


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


def test_block_storage_is_attached_resized_detached_and_deleted_even_while_attached(api: Client) -> None:
    instance = api.instance()["id"]
    status, body = api("POST", "/blocks", {"region": "ams", "size_gb": 10, "label": "data"})
    block, path = body["block"], f"/blocks/{body['block']['id']}"
    assert (status, block["cost"], block["block_type"]) == (202, 1.0, "high_perf")
    assert len(block["mount_id"]) <= 20
    assert api("POST", f"{path}/attach", {"instance_id": instance, "live": True}) == (204, None)
    assert ("attach_disk", instance, block["id"], block["mount_id"]) in api.engine.calls
    assert api("GET", path)[1]["block"]["attached_to_instance"] == instance
    assert api("POST", f"{path}/attach", {"instance_id": instance})[0] == 400
    assert api("PATCH", path, {"size_gb": 20}) == (204, None)
    assert api.engine.disks[block["id"]] == 20
    assert api("PATCH", path, {"size_gb": 10})[0] == 400
    assert api("POST", f"{path}/detach", {"live": True}) == (204, None)
    assert ("detach_disk", instance, block["id"]) in api.engine.calls
    assert not [call for call in api.engine.calls if call[0] == "stop"]
    assert api("POST", f"{path}/attach", {"instance_id": instance}) == (204, None)
    assert ("stop", instance, False) in api.engine.calls
    assert api("DELETE", path) == (204, None)
    assert api("GET", path)[0] == 404
    assert block["id"] not in api.engine.disks


def test_a_snapshot_is_pending_until_copied_and_makes_new_hosts(api: Client) -> None:
    instance = api.instance()["id"]
    status, body = api("POST", "/snapshots", {"instance_id": instance, "description": "s"})
    assert (status, body["snapshot"]["status"]) == (201, "pending")
    snapshot = body["snapshot"]["id"]
    api.settled(instance)
    assert api("GET", f"/snapshots/{snapshot}")[1]["snapshot"]["status"] == "complete"
    made = api("POST", "/instances", {"region": "ams", "plan": "vc2-1c-1gb", "snapshot_id": snapshot})[1]["instance"]
    api.settled(made["id"])
    assert api.engine.machines[made["id"]].image == f"snapshot/{snapshot}"
    assert api("DELETE", f"/snapshots/{snapshot}") == (204, None)
    assert ("destroy_snapshot", snapshot) not in api.engine.calls, "a host still runs from it"
    api("DELETE", f"/instances/{made['id']}")
    until(
        "the snapshot is destroyed",
        lambda: ("destroy_snapshot", snapshot) in api.engine.calls,
        timeout_s=30,
        every_s=0.005,
    )


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


def test_a_lost_response_still_creates_the_instance_exactly_once(api: Client) -> None:
    api.fault(kind="lost_response", method="POST", path="/instances")
    with pytest.raises(requests.ConnectionError):
        api("POST", "/instances", DEBIAN | {"tags": ["once"]})
    assert api("GET", "/instances?tag=once")[1]["meta"]["total"] == 1
    assert api.raw("GET", "/lab/faults").json() == {"faults": []}


def test_request_faults_strike_as_often_as_asked_and_only_where_asked(api: Client) -> None:
    api.fault(kind="rate_limit", times=2, seconds=3)
    answers = [api.raw("GET", "/v2/os") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "3"
    api.fault(kind="locked", method="POST", path="/blocks")
    assert api("GET", "/blocks")[0] == 200
    assert api("POST", "/firewalls")[0] == 201
    assert api("POST", "/blocks", {"region": "ams", "size_gb": 10}) == (500, {"error": LOCKED, "status": 500})
    api.fault(kind="timeout", path="/account", seconds=30)
    with pytest.raises(requests.Timeout):
        requests.get(f"{api.base}/v2/account", headers={"Authorization": f"Bearer {KEY}"}, timeout=0.1)


def test_host_faults_reach_the_engine_and_are_undone(api: Client) -> None:
    api.fault(kind="never_boots", instance="a")
    other, struck = api.instance(label="b")["id"], api.instance(label="a")["id"]
    assert (api.engine.machines[other].boot, api.engine.machines[struck].boot) == ("normal", "never")
    api.fault(kind="cut", instance="b")
    assert ("cut", other, True) in api.engine.calls
    assert api.raw("DELETE", "/lab/faults").status_code == 204
    assert ("cut", other, False) in api.engine.calls


def test_what_a_crash_cut_short_is_ended_at_the_next_start(tmp_path: Path) -> None:
    with serve(tmp_path) as api:
        instance, no_metadata = api.instance(label="a")["id"], api.instance(label="b")["id"]
        item = api.cloud.store.get("instance", instance) or {}
        api.cloud.store.put("instance", item | {"_booted": True})
        api.engine.hold.clear()
        half = api("POST", "/instances", DEBIAN | {"label": "half"})[1]["instance"]["id"]
        block = api("POST", "/blocks", {"region": "ams", "size_gb": 10})[1]["block"]["id"]
        item = api.cloud.store.get("block", block) or {}
        api.cloud.store.put("block", item | {"_deleted": True})
        again = NullEngine(api.engine.config)
        cloud = Cloud(Store(tmp_path / "cloud.db"), again, ACTIONS)
        blocks.resume(cloud)
        cloud.resume()
        until("three hosts run", lambda: again.running == {instance, no_metadata, half}, timeout_s=30, every_s=0.005)
        until(
            "the half-made one is active",
            lambda: (cloud.store.get("instance", half) or {})["status"] == "active",
            timeout_s=30,
            every_s=0.005,
        )
        assert ("create", half) in again.calls
        fresh = {call[1] for call in again.calls if call[0] == "reinstall"}
        assert fresh == {no_metadata, half}, "who booted without metadata boots afresh, and nobody else"
        assert ("create", instance) not in again.calls
        assert ("destroy_disk", block) in again.calls
        cloud.close()
        api.engine.hold.set()


def test_records_that_no_server_could_answer_are_refused(api: Client) -> None:
    assert api("POST", "/domains", {"domain": "example.org"})[0] == 200
    path = "/domains/example.org/records"
    assert [r["type"] for r in api("GET", path)[1]["records"]] == ["NS", "NS"]
    for kind, data in (("A", "::1"), ("AAAA", "192.0.2.1"), ("CAA", "letsencrypt.org"), ("SSHFP", "4 2 xyz")):
        assert api("POST", path, {"type": kind, "name": "x", "data": data})[0] == 400
    assert api("POST", path, {"type": "MX", "name": "", "data": "mail.example.org"})[0] == 400
    status, body = api("POST", path, {"type": "A", "name": "www", "data": "192.0.2.1", "ttl": 300})
    assert (status, body["record"]["ttl"]) == (201, 300)
    record = f"{path}/{body['record']['id']}"
    assert api("PATCH", record, {"data": "192.0.2.1"})[1]["error"] == "Nothing to change"
    assert api("PATCH", record, {"data": "192.0.2.2"}) == (204, None)
    assert api("POST", path, {"type": "CNAME", "name": "www", "data": "x.org"})[0] == 400
    assert api("DELETE", "/domains/example.org") == (204, None)
    assert api("GET", record)[0] == 404


def test_backups_have_a_schedule_of_their_own(api: Client) -> None:
    path = f"/instances/{api.instance()['id']}"
    assert api("POST", f"{path}/backup-schedule", {"type": "daily"})[0] == 400
    assert api("PATCH", path, {"backups": "enabled"})[1]["instance"]["features"] == ["auto_backups"]
    assert api("POST", f"{path}/backup-schedule", {"type": "weekly", "dow": 3, "hour": 4})[0] == 200
    schedule = api("GET", f"{path}/backup-schedule")[1]["backup_schedule"]
    assert (schedule["enabled"], schedule["type"], schedule["dow"], schedule["hour"]) == (True, "weekly", 3, 4)
