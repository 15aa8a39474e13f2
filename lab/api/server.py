"""The API as an ASGI application: /v2 as the provider has it, /lab for the lab's own calls; and its HTTP server."""

import asyncio
import contextlib
import json
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from lab.api import (
    blocks,
    catalogue,
    domains,
    faults,
    firewalls,
    instance_ips,
    instance_services,
    instances,
    reserved_ips,
    snapshots,
    ssh_keys,
    startup_scripts,
    users,
    vpcs,
)
from lab.api.cloud import LOCKED, Cloud
from lab.api.rights import needed
from lab.api.store import MAIN, Item, account_of
from lab.api.wire import ApiError, Call, Handler, Reply, Routes, parse_body

RATE_LIMIT = 30
"""Requests a second from one source address, as the provider allows."""

FAMILIES = (
    catalogue,
    instances,
    instance_ips,
    instance_services,
    blocks,
    snapshots,
    ssh_keys,
    startup_scripts,
    firewalls,
    vpcs,
    reserved_ips,
    domains,
    users,
)


def _response(status: int, body: Item | None, headers: dict[str, str] | None = None) -> Response:
    if body is None:
        return Response(status_code=status, headers=headers)
    return Response(json.dumps(body), status, {"content-type": "application/json", **(headers or {})})


def _error(error: ApiError) -> Response:
    return _response(error.status, error.body, error.headers)


def _endpoint(handler: Handler) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        try:
            body = parse_body(await request.body())
            call = Call(request.scope["cloud"], request.path_params, dict(request.query_params), body)
            reply: Reply = await run_in_threadpool(handler, call)
        except ApiError as error:
            return _error(error)
        return _response(reply.status, reply.body)

    return endpoint


def _routes(table: Routes) -> list[Route]:
    return [Route(path, _endpoint(handler), methods=[method]) for method, path, handler in table]


def _lab(call: Call) -> Reply:
    """Which lab this is; no fault and no limit is in the way."""
    return Reply(200, {"lab": call.cloud.engine.config.name})


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = {404: "Invalid API path", 405: "Method not allowed"}.get(status, "Internal server error")
    return _error(ApiError(status, text))


class _Gate:
    """In front of every call: rate limit by source, bearer token and what it may do, faults that strike requests.

    Calls find in their scope the cloud as the token's account sees it; the lab's own calls are the main account's, and
    see all of it.
    """

    def __init__(
        self, inside: ASGIApp, cloud: Cloud, keys: Mapping[str, str], rate_limit: int, clock: Callable[[], float]
    ) -> None:
        self._inside, self._cloud, self._limit, self._clock = inside, cloud, rate_limit, clock
        self._accounts = {key: cloud.of(account) for account, key in keys.items()}
        self._lab = {keys[MAIN]: cloud}
        self._recent: dict[str, deque[float]] = {}

    def _too_many(self, source: str) -> ApiError | None:
        if not self._limit:
            return None
        recent = self._recent.setdefault(source, deque())
        moment = self._clock()
        while recent and recent[0] <= moment - 1:
            recent.popleft()
        if len(recent) >= self._limit:
            return ApiError(429, "Rate limit exceeded", {"retry-after": "1"})
        recent.append(moment)
        return None

    def _refused(self, scope: Scope, *, provider: bool) -> ApiError | None:
        bearer, _, key = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1").partition(" ")
        seen = (self._of_provider(key) if provider else self._lab.get(key)) if bearer == "Bearer" else None
        if seen is None:
            return ApiError(401, "Invalid API token.")
        if provider and needed(scope["method"], scope["path"].removeprefix("/v2")) not in ("", *seen.acls):
            return ApiError(403, "You are not allowed to perform that action.")
        scope["cloud"] = seen
        return None

    def _of_provider(self, key: str) -> Cloud | None:
        """The cloud as an account sees it, or one of its users."""
        if key in self._accounts:
            return self._accounts[key]
        user = users.of_key(self._cloud.everything, key)
        return self._cloud.of(account_of(user), user["acls"]) if user else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._inside(scope, receive, send)
        provider = scope["path"].startswith("/v2")
        refusal = self._too_many(scope["client"][0]) if provider else None
        refusal = refusal or await run_in_threadpool(self._refused, scope, provider=provider)
        if refusal:
            return await _error(refusal)(scope, receive, send)
        fault = None
        if provider:
            path = scope["path"].removeprefix("/v2")
            fault = await run_in_threadpool(faults.of_request, self._cloud.store, scope["method"], path)
        return await self._strike(fault, scope, receive, send)

    async def _strike(self, fault: Item | None, scope: Scope, receive: Receive, send: Send) -> None:
        match fault and fault["kind"]:
            case "rate_limit":
                error = ApiError(429, "Rate limit exceeded", {"retry-after": str(fault.get("seconds", 1))})  # type: ignore[union-attr]
                await _error(error)(scope, receive, send)
            case "locked":
                await _error(ApiError(500, LOCKED))(scope, receive, send)
            case "timeout":
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(_gone(receive), fault.get("seconds", 120))  # type: ignore[union-attr]
                await _drop(scope, receive)
            case "lost_response":
                await self._inside(scope, receive, _swallow)
                await _drop(scope, receive)
            case _:
                await self._inside(scope, receive, send)


async def _swallow(message: Any) -> None:
    """Where an answer goes that nobody is to get."""


async def _drop(scope: Scope, receive: Receive) -> None:
    connection = Connection.open.get(scope["client"])
    if connection:
        connection.transport.abort()
    await _gone(receive)


async def _gone(receive: Receive) -> None:
    """Returns when the client has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass


class Connection(H11Protocol):
    """Keeps itself findable by the client's address, so that a fault can drop it."""

    open: dict[tuple[str, int], "Connection"] = {}

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if self.client:
            self.open[self.client] = self

    def connection_lost(self, exc: Exception | None) -> None:
        if self.client:
            self.open.pop(self.client, None)
        super().connection_lost(exc)


def app(
    cloud: Cloud, keys: Mapping[str, str], rate_limit: int = RATE_LIMIT, clock: Callable[[], float] = time.monotonic
) -> ASGIApp:
    """The API. keys: of the accounts, by name. rate_limit 0 is none; clock tells seconds."""
    table = [route for family in FAMILIES for route in _routes(family.ROUTES)]
    inside = Starlette(
        routes=[
            Mount("/v2", routes=table),
            *_routes((("GET", "/lab", _lab),)),
            Mount("/lab", routes=_routes(faults.ROUTES)),
        ],
        exception_handlers={404: _http_error, 405: _http_error, 500: _http_error},
    )
    return _Gate(inside, cloud, keys, rate_limit, clock)


class Server(uvicorn.Server):
    """One of several HTTP servers in a process, which handles the signals itself. tls: certificate and key."""

    def __init__(self, asgi: Any, tls: tuple[Path, Path] | None = None) -> None:
        config = uvicorn.Config(
            asgi,
            ssl_certfile=tls[0] if tls else None,
            ssl_keyfile=tls[1] if tls else None,
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        super().__init__(config)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(address: str, port: int, device: str = "") -> socket.socket:
    """A listening TCP socket; with a device only for connections that come in there, so that two labs can both have
    169.254.169.254."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if device:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind((address, port))
    listener.listen(256)
    return listener


async def serve(servers: Sequence[tuple[Server, list[socket.socket]]]) -> None:
    """Runs them until each is told `should_exit`."""
    await asyncio.gather(*(server.serve(sockets) for server, sockets in servers))


def stop(*servers: Server) -> None:
    for one in servers:
        one.should_exit = True
