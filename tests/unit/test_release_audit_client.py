"""A server that is asked for an audit may say anything: each ends in an answer with an error, within bounds."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from roles.release.tools.audit import client, outside
from roles.release.tools.audit.client import Answer, Ask, NotReached, Server
from roles.release.tools.audit.findings import Kind
from roles.release.tools.audit.truth import Truth

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
LINE = b"260720420 1785977859 16\n"
PATH = "ota/panther/panther-stable"
TRUTH = Truth("c0ffee", {PATH: LINE}, {})
GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n" % len(
    LINE
)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ANSWER_S", 0.4)


def asked(behave: Behaviour, *asks: Ask, address: str = "127.0.0.1") -> dict[Ask, Answer]:
    """Of a server that does so with each request."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (await reader.readuntil(b"\r\n\r\n")) and not writer.is_closing():
                await behave(reader, writer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def both() -> dict[Ask, Answer]:
        server = await asyncio.start_server(serve, address, 0)
        port = server.sockets[0].getsockname()[1]
        try:
            return await client.ask(Server("one", address, port, "release.example.org", None), asks)
        finally:
            server.close()

    return asyncio.run(both())


def says(*parts: bytes) -> Behaviour:
    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(parts))

    return behave


def then_closes(*parts: bytes) -> Behaviour:
    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(parts))
        writer.close()

    return behave


def for_ever(start: bytes, part: bytes, pause_s: float = 0) -> Behaviour:
    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause_s)

    return behave


def kinds(answers: dict[Ask, Answer]) -> list[tuple[Kind, str]]:
    told = outside.metadata_findings("one", TRUTH, answers)
    return [(one.kind, one.found) for one in told if one.path == PATH]


def test_a_good_answer_is_none() -> None:
    answers = asked(says(GOOD, LINE), outside.line_ask(PATH))
    assert kinds(answers) == []
    assert answers[outside.line_ask(PATH)].body == LINE


def test_requests_share_connections_and_one_that_was_closed_is_made_anew() -> None:
    asks = [Ask(f"ota/{number}") for number in range(100)]
    answers = asked(then_closes(GOOD, LINE), *asks)
    assert {answer.status for answer in answers.values()} == {200}
    assert len(answers) == 100


@pytest.mark.parametrize(
    ("behave", "told"),
    [
        pytest.param(for_ever(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 999), "no HTTP: ", id="an endless header"),
        pytest.param(for_ever(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 99), "no HTTP: ", id="endless headers"),
        pytest.param(for_ever(b"", b"HTTP/1.1 103 Early\r\n\r\n"), "no whole answer within", id="endless promises"),
        pytest.param(
            for_ever(b"HTTP/1.1 200 OK\r\n\r\n", b"260720420 " * 99), "more than 1,024 bytes", id="an endless line"
        ),
        pytest.param(
            for_ever(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", b"2", 0.05), "no whole answer", id="a slow one"
        ),
        pytest.param(for_ever(b"HTTP/1.1 200 O", b"", 0.05), "no whole answer within", id="a silent one"),
        pytest.param(
            then_closes(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", LINE), "no HTTP: ", id="shorter than it says"
        ),
        pytest.param(
            then_closes(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"), "no HTTP: ", id="two"
        ),
        pytest.param(then_closes(), "the connection ended without an answer", id="no answer"),
        pytest.param(then_closes(b"\x15\x03\x01\x00\x02\x02\x46"), "no HTTP: ", id="TLS"),
        pytest.param(then_closes(b"SSH-2.0-OpenSSH_10.0\r\n\r\n"), "no HTTP: ", id="ssh"),
        pytest.param(
            then_closes(b"HTTP/1.1 301 Moved\r\nLocation: https://e/\x1b[31m\r\nContent-Length: 0\r\n\r\n"),
            "status 301 to https://e/\\x1b[31m",
            id="a header that steers terminals",
        ),
        pytest.param(
            says(b"HTTP/1.1 301 Moved\r\nLocation: https://example.org/\r\nContent-Length: 0\r\n\r\n"),
            "status 301 to https://example.org/",
            id="a redirect",
        ),
        pytest.param(says(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), "status 500", id="an error"),
        pytest.param(
            says(GOOD.replace(b"text/plain", b"text/html"), LINE), "type text/html", id="another type"
        ),
        pytest.param(
            says(GOOD[:-2], b"Content-Encoding: gzip\r\n\r\n", LINE), "content-encoding gzip", id="compressed"
        ),
        pytest.param(says(GOOD[:-2], b"Set-Cookie: a=b\r\n\r\n", LINE), "set-cookie a=b", id="a cookie"),
        pytest.param(
            then_closes(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: max-age=60\r\n\r\n", LINE),
            "Content-Length None",
            id="no length",
        ),
        pytest.param(
            says(GOOD.replace(b"max-age=60", b"max-age=99999999999999999999"), LINE), "Cache-Control", id="for ever"
        ),
    ],
)  # fmt: skip
def test_a_hostile_answer_is_a_finding(behave: Behaviour, told: str) -> None:
    [(kind, found)] = kinds(asked(behave, outside.line_ask(PATH)))
    assert kind is Kind.ANSWER
    assert found.startswith(told), found
    assert found.isprintable()


def test_a_line_that_is_another_or_none_is_a_finding() -> None:
    other = b"260720421 1785977859 16\n"
    assert kinds(asked(says(GOOD, other), outside.line_ask(PATH)))[0][0] is Kind.DIFFERING
    none = b"<html>\x1b[31m</html>\xff\xfe\n"
    answers = asked(says(GOOD.replace(b"%d" % len(LINE), b"%d" % len(none)), none), outside.line_ask(PATH))
    assert [kind for kind, _ in kinds(answers)] == [Kind.MALFORMED]


def test_a_server_that_never_answers_well_is_given_up() -> None:
    asks = [Ask(f"ota/{number}") for number in range(400)]
    answers = asked(then_closes(b"nonsense\r\n\r\n"), *asks)
    assert client.GIVE_UP_AFTER <= len(answers) < 50


def test_a_server_that_is_not_there_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(NotReached, match=rf"127\.0\.0\.1 port {port}: .*[Rr]efused|Connect call failed"):
        asyncio.run(client.ask(Server("one", "127.0.0.1", port, "release.example.org", None), [Ask("x")]))
