"""What the lab's API makes of an engine that fails, of requests that meet, and of a restart after either."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab.api.cloud import LOCKED
from lab.api.store import Item
from tests.unit.lab_api import BUSY, Client, fail, serve, soon, stored, volume
from tests.unit.null_engine import NullEngine


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Client]:
    with serve(tmp_path) as client:
        yield client


def test_a_busy_volume_that_cannot_be_deleted_stays_as_it_was(api: Client) -> None:
    host, block = api.instance()["id"], volume(api)
    assert api("POST", f"/blocks/{block}/attach", {"instance_id": host, "live": True})[0] == 204
    fail(api.engine, "detach_disk")
    status, body = api("DELETE", f"/blocks/{block}")
    assert (status, BUSY in body["error"]) == (500, True)
    assert api("GET", f"/blocks/{block}")[1]["block"]["attached_to_instance"] == host
    fail(api.engine)
    assert api("DELETE", f"/blocks/{block}") == (204, None)


def test_a_volume_that_cannot_be_made_is_no_volume(api: Client) -> None:
    fail(api.engine, "create_disk", error=OSError)
    status, body = api("POST", "/blocks", {"region": "ams", "size_gb": 10})
    assert (status, BUSY in body["error"]) == (500, True)
    assert api("GET", "/blocks")[1]["blocks"] == []
    assert api.engine.disks == {}


def test_a_volume_that_cannot_be_grown_keeps_its_size(api: Client) -> None:
    block = volume(api)
    fail(api.engine, "resize_disk")
    status, body = api("PATCH", f"/blocks/{block}", {"size_gb": 20})
    assert (status, BUSY in body["error"]) == (500, True)
    shown = api("GET", f"/blocks/{block}")[1]["block"]
    assert (shown["size_gb"], shown["cost"], shown["status"]) == (10, 1.0, "active")


def test_a_fault_that_the_engine_does_not_offer_is_no_fault(api: Client) -> None:
    host = api.instance()["id"]
    fail(api.engine, "fill_disk")
    refused = api.raw("POST", "/lab/faults", {"kind": "full_disk", "instance": host})
    assert (refused.status_code, BUSY in refused.text) == (500, True)
    assert api.raw("GET", "/lab/faults").json() == {"faults": []}


def test_a_volume_is_attached_to_one_host_however_many_ask_at_once(api: Client) -> None:
    first, second, block = api.instance()["id"], api.instance()["id"], volume(api)
    begun, go_on = threading.Event(), threading.Event()

    def wait(call: str) -> None:
        if call == "attach_disk":
            begun.set()
            go_on.wait(30)

    api.engine.on = wait
    path = f"/blocks/{block}"
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(api, "POST", f"{path}/attach", {"instance_id": first, "live": True})
        assert begun.wait(30)
        api.engine.on = lambda call: None
        refused = api("POST", f"{path}/attach", {"instance_id": second, "live": True})
        deleted = api("DELETE", path)
        shown = api("GET", path)[1]["block"]["attached_to_instance"]
        go_on.set()
        assert asked.result() == (204, None)
    assert refused[0] == 400
    assert deleted == (500, {"error": LOCKED, "status": 500})
    assert shown == ""
    assert api("GET", path)[1]["block"]["attached_to_instance"] == first


def test_a_change_is_written_together_with_the_action_that_makes_it_real(
    api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, put = api.instance()["id"], api.cloud.store.put
    written: list[Item] = []

    def seen(kind: str, item: Item) -> None:
        written.append(item)
        put(kind, item)

    monkeypatch.setattr(api.cloud.store, "put", seen)
    for change in ({"enable_ipv6": True}, {"plan": "vc2-1c-2gb"}, {"os_id": 2625, "label": "b"}):
        written.clear()
        assert api("PATCH", f"/instances/{host}", change)[0] == 202
        assert written[0]["_job"], change
        api.settled(host)


def test_a_change_that_the_engine_fails_at_is_taken_back(api: Client) -> None:
    vpc = api("POST", "/vpcs", {"region": "ams"})[1]["vpc"]["id"]
    host = api.instance()
    path = f"/instances/{host['id']}"
    for call, change in (("set_nics", {"enable_ipv6": True, "attach_vpc": [vpc]}), ("stop", {"plan": "vc2-1c-2gb"})):
        fail(api.engine, call)
        status, body = api("PATCH", path, change)
        if call == "set_nics":
            assert (status, BUSY in body["error"]) == (500, True)
        after = api.settled(host["id"])
        assert {key for key in host if after[key] != host[key]} <= {"power_status"}
        fail(api.engine)
        assert api("PATCH", path, change)[0] == 202
        host = api.settled(host["id"])
    assert (host["internal_ip"], host["plan"], host["status"]) == ("10.1.96.3", "vc2-1c-2gb", "active")
    assert host["v6_main_ip"]


def test_a_reserved_address_is_nobodys_when_it_could_not_be_attached(api: Client) -> None:
    reserved = api("POST", "/reserved-ips", {"region": "ams", "ip_type": "v4"})[1]["reserved_ip"]
    host, path = api.instance()["id"], f"/reserved-ips/{reserved['id']}"
    fail(api.engine, "set_nics")
    assert api("POST", f"{path}/attach", {"instance_id": host})[0] == 500
    assert api("GET", path)[1]["reserved_ip"]["instance_id"] == ""
    fail(api.engine)
    assert api("POST", f"{path}/attach", {"instance_id": host})[0] == 204
    fail(api.engine, "set_nics")
    assert api("POST", f"{path}/detach")[0] == 500
    assert api("GET", path)[1]["reserved_ip"]["instance_id"] == host


def test_a_snapshot_that_failed_is_no_snapshot(api: Client) -> None:
    host = api.instance()["id"]
    fail(api.engine, "create_snapshot")
    snapshot = api("POST", "/snapshots", {"instance_id": host})[1]["snapshot"]["id"]
    api.settled(host)
    assert api("GET", "/snapshots")[1]["snapshots"] == []
    assert ("destroy_snapshot", snapshot) in api.engine.calls


def test_a_snapshot_is_deleted_unless_it_is_being_taken(api: Client) -> None:
    host, go_on = api.instance()["id"], threading.Event()
    api.engine.on = lambda call: [go_on.wait(30)].clear() if call == "create_snapshot" else None
    snapshot = api("POST", "/snapshots", {"instance_id": host})[1]["snapshot"]
    assert api("DELETE", f"/snapshots/{snapshot['id']}") == (500, {"error": LOCKED, "status": 500})
    go_on.set()
    api.settled(host)
    api.cloud.store.put("snapshot", stored(api, "snapshot", snapshot["id"]) | {"status": "pending"})
    fail(api.engine, "destroy_snapshot")
    assert api("DELETE", f"/snapshots/{snapshot['id']}")[0] == 500
    fail(api.engine)
    assert api("DELETE", f"/snapshots/{snapshot['id']}") == (204, None)


def paused(engine: NullEngine, call: str) -> tuple[threading.Event, threading.Event]:
    """(it has begun, it may go on): the next such call of the engine waits before it does anything."""
    begun, go_on = threading.Event(), threading.Event()

    def wait(made: str) -> None:
        if made == call and not begun.is_set():
            begun.set()
            go_on.wait(30)

    engine.on = wait
    return begun, go_on


def test_a_volume_that_is_deleted_while_it_is_made_leaves_nothing(api: Client) -> None:
    begun, go_on = paused(api.engine, "create_disk")
    with ThreadPoolExecutor() as pool:
        made = pool.submit(volume, api)
        assert begun.wait(30)
        deleted = pool.submit(api, "DELETE", f"/blocks/{api.cloud.store.all('block')[0]['id']}")
        soon("it is being deleted", lambda: not api("GET", "/blocks")[1]["blocks"])
        go_on.set()
        assert made.result()
        assert deleted.result() == (204, None)
    assert api.cloud.store.all("block") == []
    assert api.engine.disks == {}


def test_a_volume_that_is_grown_twice_at_once_has_the_last_size(api: Client) -> None:
    path = f"/blocks/{volume(api)}"
    begun, go_on = paused(api.engine, "resize_disk")
    with ThreadPoolExecutor() as pool:
        first = pool.submit(api, "PATCH", path, {"size_gb": 20})
        assert begun.wait(30)
        second = pool.submit(api, "PATCH", path, {"size_gb": 30})
        soon("both are asked for", lambda: api("GET", path)[1]["block"]["size_gb"] == 30)
        go_on.set()
        assert (first.result(), second.result()) == ((204, None), (204, None))
    assert list(api.engine.disks.values()) == [30]
    assert api("GET", path)[1]["block"]["status"] == "active"
