"""SSH keys of the account: given to the metadata of instances that are created with them."""

from uuid import uuid4

from lab.api.cloud import now
from lab.api.store import public
from lab.api.wire import NO_CONTENT, ApiError, Call, Reply, Routes, page

INVALID = "Invalid SSH key."
KINDS = ("ssh-", "ecdsa-", "sk-")


def _key(call: Call) -> str:
    key = call.text("ssh_key").strip()
    if len(key.split()) < 2 or not key.startswith(KINDS):
        raise ApiError(400, "Invalid SSH key: expected an OpenSSH public key.")
    return key


def _create(call: Call) -> Reply:
    key = {"id": str(uuid4()), "date_created": now(), "name": call.text("name"), "ssh_key": _key(call)}
    call.cloud.store.put("ssh_key", key)
    return Reply(201, {"ssh_key": key})


def _get(call: Call) -> Reply:
    return Reply(200, {"ssh_key": public(call.cloud.find("ssh_key", call.path["id"], INVALID))})


def _patch(call: Call) -> Reply:
    with call.cloud.store.change():
        key = call.cloud.find("ssh_key", call.path["id"], INVALID)
        changed = key | {"name": call.text("name", key["name"])}
        if "ssh_key" in call.body:
            changed["ssh_key"] = _key(call)
        if changed == key:
            raise ApiError(400, "Nothing to change")
        call.cloud.store.put("ssh_key", changed)
    return NO_CONTENT


def _delete(call: Call) -> Reply:
    call.cloud.store.delete("ssh_key", call.cloud.find("ssh_key", call.path["id"], INVALID)["id"])
    return NO_CONTENT


ROUTES: Routes = (
    ("GET", "/ssh-keys", lambda call: page(call, "ssh_keys", call.cloud.store.all("ssh_key"))),
    ("POST", "/ssh-keys", _create),
    ("GET", "/ssh-keys/{id}", _get),
    ("PATCH", "/ssh-keys/{id}", _patch),
    ("DELETE", "/ssh-keys/{id}", _delete),
)
