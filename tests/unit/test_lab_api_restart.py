"""What the lab's API makes of a restart, after a kill at any moment."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.api import blocks, snapshots
from lab.api.actions import ACTIONS
from lab.api.cloud import Cloud
from lab.api.store import Store
from lab.engine import EngineError
from tests.unit.lab_api import BUSY, DEBIAN, Client, fail, serve, soon, stored, volume
from tests.unit.null_engine import NullEngine
from tests.waiting import until


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Client]:
    with serve(tmp_path) as client:
        yield client


def booted(api: Client, instance_id: str) -> None:
    """What the metadata service notes of a host that asked for all of its metadata."""
    api.cloud.store.put("instance", stored(api, "instance", instance_id) | {"_booted": True})


def restarted(api: Client, engine: NullEngine) -> Cloud:
    """What the next process makes of the same store."""
    cloud = Cloud(Store(api.engine.config.root / "cloud.db"), engine, ACTIONS)
    blocks.resume(cloud)
    snapshots.resume(cloud)
    cloud.resume()
    return cloud


def test_what_a_crash_cut_short_is_ended_at_the_next_start(tmp_path: Path) -> None:
    with serve(tmp_path) as api:
        instance, no_metadata = api.instance(label="a")["id"], api.instance(label="b")["id"]
        booted(api, instance)
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


def test_a_host_whose_deletion_failed_is_deleted_after_a_restart(api: Client) -> None:
    host = api.instance()["id"]
    fail(api.engine, "destroy")
    assert api("DELETE", f"/instances/{host}") == (204, None)
    soon("it has failed", lambda: not stored(api, "instance", host)["_job"])
    cloud = restarted(api, NullEngine(api.engine.config))
    soon("it is gone", lambda: cloud.store.get("instance", host) is None)
    cloud.close()


def test_what_fails_at_a_restart_holds_nothing_else_up(api: Client) -> None:
    odd, even, volumes = api.instance()["id"], api.instance()["id"], [volume(api) for _ in range(4)]
    api.cloud.store.put("instance", stored(api, "instance", odd) | {"_boot": "normal", "_image": None})
    for block in volumes[:2]:
        api.cloud.store.put("block", stored(api, "block", block) | {"_deleted": True})
    for block in volumes[2:]:
        api.cloud.store.put("block", stored(api, "block", block) | {"status": "pending"})
    for name in ("a", "b"):
        api.cloud.store.put("snapshot", {"id": name, "_deleted": True, "status": "complete"})
    engine = NullEngine(api.engine.config)
    struck: set[str] = set()

    def first_of_each(call: str) -> None:
        if call in ("destroy_disk", "create_disk", "destroy_snapshot", "set_firewall") and call not in struck:
            struck.add(call)
            raise EngineError(BUSY)

    engine.on = first_of_each
    cloud = restarted(api, engine)
    assert [block["id"] for block in cloud.store.all("block")] == [volumes[0], *volumes[2:]]
    assert [block["status"] for block in cloud.store.all("block")[1:]] == ["pending", "active"]
    assert [snapshot["id"] for snapshot in cloud.store.all("snapshot")] == ["a"]
    assert "set_firewall" in struck
    soon("the other host runs", lambda: engine.running == {even})
    cloud.close()


def test_a_restart_leaves_running_hosts_alone_and_never_wipes_one_made_from_a_snapshot(api: Client) -> None:
    running, silent, stopped = (api.instance()["id"] for _ in range(3))
    booted(api, running)
    for host in (silent, stopped):
        api.cloud.store.put("instance", stored(api, "instance", host) | {"_image": "snapshot/s"})
    engine = NullEngine(api.engine.config)
    engine.running |= {running, silent}
    cloud = restarted(api, engine)
    soon("the stopped one runs", lambda: stopped in engine.running)
    assert {call[:2] for call in engine.calls if len(call) > 1} == {("start", stopped)}
    cloud.close()


def test_a_host_that_runs_without_its_user_data_is_stopped_before_metadata_is_served_and_boots_afresh(
    api: Client,
) -> None:
    host = api.instance()["id"]
    engine = NullEngine(api.engine.config)
    engine.running.add(host)
    engine.hold.clear()
    cloud = restarted(api, engine)
    assert ("stop", host, True) in engine.calls
    assert host not in engine.running
    engine.hold.set()
    soon("it runs", lambda: host in engine.running)
    assert ("reinstall", host, "debian-13") in engine.calls
    cloud.close()
