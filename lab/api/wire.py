"""How the provider talks: bodies, errors, and lists in pages.

Exact where clients depend on it: the content type is `application/json` and nothing more (govultr drops a body whose
type carries a charset), 204 has neither body nor type, errors are `{"error": text, "status": code}`, nulls in a body
mean unset.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from lab.api.store import Item, public

if TYPE_CHECKING:
    from lab.api.cloud import Cloud

T = TypeVar("T")
PER_PAGE, PER_PAGE_MAX = 100, 500
NUMBER = re.compile(r"-?[0-9]{1,18}")


class ApiError(Exception):
    """An answer that is an error, in the provider's form."""

    def __init__(self, status: int, error: str, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.error, self.headers = status, error, dict(headers or {})
        super().__init__(f"{status} {error}")

    @property
    def body(self) -> Item:
        return {"error": self.error, "status": self.status}


@dataclass(frozen=True)
class Reply:
    """status and, unless 204, a JSON body."""

    status: int
    body: Item | None = None


NO_CONTENT = Reply(204)


@dataclass(frozen=True)
class Call:
    """One request, read."""

    cloud: "Cloud"
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Item = field(default_factory=dict)

    def text(self, name: str, default: str | None = None) -> str:
        return self._typed(name, str, default)

    def choice(self, name: str, options: Sequence[str], default: str | None = None) -> str:
        value = self.text(name, default)
        if value not in options:
            raise ApiError(400, f"Invalid {name}: it is one of {', '.join(options)}.")
        return value

    def integer(self, name: str, default: int | None = None) -> int:
        """A number; the provider takes it in quotes as well."""
        value = self.body.get(name, default)
        if isinstance(value, str) and NUMBER.fullmatch(value):
            return int(value)
        if isinstance(value, bool):
            raise ApiError(400, f"Invalid {name}")
        return self._typed(name, int, default)

    def flag(self, name: str, default: bool = False) -> bool:
        return self._typed(name, bool, default)

    def texts(self, name: str) -> list[str]:
        values = self._typed(name, list, [])
        if not all(isinstance(value, str) for value in values):
            raise ApiError(400, f"Invalid {name}")
        return values

    def _typed(self, name: str, kind: type[T], default: T | None) -> T:
        value = self.body.get(name, default)
        if value is None:
            raise ApiError(400, f"{name} is required")
        if not isinstance(value, kind):
            raise ApiError(400, f"Invalid {name}")
        return value


Handler = Callable[[Call], Reply]
Routes = Sequence[tuple[str, str, Handler]]
"""(method, path below /v2, handler); `{x}` in the path is `call.path["x"]`."""


def parse_body(raw: bytes) -> Item:
    """The JSON object of a request, without its nulls; an empty body is an empty object."""
    if not raw.strip():
        return {}
    try:
        body = json.loads(raw)
    except ValueError:
        raise ApiError(400, "Invalid JSON payload") from None
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise ApiError(400, "Invalid JSON payload")
    return {key: value for key, value in body.items() if value is not None}


def page(call: Call, name: str, items: Sequence[Item]) -> Reply:
    """One page of a list. Items carry their place as `_seq`; a cursor names the last (or first) place already shown, so
    that pages stay right while items come and go."""
    raw = call.query.get("per_page", str(PER_PAGE))
    if not NUMBER.fullmatch(raw) or not 1 <= int(raw) <= PER_PAGE_MAX:
        raise ApiError(400, f"per_page must be between 1 and {PER_PAGE_MAX}")
    size = int(raw)
    direction, place = _read_cursor(call.query.get("cursor", ""))
    if direction == "prev":
        before = [item for item in items if item["_seq"] < place]
        shown = before[-size:]
    else:
        shown = [item for item in items if item["_seq"] > place][:size]
    links = {"next": "", "prev": ""}
    if shown and shown[-1]["_seq"] < items[-1]["_seq"]:
        links["next"] = _cursor("next", shown[-1]["_seq"])
    if shown and shown[0]["_seq"] > items[0]["_seq"]:
        links["prev"] = _cursor("prev", shown[0]["_seq"])
    return Reply(200, {name: [public(item) for item in shown], "meta": {"total": len(items), "links": links}})


def numbered(items: Sequence[Item]) -> list[Item]:
    """Items that are not in the store, given the places that `page` needs."""
    return [{**item, "_seq": place} for place, item in enumerate(items, 1)]


def _cursor(direction: str, place: int) -> str:
    return base64.b64encode(f"{direction}__{place}".encode()).decode()


def _read_cursor(cursor: str) -> tuple[str, int]:
    if not cursor:
        return "next", 0
    try:
        direction, _, place = base64.b64decode(cursor, validate=True).decode().partition("__")
        if direction in ("next", "prev"):
            return direction, int(place)
    except (binascii.Error, UnicodeDecodeError, ValueError):
        pass
    raise ApiError(400, "Invalid cursor")


def base64_text(name: str, value: Any) -> str:
    """Checks that a field is base64, as user data and scripts must be. Returns it unchanged."""
    try:
        base64.b64decode(value, validate=True)
    except (TypeError, binascii.Error, ValueError):
        raise ApiError(400, f"{name} must be base64 encoded") from None
    return str(value)
