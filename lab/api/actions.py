"""What is done to hosts: each action as the engine's calls, safe to run again from its start, and who asks for it."""

from collections.abc import Mapping
from typing import Any

from lab.api import catalogue, faults, snapshots
from lab.api.cloud import Action, Cloud, logged
from lab.api.store import Item
from lab.api.wire import NO_CONTENT, ApiError, Call, Reply, Routes

RUNNING = {"status": "active", "power_status": "running"}


def _create(cloud: Cloud, item: Item, job: Item) -> Mapping[str, Any]:
    machine = cloud.machine(item)
    cloud.engine.create(machine)
    if job.get("again"):
        cloud.engine.reinstall(machine)
    cloud.sync_firewall()
    cloud.engine.start(machine)
    return RUNNING


def _start(cloud: Cloud, item: Item, job: Item) -> Mapping[str, Any]:
    cloud.engine.start(cloud.machine(item))
    return RUNNING


def _halt(cloud: Cloud, item: Item, job: Item) -> Mapping[str, Any]:
    cloud.engine.stop(item["id"])
    return {"power_status": "stopped"}


def _reboot(cloud: Cloud, item: Item, job: Item) -> Mapping[str, Any]:
    cloud.engine.stop(item["id"])
    return _start(cloud, item, job)


def _reinstall(cloud: Cloud, item: Item, job: Item) -> Mapping[str, Any]:
    machine = cloud.machine(item)
    cloud.engine.reinstall(machine)
    cloud.engine.start(machine)
    return RUNNING


def _network(cloud: Cloud, item: Item, job: Item) -> Mapping[str, Any]:
    cloud.engine.set_nics(cloud.machine(item))
    cloud.sync_firewall()
    return {}


def _as_before(cloud: Cloud, item: Item, job: Item) -> Mapping[str, Any]:
    """Reserved addresses included, which are recorded with the host that they are on."""
    before: Item = job.get("before", {})
    after = item | before
    own = (after["main_ip"], *after["_extra_ipv4"])
    for reserved in cloud.store.all("reserved_ip"):
        if reserved["instance_id"] in ("", item["id"]):
            owner = item["id"] if reserved["subnet"] in own else ""
            cloud.store.put("reserved_ip", reserved | {"instance_id": owner})
    return before


def _attach_block(cloud: Cloud, item: Item, job: Item) -> Mapping[str, Any]:
    block = cloud.find("block", job["block"], "Invalid block storage ID.")
    cloud.engine.attach_disk(item["id"], block["id"], block["mount_id"])
    cloud.store.amend("block", block["id"], {"attached_to_instance": item["id"]})
    return {} if job["live"] else _reboot(cloud, item, job)


def _detach_block(cloud: Cloud, item: Item, job: Item) -> Mapping[str, Any]:
    if not job["live"]:
        cloud.engine.stop(item["id"])
    cloud.engine.detach_disk(item["id"], job["block"])
    cloud.store.amend("block", job["block"], {"attached_to_instance": ""})
    return {} if job["live"] else _start(cloud, item, job)


def _snapshot(cloud: Cloud, item: Item, job: Item) -> Mapping[str, Any]:
    try:
        size = cloud.engine.create_snapshot(item["id"], job["snapshot"])
    except Exception:
        with logged(f"remove what there is of snapshot {job['snapshot']}"):
            cloud.engine.destroy_snapshot(job["snapshot"])
        raise
    done = {"status": "complete", "size": size, "compressed_size": size}
    cloud.store.amend("snapshot", job["snapshot"], done)
    return {}


def _no_snapshot(cloud: Cloud, item: Item, job: Item) -> Mapping[str, Any]:
    cloud.store.delete("snapshot", job["snapshot"])
    return {}


def _delete(cloud: Cloud, item: Item, job: Item) -> Mapping[str, Any]:
    cloud.engine.stop(item["id"], force=True)
    blocks = [block for block in cloud.store.all("block") if block["attached_to_instance"] == item["id"]]
    for block in blocks:
        cloud.engine.detach_disk(item["id"], block["id"])
    cloud.engine.destroy(item["id"])
    with cloud.store.change():
        for block in blocks:
            cloud.store.amend("block", block["id"], {"attached_to_instance": ""})
        for reserved in cloud.store.all("reserved_ip"):
            if reserved["instance_id"] == item["id"]:
                cloud.store.put("reserved_ip", reserved | {"instance_id": ""})
        cloud.store.delete("instance", item["id"])
    cloud.sync_firewall()
    snapshots.resume(cloud)
    return {}


ACTIONS: dict[str, Action] = {
    "create": Action(_create),
    "start": Action(_start),
    "halt": Action(_halt),
    "reboot": Action(_reboot),
    "resize": Action(_reboot, undo=_as_before),
    "reinstall": Action(_reinstall),
    "network": Action(_network, undo=_as_before),
    "attach block": Action(_attach_block),
    "detach block": Action(_detach_block),
    "snapshot": Action(_snapshot, undo=_no_snapshot),
    "delete": Action(_delete),
}


def fresh(cloud: Cloud, item: Item) -> Item:
    """What changes in an instance whose root disk is about to be made anew."""
    return {"status": "pending", "_booted": False, "_boot": faults.of_boot(cloud.everything, item)}


def reinstall(call: Call, **change: Any) -> Item:
    """Begins to give the instance of the path a fresh root disk."""
    return call.cloud.act(call.path["id"], "reinstall", change=lambda item: fresh(call.cloud, item) | change)


def _power(cloud: Cloud, instance_id: str, action: str) -> None:
    running = cloud.unlocked(instance_id)["power_status"] == "running"
    if action == "start" and running and cloud.engine.status(instance_id).running:
        return
    if action == "halt" and not running:
        return
    cloud.act(instance_id, action)


def _one(action: str) -> Any:
    def handler(call: Call) -> Reply:
        _power(call.cloud, call.path["id"], action)
        return NO_CONTENT

    return handler


def _several(action: str) -> Any:
    def handler(call: Call) -> Reply:
        wanted = call.texts("instance_ids")
        for instance_id in wanted:
            call.cloud.unlocked(instance_id)
        for instance_id in wanted:
            _power(call.cloud, instance_id, action)
        return NO_CONTENT

    return handler


def _restore(call: Call) -> Reply:
    """Answers without the `status` object of the provider's description: govultr takes a `status` in any answer for an
    error's, which is a number."""
    snapshot_id = call.text("snapshot_id", "")
    if not snapshot_id:
        raise ApiError(400, "Invalid backup ID." if call.body.get("backup_id") else "snapshot_id is required")
    snapshot = call.cloud.find("snapshot", snapshot_id, "Invalid snapshot ID.")
    if snapshot["status"] != "complete":
        raise ApiError(400, "Snapshot is not complete")
    reinstall(call, _image=f"snapshot/{snapshot_id}", os="Snapshot", os_id=catalogue.SNAPSHOT_OS)
    return Reply(202, {})


ROUTES: Routes = (
    *((("POST", f"/instances/{{id}}/{action}", _one(action))) for action in ("halt", "reboot", "start")),
    *((("POST", f"/instances/{action}", _several(action))) for action in ("halt", "reboot", "start")),
    ("POST", "/instances/{id}/restore", _restore),
)
