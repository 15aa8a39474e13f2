"""Brings what Alertmanager says to people: /mail by this host's sendmail, /webhook as JSON, /ping to who watches us.

Answers 200 when it was taken, and 503 when not: Alertmanager then tries again. Addresses are secrets, and stand in no
message. Standard library alone.
"""

import json
import subprocess
import sys
from datetime import UTC, datetime
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

SENDMAIL = ("/usr/sbin/sendmail", "-i", "-t")
MAIL_TIMEOUT_S = 60
TIMEOUT_S = 10
LARGEST = 2_000_000
"""Bytes that Alertmanager may send at once."""


class NotTold(Exception):
    """A channel did not take it."""


class _Stay(HTTPRedirectHandler):
    """A redirection is an error: it would leave the content behind."""

    def redirect_request(self, *_: Any) -> None:
        return


OPENER = build_opener(_Stay())
"""One for all: each has every authority that Debian trusts in memory."""


def said(alert: dict[str, Any]) -> dict[str, str]:
    """An alert for programs and people, as the control host says what it finds."""
    labels, annotations = alert["labels"], alert.get("annotations", {})
    to_do = (annotations.get("description", ""), annotations.get("runbook", ""))
    return {
        "data_set": labels.get("instance", ""),
        "kind": labels.get("alertname", ""),
        "severity": labels.get("severity", ""),
        "what": annotations.get("summary", ""),
        "to_do": "  ".join(word for word in to_do if word),
        "since": alert.get("startsAt", ""),
    }


def payload(site: str, message: dict[str, Any], now: datetime) -> dict[str, Any]:
    """What the webhook gets: the shape of backup/notify.py."""
    alerts = message["alerts"]
    began = [said(alert) for alert in alerts if alert["status"] == "firing"]
    ended = [said(alert) for alert in alerts if alert["status"] == "resolved"]
    lines = [f"{one['kind']}: {one['what']}\n  {one['to_do']}" for one in began]
    lines += [f"over: {one['kind']}: {one['what']}, since {one['since']}" for one in ended]
    return {
        "site": site,
        "time": now.isoformat(timespec="seconds"),
        "state": "failing" if began else "ok",
        "began": began,
        "ended": ended,
        "text": f"{site}: " + "\n".join(lines) + "\n",
    }


def subject(found: dict[str, Any]) -> str:
    """A line, whatever a host put into its labels."""
    first, *more = found["began"] or found["ended"]
    words = ("" if found["began"] else "over: ") + first["what"] + (f" and {len(more)} more" if more else "")
    return " ".join(words.split())


def by_mail(where: dict[str, str], found: dict[str, Any]) -> None:
    message = EmailMessage()
    message["To"] = where["mail"]
    message["Subject"] = f"[{where['site']}] {subject(found)}"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(found["text"])
    try:
        done = subprocess.run(
            SENDMAIL, input=message.as_bytes(), capture_output=True, timeout=MAIL_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotTold(f"{SENDMAIL[0]}: {type(error).__name__}") from None
    if done.returncode:
        raise NotTold(f"{SENDMAIL[0]} exited {done.returncode}: {done.stderr.decode(errors='replace').strip()}")


def post(address: str, body: bytes, kind: str) -> None:
    host, scheme = urlsplit(address).hostname, urlsplit(address).scheme
    if scheme not in ("http", "https"):
        raise NotTold("what is entered as its address is none")
    request = Request(address, body, {"Content-Type": kind, "User-Agent": "mainstay-tell"})  # noqa: S310  # seen above
    try:
        with OPENER.open(request, timeout=TIMEOUT_S):
            pass
    except HTTPError as error:
        raise NotTold(f"{host} answered {error.code}") from None
    except (OSError, ValueError) as error:
        raise NotTold(f"{host} did not answer ({type(error).__name__})") from None


def tell(where: dict[str, str], channel: str, message: dict[str, Any]) -> None:
    """Raises NotTold, and KeyError for a channel that is none."""
    found = payload(where["site"], message, datetime.now(UTC))
    if channel == "mail":
        by_mail(where, found)
    elif channel == "webhook":
        post(where["webhook"], json.dumps(found).encode(), "application/json")
    elif channel == "ping":
        post(where["ping"], b"", "text/plain")
    else:
        raise KeyError(channel)


class Teller(BaseHTTPRequestHandler):
    where: ClassVar[dict[str, str]] = {}

    def do_POST(self) -> None:
        try:
            size = int(self.headers.get("Content-Length", ""))
            if not 0 <= size <= LARGEST:
                raise ValueError("size")
            tell(self.where, self.path.lstrip("/"), json.loads(self.rfile.read(size)))
        except NotTold as error:
            self.answer(503, f"{self.path.lstrip('/')}: {error}; Alertmanager tries again")
        except (KeyError, ValueError, TypeError, IndexError) as error:
            self.answer(400, f"what came is nothing that Alertmanager says: {type(error).__name__}")
        else:
            self.answer(200, "")

    def answer(self, status: int, problem: str) -> None:
        if problem:
            print(problem, file=sys.stderr, flush=True)
        body = f"{problem}\n".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: Alertmanager's own journal has it."""


def main() -> None:
    Teller.where = json.loads(Path(sys.argv[2]).read_text())
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Teller).serve_forever()


if __name__ == "__main__":
    main()
