"""A release server asked as clients ask, many requests in flight, by its own address under the name that it shares.

HTTP/1.1 as h11 reads it, which is strict; a server that says too much, too slowly or nonsense is an answer with an
error, and one that does so again and again is given up.
"""

import asyncio
import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import h11

from backup.drills.serving import url
from backup.sizes import clean

AT_ONCE = 16
"""Connections to each server."""
CONNECT_S, ANSWER_S = 5.0, 15.0
GIVE_UP_AFTER = 8
"""Requests without a proper answer, after which a server is asked nothing more."""
HEADERS_AT_MOST = 32 << 10
READ = 64 << 10
DIGITS = 15
"""Of a length that is one."""


class NotReached(Exception):
    """No connection could be made; says why."""


@dataclass(frozen=True)
class Server:
    """name: of the host; authority: what clients call it. tls: None for plain http."""

    name: str
    address: str
    port: int
    authority: str
    tls: ssl.SSLContext | None


@dataclass(frozen=True)
class Ask:
    """A request. path: without its first slash; body_at_most: in bytes, more is an error."""

    path: str
    method: str = "GET"
    range: str = ""
    body_at_most: int = 1 << 20


@dataclass(frozen=True)
class Answer:
    """headers: by their names in lower case. error: why there is no proper answer, else empty."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    error: str = ""

    @property
    def length(self) -> int | None:
        """Content-Length in bytes."""
        said = self.headers.get("content-length", "")
        return int(said) if said.isascii() and said.isdigit() and len(said) <= DIGITS else None

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


async def ask(server: Server, asked: Sequence[Ask]) -> dict[Ask, Answer]:
    """The answer to each; none to those that were not asked any more. Raises NotReached."""
    todo = iter(dict.fromkeys(asked))
    found: dict[Ask, Answer] = {}
    first = _Connection(server)
    await first.open()
    others = (_Connection(server) for _ in range(min(AT_ONCE, len(asked)) - 1))
    await asyncio.gather(*(_work(one, todo, found) for one in (first, *others)))
    return found


async def _work(connection: "_Connection", todo: Iterator[Ask], found: dict[Ask, Answer]) -> None:
    try:
        for one in todo:
            found[one] = await connection.answer(one)
            if sum(1 for answer in found.values() if answer.error) >= GIVE_UP_AFTER:
                return
    finally:
        connection.close()


class _Connection:
    """One that is kept open from request to request, and made anew when the server has closed it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None
        self.state = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEADERS_AT_MOST)

    async def open(self) -> None:
        """Raises NotReached."""
        server = self.server
        try:
            async with asyncio.timeout(CONNECT_S):
                self.reader, self.writer = await asyncio.open_connection(
                    server.address,
                    server.port,
                    ssl=server.tls,
                    server_hostname=server.authority if server.tls else None,
                )
        except TimeoutError:
            raise NotReached(f"{server.address} port {server.port}: no answer within {CONNECT_S:g} s") from None
        except ssl.SSLCertVerificationError as error:
            raise NotReached(f"certificate of {server.address}: {error.verify_message}") from None
        except ssl.SSLError as error:
            raise NotReached(f"{server.address} port {server.port}: {error.strerror or error}") from None
        except OSError as error:  # asyncio's own words name the address again
            said = os.strerror(error.errno) if error.errno else str(error)
            raise NotReached(f"{server.address} port {server.port}: {said}") from None
        self.state = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEADERS_AT_MOST)

    def close(self) -> None:
        if self.writer:
            self.writer.close()
        self.reader = self.writer = None

    async def answer(self, one: Ask) -> Answer:
        """What comes, within ANSWER_S from the first word to the last."""
        was_open = self.writer is not None
        try:
            async with asyncio.timeout(ANSWER_S):
                try:
                    return await self._answer(one)
                except (ConnectionError, _Closed):
                    if not was_open:
                        raise
                    self.close()  # kept for too long
                    return await self._answer(one)
        except TimeoutError:
            said = f"no whole answer within {ANSWER_S:g} s"
        except h11.RemoteProtocolError as error:
            said = f"no HTTP: {clean(str(error))}"
        except NotReached as error:
            said = str(error)
        except (OSError, _Closed, _TooMuch) as error:
            said = str(error) or type(error).__name__
        self.close()
        return Answer(error=said)

    async def _answer(self, one: Ask) -> Answer:
        if self.writer is None:
            await self.open()
        assert self.writer
        assert self.reader
        headers = [("Host", self.server.authority), ("User-Agent", "mainstay-audit"), ("Accept-Encoding", "gzip")]
        if one.range:
            headers[-1] = ("Range", one.range)
        request = h11.Request(method=one.method, target=url(f"/{one.path}"), headers=headers)
        self.writer.write((self.state.send(request) or b"") + (self.state.send(h11.EndOfMessage()) or b""))
        status, said, body = 0, {}, b""
        while True:
            event = self.state.next_event()
            if event is h11.NEED_DATA:
                read = await self.reader.read(READ)
                if not read and not status:
                    raise _Closed("the connection ended without an answer")
                self.state.receive_data(read)
            elif isinstance(event, h11.Response):
                status, said = event.status_code, _joined(event)
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > one.body_at_most:
                    raise _TooMuch(f"more than {one.body_at_most:,} bytes")
            elif isinstance(event, h11.EndOfMessage):
                break
        with suppress(h11.LocalProtocolError):
            self.state.start_next_cycle()
            return Answer(status, said, body)
        self.close()
        return Answer(status, said, body)


class _Closed(Exception):
    """The server ended the connection before it answered."""


class _TooMuch(Exception):
    """More came than such an answer has."""


def _joined(event: h11.Response) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in event.headers:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found
