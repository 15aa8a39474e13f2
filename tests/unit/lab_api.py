"""The lab's API served over HTTP on an engine that makes nothing, and a client of it."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from lab.api import server
from lab.api.actions import ACTIONS
from lab.api.cloud import Cloud
from lab.api.store import DRILL, MAIN, Item, Store
from lab.engine import EngineError, LabConfig
from tests.unit.null_engine import NullEngine
from tests.waiting import until

KEY = "TESTKEY"
DRILL_KEY = "DRILLKEY"
BUSY = "umount: target is busy"
DEBIAN = {"region": "ams", "plan": "vc2-1c-1gb", "os_id": 2625}


@dataclass
class Client:
    """Requests with the token; `api("POST", "/blocks", {...})` is (status, body)."""

    base: str
    cloud: Cloud
    engine: NullEngine
    key: str = KEY

    def raw(self, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        return requests.request(method, self.base + path, json=body, headers=headers, timeout=30, **options)

    def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        answer = self.raw(method, f"/v2{path}", body)
        return answer.status_code, answer.json() if answer.content else None

    def fault(self, **fault: Any) -> None:
        assert self.raw("POST", "/lab/faults", fault).status_code == 201

    def instance(self, **fields: Any) -> dict[str, Any]:
        """A host, made and booted."""
        status, body = self("POST", "/instances", DEBIAN | fields)
        assert status == 202, body
        return self.settled(body["instance"]["id"])

    def settled(self, instance_id: str) -> dict[str, Any]:
        """The instance once nothing is being done to it."""
        until(
            "it is settled",
            lambda: not (self.cloud.store.get("instance", instance_id) or {"_job": None})["_job"],
            timeout_s=30,
            every_s=0.005,
        )
        instance: dict[str, Any] = self("GET", f"/instances/{instance_id}")[1]["instance"]
        return instance


@contextmanager
def serve(
    folder: Path,
    rate_limit: int = 0,
    clock: Callable[[], float] = time.monotonic,
    tls: tuple[Path, Path] | None = None,
) -> Iterator[Client]:
    config = LabConfig("unit", 15, folder)
    engine = NullEngine(config)
    cloud = Cloud(Store(folder / "cloud.db"), engine, ACTIONS)
    listener = server.listen("127.0.0.1", 0)
    running = server.Server(server.app(cloud, {MAIN: KEY, DRILL: DRILL_KEY}, rate_limit, clock), tls)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([(running, [listener])])))
    thread.start()
    try:
        yield Client(f"http{'s' if tls else ''}://127.0.0.1:{listener.getsockname()[1]}", cloud, engine)
    finally:
        server.stop(running)
        engine.hold.set()
        thread.join()
        cloud.close()
        listener.close()


def fail(engine: NullEngine, *calls: str, error: type[Exception] = EngineError) -> None:
    """From now on these calls fail; with no call named, none does."""

    def strike(call: str) -> None:
        if call in calls:
            raise error(BUSY)

    engine.on = strike


def volume(api: Client) -> str:
    status, body = api("POST", "/blocks", {"region": "ams", "size_gb": 10})
    assert status == 202, body
    return str(body["block"]["id"])


def stored(api: Client, kind: str, item_id: str) -> Item:
    item = api.cloud.store.get(kind, item_id)
    assert item is not None
    return item


def soon(what: str, true: Any) -> None:
    until(what, true, timeout_s=30, every_s=0.005)
