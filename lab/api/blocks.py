"""Block storage: create, attach and detach (live or by a reboot), grow, delete."""

import secrets
from uuid import uuid4

from lab.api import catalogue
from lab.api.cloud import LOCKED, Cloud, answered, logged, now
from lab.api.store import Item, public
from lab.api.wire import NO_CONTENT, ApiError, Call, Reply, Routes, page

SIZES = {"high_perf": (10, 10_000), "storage_opt": (40, 40_000)}
PRICE_PER_GB = {"high_perf": 0.10, "storage_opt": 0.025}
INVALID = "Invalid block storage ID."


def _size(block_type: str, size_gb: int) -> Item:
    low, high = SIZES[block_type]
    if not low <= size_gb <= high:
        raise ApiError(400, f"Invalid size: {block_type} block storage is {low} to {high} GB.")
    return {"size_gb": size_gb, "cost": round(size_gb * PRICE_PER_GB[block_type], 2)}


def _list(call: Call) -> Reply:
    return page(call, "blocks", [block for block in call.cloud.store.all("block") if not block["_deleted"]])


def _get(call: Call) -> Reply:
    return Reply(200, {"block": public(call.cloud.find("block", call.path["id"], INVALID))})


def _create(call: Call) -> Reply:
    region = catalogue.region(call.text("region"))["id"]
    block_type = call.text("block_type", "high_perf")
    if block_type not in SIZES:
        raise ApiError(400, "Invalid block_type.")
    block = {
        "id": str(uuid4()),
        "date_created": now(),
        **_size(block_type, call.integer("size_gb")),
        "status": "pending",
        "region": region,
        "attached_to_instance": "",
        "label": call.text("label", ""),
        "mount_id": f"{region}-{secrets.token_hex(7)}",
        "block_type": block_type,
        "_deleted": False,
    }
    call.cloud.store.put("block", block)
    with answered("create the block storage", lambda: _forget(call.cloud, block)):
        make(call.cloud, block)
    return Reply(202, {"block": public(block)})


def make(cloud: Cloud, block: Item) -> None:
    """Makes or grows the disk of a pending block storage to what is asked for by now, or what a crash left of it."""
    with cloud.volumes:
        now_asked = cloud.store.get("block", block["id"])
        if now_asked and not now_asked["_deleted"]:
            cloud.engine.create_disk(block["id"], now_asked["size_gb"])
            cloud.engine.resize_disk(block["id"], now_asked["size_gb"])
            cloud.store.amend("block", block["id"], {"status": "active"})


def _forget(cloud: Cloud, block: Item) -> None:
    """A block storage that could not be made never was."""
    with logged(f"remove what there is of block storage {block['id']}"):
        cloud.engine.destroy_disk(block["id"])
    cloud.store.delete("block", block["id"])


def remove(cloud: Cloud, block: Item) -> None:
    """Ends what `_delete` began."""
    with cloud.volumes:
        if block["attached_to_instance"]:
            cloud.engine.detach_disk(block["attached_to_instance"], block["id"])
            cloud.store.amend("block", block["id"], {"attached_to_instance": ""})
        cloud.engine.destroy_disk(block["id"])
        cloud.store.delete("block", block["id"])


def resume(cloud: Cloud) -> None:
    """After a start: ends what was begun on block storage."""
    for block in cloud.store.all("block"):
        with logged(f"end what was begun on block storage {block['id']}"):
            if block["_deleted"]:
                remove(cloud, block)
            elif block["status"] == "pending":
                make(cloud, block)


def _patch(call: Call) -> Reply:
    with call.cloud.store.change():
        block = call.cloud.find("block", call.path["id"], INVALID)
        asked: Item = {"label": call.text("label")} if "label" in call.body else {}
        if "size_gb" in call.body:
            asked |= _size(block["block_type"], call.integer("size_gb"))
            if asked["size_gb"] < block["size_gb"]:
                raise ApiError(400, "Block storage cannot be made smaller.")
        changes = {key: value for key, value in asked.items() if block[key] != value}
        if not changes:
            raise ApiError(400, "Nothing to change")
        if "size_gb" in changes:
            changes["status"] = "pending"
        before = {key: block[key] for key in changes}
        block |= changes
        call.cloud.store.put("block", block)
    if "size_gb" in changes:
        with answered("grow the block storage", lambda: call.cloud.store.amend("block", block["id"], before)):
            make(call.cloud, block)
    return NO_CONTENT


def _delete(call: Call) -> Reply:
    """Attached or not: current clients do not detach first."""
    with call.cloud.store.change():
        block = call.cloud.find("block", call.path["id"], INVALID)
        host = call.cloud.store.get("instance", block["attached_to_instance"])
        if host and host["_job"]:  # also while the host is deleted, of which GET says already that it is gone
            raise ApiError(500, LOCKED)
        if call.cloud.awaited("block", block["id"]):
            raise ApiError(500, LOCKED)
        call.cloud.store.put("block", block | {"_deleted": True})
    back = {"_deleted": False}
    with answered("delete the block storage", lambda: call.cloud.store.amend("block", block["id"], back)):
        remove(call.cloud, block)
    return NO_CONTENT


def _attach(call: Call) -> Reply:
    cloud, block_id = call.cloud, call.path["id"]
    cloud.find("block", block_id, INVALID)
    instance = cloud.store.get("instance", call.text("instance_id"))
    if instance is None or instance["_deleted"]:
        raise ApiError(400, "Invalid instance ID.")

    def claim(item: Item) -> Item:
        """The action that is written down with it keeps every other host from the volume."""
        block = cloud.find("block", block_id, INVALID)
        if block["attached_to_instance"] or cloud.awaited("block", block_id):
            raise ApiError(400, "Block storage volume is already attached to a server.")
        if block["region"] != item["region"]:
            raise ApiError(400, "Block storage volume must be in the same region as the server.")
        return {}

    cloud.act(instance["id"], "attach block", wait=True, change=claim, block=block_id, live=call.flag("live"))
    return NO_CONTENT


def _detach(call: Call) -> Reply:
    cloud, block_id = call.cloud, call.path["id"]
    unattached = ApiError(400, "Block storage volume is not currently attached to a server.")
    host = cloud.find("block", block_id, INVALID)["attached_to_instance"]
    if not host:
        raise unattached

    def still(item: Item) -> Item:
        if cloud.find("block", block_id, INVALID)["attached_to_instance"] != host:
            raise unattached
        return {}

    cloud.act(host, "detach block", wait=True, change=still, block=block_id, live=call.flag("live"))
    return NO_CONTENT


ROUTES: Routes = (
    ("GET", "/blocks", _list),
    ("POST", "/blocks", _create),
    ("GET", "/blocks/{id}", _get),
    ("PATCH", "/blocks/{id}", _patch),
    ("DELETE", "/blocks/{id}", _delete),
    ("POST", "/blocks/{id}/attach", _attach),
    ("POST", "/blocks/{id}/detach", _detach),
)
