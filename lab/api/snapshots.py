"""Snapshots of root disks: pending until copied; an instance can be created from one or put back to it.

The lab takes no backups, whatever the schedule says: their list is empty.
"""

from uuid import uuid4

from lab.api import catalogue
from lab.api.cloud import LOCKED, Cloud, answered, logged, now
from lab.api.store import Item, public
from lab.api.wire import NO_CONTENT, ApiError, Call, Reply, Routes, page

INVALID = "Invalid snapshot ID."


def _list(call: Call) -> Reply:
    wanted = call.query.get("description")
    items = [s for s in call.cloud.store.all("snapshot") if not s["_deleted"] and wanted in (None, s["description"])]
    return page(call, "snapshots", items)


def _get(call: Call) -> Reply:
    return Reply(200, {"snapshot": public(call.cloud.find("snapshot", call.path["id"], INVALID))})


def _create(call: Call) -> Reply:
    instance_id = call.text("instance_id")
    snapshot: Item = {
        "id": str(uuid4()),
        "date_created": now(),
        "description": call.text("description", ""),
        "size": 0,
        "compressed_size": 0,
        "status": "pending",
        "os_id": catalogue.DEBIAN_13,
        "app_id": 0,
        "_deleted": False,
    }

    def record(item: Item) -> Item:
        if item["status"] != "active":
            raise ApiError(500, LOCKED)
        call.cloud.store.put("snapshot", snapshot)
        return {}

    call.cloud.act(instance_id, "snapshot", change=record, snapshot=snapshot["id"])
    return Reply(201, {"snapshot": public(snapshot)})


def _put(call: Call) -> Reply:
    description = call.text("description")
    with call.cloud.store.change():
        snapshot = call.cloud.find("snapshot", call.path["id"], INVALID)
        call.cloud.store.put("snapshot", snapshot | {"description": description})
    return NO_CONTENT


def _delete(call: Call) -> Reply:
    with call.cloud.store.change():
        snapshot = call.cloud.find("snapshot", call.path["id"], INVALID)
        if call.cloud.awaited("snapshot", snapshot["id"]):
            raise ApiError(500, LOCKED)
        call.cloud.store.put("snapshot", snapshot | {"_deleted": True})
    with answered("delete the snapshot", lambda: call.cloud.store.put("snapshot", snapshot)):
        _remove(call.cloud, snapshot)
    return NO_CONTENT


def _remove(cloud: Cloud, snapshot: Item) -> None:
    """Keeps the copy while a host still runs from it; `resume` is called again when a host has gone."""
    if any(item["_image"] == f"snapshot/{snapshot['id']}" for item in cloud.store.all("instance")):
        return
    cloud.engine.destroy_snapshot(snapshot["id"])
    cloud.store.delete("snapshot", snapshot["id"])


def resume(cloud: Cloud) -> None:
    """Ends deletions that were begun, after a start or when a host that held one up has gone."""
    for snapshot in cloud.store.all("snapshot"):
        if snapshot["_deleted"]:
            with logged(f"delete snapshot {snapshot['id']}"):
                _remove(cloud, snapshot)


ROUTES: Routes = (
    ("GET", "/snapshots", _list),
    ("POST", "/snapshots", _create),
    ("GET", "/snapshots/{id}", _get),
    ("PUT", "/snapshots/{id}", _put),
    ("DELETE", "/snapshots/{id}", _delete),
    ("GET", "/backups", lambda call: page(call, "backups", [])),
)
