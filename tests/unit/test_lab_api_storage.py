"""Block storage and snapshots as a client of the lab's API sees them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from cloud import client as provisioning
from lab.api.cloud import LOCKED
from tests.unit.lab_api import KEY, Client, serve
from tests.waiting import until


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Client]:
    with serve(tmp_path) as client:
        yield client


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


def test_a_volume_is_locked_while_its_host_goes_and_a_client_that_removes_both_removes_both(api: Client) -> None:
    instance = api.instance()["id"]
    block = api("POST", "/blocks", {"region": "ams", "size_gb": 10})[1]["block"]["id"]
    api("POST", f"/blocks/{block}/attach", {"instance_id": instance, "live": True})
    going = Event()

    def wait(call: str) -> None:
        if call == "destroy":
            going.wait(30)

    api.engine.on = wait
    client = provisioning.Client(f"{api.base}/v2", KEY)
    client.remove(f"/instances/{instance}")
    assert api("GET", f"/instances/{instance}")[0] == 404
    assert api("DELETE", f"/blocks/{block}") == (500, {"error": LOCKED, "status": 500})
    with ThreadPoolExecutor() as pool:
        removed = pool.submit(client.remove, f"/blocks/{block}")
        going.set()
        removed.result()
    assert block not in api.engine.disks
    assert api("GET", f"/blocks/{block}")[0] == 404


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
