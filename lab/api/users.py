"""Users of an account: each has a key of its own that may do no more than its ACLs say."""

import hashlib
import secrets
from uuid import uuid4

from lab.api.rights import ACLS
from lab.api.store import Item, Store, public
from lab.api.wire import NO_CONTENT, ApiError, Call, Reply, Routes, page

INVALID = "Invalid user ID."


def of_key(store: Store, key: str) -> Item | None:
    """The user who has this key and may use the API with it, of whichever account the store shows."""
    digest = _digest(key)
    for user in store.all("user"):
        if user["api_enabled"] and secrets.compare_digest(user["_key"], digest):
            return user
    return None


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _user(call: Call) -> Item:
    return call.cloud.find("user", call.path["id"], INVALID)


def _acls(call: Call, default: list[str]) -> list[str]:
    wanted = call.texts("acls") if "acls" in call.body else default
    unknown = sorted({*wanted} - {*ACLS})
    if unknown:
        raise ApiError(400, f"Invalid ACL: {', '.join(unknown)}")
    return wanted


def _create(call: Call) -> Reply:
    """The key is shown in this answer and never again. Nobody logs in by the password: it is not kept."""
    call.text("password")
    key = secrets.token_hex(18).upper()
    user: Item = {
        "id": str(uuid4()),
        "name": call.text("name"),
        "email": call.text("email"),
        "api_enabled": call.flag("api_enabled", True),
        "acls": _acls(call, []),
        "_key": _digest(key),
    }
    with call.cloud.store.change():
        if any(other["email"] == user["email"] for other in call.cloud.everything.all("user")):
            raise ApiError(400, "Email address is already in use.")
        call.cloud.store.put("user", user)
    return Reply(201, {"user": public(user) | {"api_key": key}})


def _patch(call: Call) -> Reply:
    with call.cloud.store.change():
        user = _user(call)
        changed = user | {
            "name": call.text("name", user["name"]),
            "email": call.text("email", user["email"]),
            "api_enabled": call.flag("api_enabled", user["api_enabled"]),
            "acls": _acls(call, user["acls"]),
        }
        if changed == user and "password" not in call.body:
            raise ApiError(400, "Nothing to change")
        call.cloud.store.put("user", changed)
    return NO_CONTENT


def _delete(call: Call) -> Reply:
    call.cloud.store.delete("user", _user(call)["id"])
    return NO_CONTENT


ROUTES: Routes = (
    ("GET", "/users", lambda call: page(call, "users", call.cloud.store.all("user"))),
    ("POST", "/users", _create),
    ("GET", "/users/{id}", lambda call: Reply(200, {"user": public(_user(call))})),
    ("PATCH", "/users/{id}", _patch),
    ("DELETE", "/users/{id}", _delete),
)
