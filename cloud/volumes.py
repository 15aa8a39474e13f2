"""Steps on block storage."""

from collections.abc import Callable, Mapping
from typing import Any

from cloud import actions as do
from cloud.actual import Block, volume_label
from cloud.client import Item
from cloud.work import Work


def _create(work: Work, action: do.CreateVolume) -> None:
    host = work.site.fleet.hosts[action.host]
    label = volume_label(work.site.name, action.host, action.volume)
    body = {
        "region": host.region,
        "size_gb": action.size_gb,
        "label": label,
        "block_type": host.volumes[action.volume].block_type,
    }

    def find() -> Item | None:
        return next((block for block in work.client.list("/blocks", "blocks") if block["label"] == label), None)

    _remember(work, action, work.client.create("/blocks", "block", body, find))


def _remember(work: Work, action: do.OfVolume, block: Item) -> None:
    locked = work.lock.hosts.get(action.host)
    fresh = {action.volume: Block.model_validate(block).locked}
    work.save_host(action.host, volumes={**(locked.volumes if locked else {}), **fresh})


def _look(work: Work, block_id: str) -> Item:
    block: Item = work.client.get(f"/blocks/{block_id}")["block"]
    return block


def _attach(work: Work, action: do.AttachVolume) -> None:
    block = work.site.blocks().get((action.host, action.volume))
    block_id = block.id if block else work.lock.hosts[action.host].volumes[action.volume].id
    target = work.instance_id(action.host)

    def missing(block: Item) -> str:
        return "" if block["status"] == "active" else str(block["status"])

    found = work.client.wait(action.thing, lambda: _look(work, block_id), missing)
    work.client.ensure(
        f"/blocks/{block_id}/attach",
        {"instance_id": target, "live": True},
        lambda: _look(work, block_id)["attached_to_instance"] == target,
    )
    _remember(work, action, found)


def _label(work: Work, action: do.LabelVolume) -> None:
    label = volume_label(work.site.name, action.host, action.volume)
    work.client.change(f"/blocks/{action.block_id}", label=label)


def _detach(work: Work, action: do.DetachVolume) -> None:
    path = f"/blocks/{action.block_id}/detach"
    work.client.ensure(path, {"live": True}, lambda: not _look(work, action.block_id)["attached_to_instance"])


STEPS: Mapping[type[do.Action], Callable[[Work, Any], None]] = {
    do.CreateVolume: _create,
    do.LabelVolume: _label,
    do.AttachVolume: _attach,
    do.GrowVolume: lambda work, action: work.client.change(f"/blocks/{action.block_id}", size_gb=action.size_gb),
    do.DetachVolume: _detach,
    do.RemoveVolume: lambda work, action: work.client.remove(f"/blocks/{action.block_id}"),
}
