"""The program that brings alerts to people: each channel is told by itself, and what is not taken is tried again."""

import json
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import requests

from inventories.inventory import CLONE
from tests.post_office import Server, serving

PROGRAM = CLONE / "roles/monitor/tree/usr/local/lib/mainstay/tell.py"


def alert(status: str = "firing", summary: str = "web-1 does not answer") -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": "MainstayHostDown", "severity": "critical", "instance": "web-1"},
        "annotations": {"summary": summary, "description": "Look.", "runbook": "docs/runbooks/host-down.md"},
        "startsAt": "2026-01-01T00:00:00Z",
    }


@pytest.fixture
def office() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def address(office: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where Alertmanager finds it."""
    found = spec_from_file_location("tell", PROGRAM)
    assert found
    assert found.loader
    tell = module_from_spec(found)
    found.loader.exec_module(tell)
    sendmail = tmp_path / "sendmail"
    sendmail.write_text(f"#!/bin/sh\ncat >{tmp_path}/mail\ntest ! -e {tmp_path}/full\n")
    sendmail.chmod(0o755)
    monkeypatch.setattr(tell, "SENDMAIL", (str(sendmail),))
    where = {"site": "prod", "mail": "admins@example.org", "webhook": f"{office.url}/hook", "ping": f"{office.url}/p"}
    monkeypatch.setattr(tell.Teller, "where", where)
    with ThreadingHTTPServer(("127.0.0.1", 0), tell.Teller) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def sent(address: str, channel: str, *alerts: dict[str, Any]) -> int:
    return requests.post(f"{address}/{channel}", json={"alerts": alerts}, timeout=10).status_code


def test_the_webhook_is_told_as_by_the_control_host(address: str, office: Server) -> None:
    assert sent(address, "webhook", alert(), alert("resolved", "web-2 does not answer")) == 200
    [told] = office.messages("/hook")
    assert {*told} == {"site", "time", "state", "began", "ended", "text"}
    assert (told["site"], told["state"]) == ("prod", "failing")
    [began], [ended] = told["began"], told["ended"]
    assert {*began} == {"data_set", "kind", "severity", "what", "to_do", "since"} == {*ended}
    assert began["to_do"] == "Look.  docs/runbooks/host-down.md"
    assert "over: MainstayHostDown: web-2 does not answer" in told["text"]


def test_a_mail_says_it_in_a_line_whatever_a_host_put_into_it(address: str, tmp_path: Path) -> None:
    assert sent(address, "mail", alert(summary="web-1\nBcc: all@example.org")) == 200
    mail = (tmp_path / "mail").read_text()
    assert "Subject: [prod] web-1 Bcc: all@example.org\n" in mail
    assert "To: admins@example.org\n" in mail


def test_the_ping_is_a_ping(address: str, office: Server) -> None:
    assert sent(address, "ping", alert()) == 200
    assert office.got == [("/p", b"")]


@pytest.mark.parametrize("answer", [500, 404, 302])
def test_what_was_not_taken_is_tried_again_and_its_address_is_told_to_nobody(
    address: str, office: Server, capsys: pytest.CaptureFixture[str], answer: int
) -> None:
    office.answers = [answer]
    assert sent(address, "webhook", alert()) == 503
    said = capsys.readouterr().err
    assert f"webhook: 127.0.0.1 answered {answer}" in said
    assert "/hook" not in said.replace("webhook", "")
    assert sent(address, "webhook", alert()) == 200


def test_a_mail_that_is_not_queued_is_tried_again(address: str, tmp_path: Path) -> None:
    (tmp_path / "full").touch()
    assert sent(address, "mail", alert()) == 503


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", json.dumps({"alerts": []}).encode()])
def test_what_is_none_of_alertmanagers_is_refused(address: str, body: bytes) -> None:
    assert requests.post(f"{address}/mail", data=body, timeout=10).status_code == 400
