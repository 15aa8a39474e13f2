"""Startup scripts: base64, run once by cloud-init on hosts that are created with them (type `boot`)."""

from uuid import uuid4

from lab.api.cloud import now
from lab.api.store import Item, public
from lab.api.wire import NO_CONTENT, ApiError, Call, Reply, Routes, base64_text, page

INVALID = "Invalid script ID."


def _kind(call: Call, default: str) -> str:
    kind = call.text("type", default)
    if kind not in ("boot", "pxe"):
        raise ApiError(400, "Invalid script type.")
    return kind


def _list(call: Call) -> Reply:
    """Without the scripts' text, as the provider does."""
    scripts = [
        {key: value for key, value in s.items() if key != "script"} for s in call.cloud.store.all("startup_script")
    ]
    return page(call, "startup_scripts", scripts)


def _get(call: Call) -> Reply:
    return Reply(200, {"startup_script": public(call.cloud.find("startup_script", call.path["id"], INVALID))})


def _create(call: Call) -> Reply:
    script: Item = {
        "id": str(uuid4()),
        "date_created": now(),
        "date_modified": now(),
        "name": call.text("name"),
        "type": _kind(call, "boot"),
        "script": base64_text("script", call.text("script")),
    }
    call.cloud.store.put("startup_script", script)
    return Reply(201, {"startup_script": script})


def _patch(call: Call) -> Reply:
    with call.cloud.store.change():
        script = call.cloud.find("startup_script", call.path["id"], INVALID)
        changed = script | {
            "name": call.text("name", script["name"]),
            "type": _kind(call, script["type"]),
            "script": base64_text("script", call.text("script", script["script"])),
        }
        if changed == script:
            raise ApiError(400, "Nothing to change")
        call.cloud.store.put("startup_script", changed | {"date_modified": now()})
    return NO_CONTENT


def _delete(call: Call) -> Reply:
    call.cloud.store.delete("startup_script", call.cloud.find("startup_script", call.path["id"], INVALID)["id"])
    return NO_CONTENT


ROUTES: Routes = (
    ("GET", "/startup-scripts", _list),
    ("POST", "/startup-scripts", _create),
    ("GET", "/startup-scripts/{id}", _get),
    ("PATCH", "/startup-scripts/{id}", _patch),
    ("DELETE", "/startup-scripts/{id}", _delete),
)
