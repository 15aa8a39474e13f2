"""Faults on demand, outside the provider's paths: POST, GET and DELETE /lab/faults.

A fault is `{"kind": ..., "times": 1, ...}`; it is used up after `times` hits. Kinds that strike requests take `method`
and `path` (a prefix below /v2; default: every request):

- `rate_limit`: 429 with Retry-After `seconds` (1);  `locked`: 500 'Server is currently locked'
- `timeout`: nothing is done, no answer for `seconds` (120), then the connection is dropped
- `lost_response`: the call is carried out, then the connection is dropped
- `crash`: the lab's API process kills itself at `point`: `recorded` (written down, the engine not yet called) or
  `acted` (the engine is done, not yet written down), in the next action (`action`: create, delete, ...; default any)

Kinds that strike hosts take `instance` (id, label or hostname):

- `never_boots`, `slow_boot` (`seconds` later, 60): the next `times` creations or reinstallations (default: of any host)
- `cut`: no network, until the fault is deleted;  `full_disk`: no free block, until then or a fresh root disk (not of
  a VM: 500 with the engine's words)
"""

import os
import signal
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

from lab.api.store import Item, Store
from lab.api.wire import NO_CONTENT, ApiError, Call, Reply, Routes
from lab.engine import EngineError

if TYPE_CHECKING:
    from lab.api.cloud import Cloud

REQUEST_KINDS = ("rate_limit", "locked", "timeout", "lost_response")
BOOT_KINDS = ("never_boots", "slow_boot")
STATE_KINDS = ("cut", "full_disk")
KINDS = (*REQUEST_KINDS, *BOOT_KINDS, *STATE_KINDS, "crash")
FIELDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("kind", "method", "path", "point", "action", "instance"), str),
    "times": int,
    "seconds": (int, float),
}


def _use(store: Store, fault: Item) -> Item:
    fault["times"] -= 1
    if fault["times"] > 0:
        store.put("fault", fault)
    else:
        store.delete("fault", fault["id"])
    return fault


def of_request(store: Store, method: str, path: str) -> Item | None:
    """The fault that strikes this request, used once. `path` is below /v2."""
    with store.change():
        for fault in store.all("fault"):
            if (
                fault["kind"] in REQUEST_KINDS
                and fault.get("method", method) == method
                and path.startswith(fault.get("path", ""))
            ):
                return _use(store, fault)
    return None


def of_boot(store: Store, instance: Item) -> Literal["normal", "never"] | int:
    """How a host that is being made shall boot; see lab.engine.Machine.boot."""
    with store.change():
        for fault in store.all("fault"):
            if fault["kind"] in BOOT_KINDS and fault.get("instance", instance["id"]) in names(instance):
                _use(store, fault)
                return "never" if fault["kind"] == "never_boots" else int(fault.get("seconds", 60))
    return "normal"


def reach(store: Store, point: Literal["recorded", "acted"], action: str) -> None:
    """Dies here, as by kill -9, if a `crash` fault says so."""
    with store.change():
        due = [
            fault
            for fault in store.all("fault")
            if fault["kind"] == "crash" and fault["point"] == point and fault.get("action", action) == action
        ]
        for fault in due[:1]:
            _use(store, fault)
    if due:
        os.kill(os.getpid(), signal.SIGKILL)


def names(instance: Item) -> tuple[str, str, str]:
    return instance["id"], instance["label"], instance["hostname"]


def _set(cloud: "Cloud", fault: Item, on: bool) -> None:
    if fault["kind"] == "cut":
        cloud.engine.cut(fault["instance"], off=on)
    elif fault["kind"] == "full_disk":
        cloud.engine.fill_disk(fault["instance"], full=on)


def _create(call: Call) -> Reply:
    kind = call.text("kind")
    if kind not in KINDS:
        raise ApiError(400, f"kind must be one of {', '.join(KINDS)}")
    for field, value in call.body.items():
        if field not in FIELDS or not isinstance(value, FIELDS[field]):
            raise ApiError(400, f"{field} is unknown here, or cannot be {value!r}")
    fault = {"times": 1, **call.body, "id": str(uuid4())}
    if kind == "crash" and fault.get("point") not in ("recorded", "acted"):
        raise ApiError(400, "point must be recorded or acted")
    if kind in STATE_KINDS:
        found = [i["id"] for i in call.cloud.store.all("instance") if call.text("instance") in names(i)]
        if len(found) != 1:
            raise ApiError(404, f"{len(found)} hosts are called {fault['instance']!r}")
        fault["instance"] = found[0]
    call.cloud.store.put("fault", fault)
    try:
        _set(call.cloud, fault, on=True)
    except EngineError as error:
        call.cloud.store.delete("fault", fault["id"])
        raise ApiError(500, str(error)) from error
    return Reply(201, {"fault": fault})


def _list(call: Call) -> Reply:
    return Reply(200, {"faults": call.cloud.store.all("fault")})


def _delete(call: Call) -> Reply:
    """All of them, or the one named in the path; what they did to hosts is undone."""
    store = call.cloud.store
    for fault in store.all("fault"):
        if call.path.get("id", fault["id"]) == fault["id"]:
            store.delete("fault", fault["id"])
            same = [(f["kind"], f.get("instance")) for f in store.all("fault")]
            if store.get("instance", fault.get("instance", "")) and (fault["kind"], fault["instance"]) not in same:
                _set(call.cloud, fault, on=False)
    return NO_CONTENT


ROUTES: Routes = (
    ("GET", "/faults", _list),
    ("POST", "/faults", _create),
    ("DELETE", "/faults", _delete),
    ("DELETE", "/faults/{id}", _delete),
)
