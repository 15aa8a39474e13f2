"""The program that takes the journals of hosts: who may send, to where, and that nothing else can be done."""

import http.client
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import SecretStr

from inventories import monitoring
from inventories.inventory import CLONE
from tests.waiting import until

PROGRAM = CLONE / "roles/monitor/tree/usr/local/lib/mainstay/journals.py"
HOSTS = ("web-1", "web-2")
ENTRY = b"MESSAGE=hello\n\n"


@pytest.fixture
def journals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """With a writer that keeps what it is given."""
    found = spec_from_file_location("journals", PROGRAM)
    assert found
    assert found.loader
    made = module_from_spec(found)
    found.loader.exec_module(made)
    remote = tmp_path / "remote"
    remote.write_text('#!/bin/sh\nexec cat >>"${1#--output=}"\n')
    remote.chmod(0o755)
    monkeypatch.setattr(made, "REMOTE", str(remote))
    return made


@dataclass
class Taking:
    """The server, and who comes to it."""

    folder: Path
    port: int
    authority: str
    key: SecretStr

    def context(self, host: str = "") -> ssl.SSLContext:
        """Of a client with that host's certificate, if any."""
        made = ssl.create_default_context(cadata=self.authority)
        if host:
            own = monitoring.issued(self.authority, self.key, (host,), datetime.now(UTC))
            both = self.folder.parent / f"{host}.pem"
            both.write_text(own.key.get_secret_value() + own.certificate)
            made.load_cert_chain(both)
        return made

    def send(self, context: ssl.SSLContext, *pieces: bytes, method: str = "POST", path: str = "/upload") -> int:
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=10)
        connection.request(method, path, iter(pieces) if pieces else None, encode_chunked=bool(pieces))
        return connection.getresponse().status

    def kept(self, host: str) -> bytes:
        path = self.folder / host / "remote.journal"
        return path.read_bytes() if path.exists() else b""


@pytest.fixture
def taking(journals: ModuleType, tmp_path: Path) -> Iterator[Taking]:
    key = SecretStr(monitoring._new_key())
    authority = monitoring._authority(monitoring._key(key), "s", datetime.now(UTC))
    own = monitoring.issued(authority, key, ("monitor-1", "127.0.0.1"), datetime.now(UTC))
    for name, text in (("key", own.key.get_secret_value()), ("pem", own.certificate), ("ca", authority)):
        (tmp_path / name).write_text(text)
    folder = tmp_path / "remote-journals"
    folder.mkdir()
    tls = journals.context(*(str(tmp_path / name) for name in ("key", "pem", "ca")))
    with journals.Server(0, tls, journals.Journals(folder, [*HOSTS])) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield Taking(folder, server.server_port, authority, key)
        server.shutdown()


def test_what_a_host_sends_goes_to_its_own_folder(taking: Taking) -> None:
    assert taking.send(taking.context("web-1"), ENTRY, ENTRY) == 202
    assert taking.send(taking.context("web-2"), ENTRY) == 202
    assert (taking.kept("web-1"), taking.kept("web-2")) == (2 * ENTRY, ENTRY)


def test_one_connection_is_enough_for_all_that_a_host_sends(taking: Taking) -> None:
    connection = http.client.HTTPSConnection("127.0.0.1", taking.port, context=taking.context("web-1"), timeout=10)
    for _ in range(3):
        connection.request("POST", "/upload", iter([ENTRY]), encode_chunked=True)
        answer = connection.getresponse()
        answer.read()
        assert (answer.status, answer.will_close) == (202, False)
    assert taking.kept("web-1") == 3 * ENTRY


def test_nothing_can_be_done_but_to_add(taking: Taking) -> None:
    own = taking.context("web-1")
    assert taking.send(own, ENTRY) == 202
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        assert taking.send(own, method=method) == 501
    for path in ("/", "/upload/../web-2", "/browse"):
        assert taking.send(own, path=path) == 404
    assert taking.kept("web-1") == ENTRY
    assert sorted(path.name for path in taking.folder.iterdir()) == ["web-1"]


def test_strangers_are_not_let_in(taking: Taking) -> None:
    other = monitoring._new_key()
    theirs = monitoring._authority(monitoring._key(SecretStr(other)), "s", datetime.now(UTC))
    stranger = Taking(taking.folder, taking.port, theirs, SecretStr(other)).context("web-1")
    stranger.load_verify_locations(cadata=taking.authority)
    for context in (taking.context(), stranger):
        with pytest.raises((ssl.SSLError, OSError)):
            taking.send(context, ENTRY)
    assert taking.send(taking.context("gone-1")) == 403
    assert [*taking.folder.iterdir()] == []


def test_a_connection_that_was_lost_is_replaced_by_the_next(taking: Taking) -> None:
    context = taking.context("web-1")
    lost = http.client.HTTPSConnection("127.0.0.1", taking.port, context=context, timeout=10)
    lost.putrequest("POST", "/upload")
    lost.putheader("Transfer-Encoding", "chunked")
    lost.endheaders()
    lost.send(b"%x\r\n%s\r\n" % (len(ENTRY), ENTRY))
    until("it has come", lambda: taking.kept("web-1") == ENTRY)
    assert taking.send(context, ENTRY) == 202
    assert taking.kept("web-1") == 2 * ENTRY


def test_what_is_no_upload_is_refused(taking: Taking) -> None:
    context = taking.context("web-1")
    connection = http.client.HTTPSConnection("127.0.0.1", taking.port, context=context, timeout=10)
    connection.request("POST", "/upload", headers={"Content-Length": "-1"})
    assert connection.getresponse().status == 411


def test_when_something_came_last_is_measured(journals: ModuleType, tmp_path: Path) -> None:
    made = journals.Journals(tmp_path, [*HOSTS])
    made.hear("web-1")
    lines = made.metrics().splitlines()
    assert float(lines[-2].rpartition(" ")[2]) > 0
    assert lines[-1] == 'mainstay_journal_time_seconds{host="web-2"} 0'
