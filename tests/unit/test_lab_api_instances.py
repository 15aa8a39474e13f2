"""Instances as a client of the lab's API sees them: states, locks, changes, backup schedule."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.api.cloud import LOCKED
from tests.unit.lab_api import DEBIAN, Client, serve
from tests.waiting import until


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Client]:
    with serve(tmp_path) as client:
        yield client


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


def test_backups_have_a_schedule_of_their_own(api: Client) -> None:
    path = f"/instances/{api.instance()['id']}"
    assert api("POST", f"{path}/backup-schedule", {"type": "daily"})[0] == 400
    assert api("PATCH", path, {"backups": "enabled"})[1]["instance"]["features"] == ["auto_backups"]
    assert api("POST", f"{path}/backup-schedule", {"type": "weekly", "dow": 3, "hour": 4})[0] == 200
    schedule = api("GET", f"{path}/backup-schedule")[1]["backup_schedule"]
    assert (schedule["enabled"], schedule["type"], schedule["dow"], schedule["hour"]) == (True, "weekly", 3, 4)
