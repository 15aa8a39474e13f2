"""The client, against a real HTTP server that answers what a test tells it to."""

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tenacity import wait_random_exponential

from cloud import client as module
from cloud.client import Client, CloudError

Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]]
LOST = 0
"""Status that stands for: the server drops the connection without an answer."""


class Provider:
    """Answers requests by `answer(method, path, query, body)`, and remembers them."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self.answer: Callable[[str, str, dict[str, str], Any], Answer] = lambda *_: (200, {})
        self.things: list[dict[str, Any]] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                url = urlsplit(self.path)
                path = url.path.removeprefix("/v2")
                query = {key: values[0] for key, values in parse_qs(url.query).items()}
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                provider.requests.append((self.command, path))
                status, body, *headers = provider.answer(self.command, path, query, json.loads(raw or b"null"))
                if status == LOST:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                    return
                content = json.dumps(body).encode() if status != 204 else b""
                self.send_response(status)
                for name, value in (headers[0] if headers else {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = do_DELETE = handle_one  # noqa: N815

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def count(self, method: str, path: str = "/things") -> int:
        return self.requests.count((method, path))

    def script(self, *answers: Answer) -> None:
        """Answers in this order, the last one for ever."""
        left = list(answers)
        self.answer = lambda *_: left.pop(0) if len(left) > 1 else left[0]

    def find(self, api: Client) -> Callable[[], dict[str, Any] | None]:
        return lambda: next(iter(api.list("/things", "things")), None)


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.server.shutdown()
    provider.server.server_close()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def api(provider: Provider, said: list[str], monkeypatch: pytest.MonkeyPatch) -> Client:
    """Impatient, so that tests are quick."""
    monkeypatch.setattr(module, "SETTLE_S", 0.2)
    monkeypatch.setattr(module, "_full_jitter", wait_random_exponential(multiplier=0.001, max=0.01))
    url = f"http://127.0.0.1:{provider.server.server_port}/v2"
    return Client(url, "KEY", requests_per_second=1000, report=said.append)


def test_all_pages_of_a_list_are_read(provider: Provider, api: Client) -> None:
    pages = {"": ([1, 2], "two"), "two": ([3], "three"), "three": ([4], "")}

    def answer(_method: str, _path: str, query: dict[str, str], _body: Any) -> Answer:
        items, following = pages[query.get("cursor", "")]
        return 200, {"things": [{"n": n} for n in items], "meta": {"links": {"next": following}}}

    provider.answer = answer
    assert [item["n"] for item in api.list("/things", "things")] == [1, 2, 3, 4]


def test_retry_after_is_honoured_by_every_request(provider: Provider, api: Client) -> None:
    provider.script((429, {"error": "Too many requests", "status": 429}, {"Retry-After": "1"}), (200, {"ok": True}))
    begun = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(api.get, "/things")
        while not provider.requests:
            time.sleep(0.005)
        time.sleep(0.05)
        second = pool.submit(api.get, "/other")
    assert first.result() == second.result() == {"ok": True}
    assert time.monotonic() - begun >= 1
    assert provider.requests[1][1] in ("/things", "/other")


def test_a_longer_pause_than_anyone_waits_is_an_error_at_once(provider: Provider, api: Client) -> None:
    provider.script((429, {"error": "Too many requests", "status": 429}, {"Retry-After": "3600"}))
    for _ in range(2):
        with pytest.raises(CloudError, match="GET /things: 429 Too many requests; asks to wait 3600 s"):
            api.get("/things")
    assert provider.count("GET") == 2


def test_a_long_pause_is_told(
    provider: Provider, api: Client, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TELL_S", 1)
    provider.script((429, {"error": "Too many requests", "status": 429}, {"Retry-After": "1"}), (200, {"ok": True}))
    api.get("/things")
    assert re.fullmatch(r"GET /things: 429 Too many requests; asks to wait 1 s; attempt 2 in 1\.\d s", said[0])


def test_a_passing_error_is_retried_until_it_passes(provider: Provider, api: Client) -> None:
    locked = (500, {"error": "Server is currently locked", "status": 500})
    provider.script(locked, (LOST, None), (503, {"error": "down"}), (204, None))
    api.patch("/things/1", label="x")
    assert provider.count("PATCH", "/things/1") == 4


def test_a_refusal_is_not_retried_and_carries_the_providers_words(provider: Provider, api: Client) -> None:
    provider.script((400, {"error": "Invalid plan chosen.", "status": 400}))
    with pytest.raises(CloudError) as error:
        api.get("/things")
    assert str(error.value) == "GET /things: 400 Invalid plan chosen."
    assert provider.count("GET") == 1
    assert "KEY" not in str(error.value)


@pytest.mark.parametrize("call", ["get", "create"])
def test_a_key_that_cannot_be_sent_is_not_shown_and_not_retried(
    provider: Provider, said: list[str], monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(module, "GIVE_UP_AFTER_S", 0.1)
    api = Client(f"http://127.0.0.1:{provider.server.server_port}/v2", "S3CRET\n", report=said.append)
    with pytest.raises(CloudError) as error:
        _ = api.get("/things") if call == "get" else api.create("/things", "thing", {}, provider.find(api))
    assert "S3CRET" not in f"{error.value}{error.value.__cause__}{said}"
    assert "InvalidHeader" in str(error.value)
    assert not error.value.passing
    assert not error.value.doubtful
    assert said == []


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/v2", "127.0.0.1/v2", "http:///v2"])
def test_an_address_that_cannot_be_called_is_final(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(module, "GIVE_UP_AFTER_S", 0.1)
    with pytest.raises(CloudError, match=f"cannot be sent to {url}: ") as error:
        Client(url, "KEY").get("/things")
    assert not error.value.passing


def test_an_error_in_an_answer_of_status_200_is_an_error(provider: Provider, api: Client) -> None:
    provider.script((200, {"error": "Unable to comply", "status": 412}))
    with pytest.raises(CloudError, match="412 Unable to comply"):
        api.get("/things")


def test_it_gives_up_in_the_end(provider: Provider, api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GIVE_UP_AFTER_S", 0.1)
    provider.script((500, {"error": "Server is currently locked", "status": 500}))
    with pytest.raises(CloudError, match="Server is currently locked"):
        api.get("/things")


def test_an_address_that_never_answered_is_given_up_sooner_and_told_in_few_words(
    provider: Provider, api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NEVER_ANSWERED_S", 0)
    with pytest.raises(CloudError, match=r"^GET /regions: no answer from \S+: \[Errno 111\] Connection refused$"):
        Client("http://127.0.0.1:1/v2", "key").get("/regions")
    answers: list[Answer] = [(200, {}), (LOST, {}), (200, {"ok": True})]
    provider.answer = lambda *_: answers.pop(0)
    api.get("/regions")
    assert api.get("/regions") == {"ok": True}


def test_a_plain_post_is_not_repeated_when_it_may_have_worked(provider: Provider, api: Client) -> None:
    provider.script((LOST, None))
    with pytest.raises(CloudError, match="no answer"):
        api.post("/things")
    assert provider.count("POST") == 1


def test_a_lost_response_creates_no_second_thing(provider: Provider, api: Client) -> None:
    def answer(method: str, _path: str, _query: dict[str, str], body: Any) -> Answer:
        if method == "POST":
            provider.things.append(body)
            return LOST, None
        return 200, {"things": provider.things}

    provider.answer = answer
    assert api.create("/things", "thing", {"label": "a"}, provider.find(api)) == {"label": "a"}
    assert provider.count("POST") == 1


def test_a_creation_that_shows_up_late_is_still_found(provider: Provider, api: Client) -> None:
    def answer(method: str, _path: str, _query: dict[str, str], body: Any) -> Answer:
        if method == "POST":
            threading.Timer(0.1, provider.things.append, [body]).start()
            return 500, {"error": "Server is currently locked", "status": 500}
        return 200, {"things": provider.things}

    provider.answer = answer
    assert api.create("/things", "thing", {"label": "a"}, provider.find(api)) == {"label": "a"}
    assert provider.count("POST") == 1


def test_an_answer_that_never_comes_creates_no_second_thing(
    provider: Provider, api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READ_S", 0.2)
    ended = threading.Event()

    def answer(method: str, _path: str, _query: dict[str, str], body: Any) -> Answer:
        if method == "POST":
            provider.things.append(body)
            ended.wait(30)
            return LOST, None
        return 200, {"things": provider.things}

    provider.answer = answer
    assert api.create("/things", "thing", {"label": "a"}, provider.find(api)) == {"label": "a"}
    ended.set()
    assert provider.count("POST") == 1


def test_a_creation_that_was_not_carried_out_is_tried_again(provider: Provider, api: Client) -> None:
    answers: list[Answer] = [
        (429, {"error": "Too many requests"}, {"Retry-After": "0"}),
        (500, {"error": "Server is currently locked"}),
        (201, {"thing": {"label": "a"}}),
    ]
    provider.answer = lambda method, *_: answers.pop(0) if method == "POST" else (200, {"things": []})
    assert api.create("/things", "thing", {"label": "a"}, provider.find(api)) == {"label": "a"}
    assert provider.count("POST") == 3


def test_a_429_needs_no_look_up(provider: Provider, api: Client) -> None:
    provider.script((429, {"error": "Too many requests"}), (201, {"thing": {"label": "a"}}))
    api.create("/things", "thing", {"label": "a"}, provider.find(api))
    assert provider.count("GET") == 0


def test_a_change_in_place_is_not_repeated_when_it_was_made(provider: Provider, api: Client) -> None:
    provider.script((LOST, None))
    api.ensure("/things/1/attach", {}, lambda: True)
    assert provider.count("POST", "/things/1/attach") == 1


def test_what_is_so_already_and_what_is_gone_already_are_no_errors(provider: Provider, api: Client) -> None:
    provider.script((400, {"error": "Nothing to change", "status": 400}))
    api.change("/things/1", label="x")
    provider.script((404, {"error": "Invalid id", "status": 404}))
    api.remove("/things/1")
    assert provider.requests[-2:] == [("DELETE", "/things/1"), ("GET", "/things/1")]


def test_a_404_of_what_a_thing_hangs_on_is_not_taken_for_its_end(provider: Provider, api: Client) -> None:
    of_its_host = (404, {"error": "Invalid instance ID.", "status": 404})
    provider.script(of_its_host, (200, {"block": {}}), of_its_host, (200, {"block": {}}), (204, None))
    api.remove("/blocks/1")
    assert provider.count("DELETE", "/blocks/1") == 3


def test_requests_keep_to_the_rate_limit_across_threads(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    sleep = time.sleep

    def recorded(seconds: float) -> None:
        pauses.append(seconds)
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", recorded)
    api = Client(f"http://127.0.0.1:{provider.server.server_port}/v2", "KEY", requests_per_second=30)
    begun = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: api.get("/things"), range(30)))
    assert set(pauses) == {0.0}, "as many as are allowed in a second go at once"
    api.get("/things")
    assert time.monotonic() - begun >= 1


def test_waiting_shows_each_state_once_and_ends(provider: Provider, api: Client, said: list[str]) -> None:
    provider.script((200, {"s": "pending"}), (200, {"s": "pending"}), (200, {"s": "booting"}), (200, {"s": ""}))
    api.wait("host/web-1", lambda: api.get("/things"), lambda item: str(item["s"]))
    assert [line.split(" (")[0] for line in said] == ["host/web-1: pending", "host/web-1: booting"]


def test_waiting_ends_with_the_last_state(provider: Provider, api: Client) -> None:
    provider.script((200, {"s": "pending"}))
    with pytest.raises(CloudError, match="host/web-1: still pending after"):
        api.wait("host/web-1", lambda: api.get("/things"), lambda item: str(item["s"]), timeout_s=0.1)
