"""Answers a DNS challenge for certbot by the provider's API: writes the TXT record, waits until it is seen, removes it.

    dns_challenge.py add | remove    certbot's hooks; CERTBOT_DOMAIN and CERTBOT_VALIDATION say what for
    dns_challenge.py sweep           removes what earlier runs have left, whatever became of them

API, zone and a key that may change DNS and nothing else: /etc/mainstay/certificate/dns.json. What is written is noted
before it is made.
"""

import json
import os
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

PLAN = Path("/etc/mainstay/certificate")
NOTES = Path("/var/lib/mainstay/tls/acme/dns_records.json")
TTL_S = 120
"""The provider's least."""
PATIENCE_S = 300
LOOK_EVERY_S = 2
TRIES = 5
SILENCE_S = 30
BUSY = (429, 500, 502, 503, 504)


class Failure(Exception):
    """What went wrong, for people."""


class Zone:
    """The site's zone at the provider."""

    def __init__(self, told: dict[str, str]) -> None:
        self.name, self._url, self._key = told["zone"], told["api_url"].rstrip("/"), told["key"]
        authority = PLAN / "provider.pem"
        self._tls = ssl.create_default_context(cafile=str(authority) if authority.exists() else None)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer of a call that must succeed; one that the provider has no time for is tried again."""
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        url = f"{self._url}/domains/{self.name}{path}"
        data = None if body is None else json.dumps(body).encode()
        for attempt in range(TRIES):
            request = Request(url, data, headers, method=method)  # noqa: S310  # the inventory's own, https
            try:
                context = self._tls if url.startswith("https:") else None
                with urlopen(request, timeout=SILENCE_S, context=context) as answer:  # noqa: S310
                    content = answer.read()
                return json.loads(content) if content else None
            except HTTPError as error:
                problem = f"{error.code} {error.read(200).decode(errors='replace')}"
                if error.code not in BUSY:
                    raise Failure(f"{method} {url}: {problem}") from None
            except (URLError, OSError) as error:
                problem = str(error)
            time.sleep(2**attempt)
        raise Failure(f"{method} {url}: {problem}")

    def records(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = self.call("GET", f"/records?{urlencode({'per_page': 500, 'cursor': cursor})}")
            found += page["records"]
            cursor = page["meta"]["links"]["next"]
            if not cursor:
                return found

    def add(self, name: str, value: str) -> None:
        self.call("POST", "/records", {"name": name, "type": "TXT", "data": f'"{value}"', "ttl": TTL_S})

    def remove(self, wanted: list[tuple[str, str]]) -> None:
        for record in self.records():
            if record["type"] == "TXT" and (record["name"], record["data"].strip('"')) in wanted:
                self.call("DELETE", f"/records/{record['id']}")

    def name_servers(self) -> list[str]:
        return [one["data"].rstrip(".") for one in self.records() if one["type"] == "NS" and not one["name"]]


def label(domain: str, zone: str) -> str:
    """The name of a challenge's record within its zone. Raises Failure."""
    full = f"_acme-challenge.{domain}"
    if not full.endswith(f".{zone}"):
        raise Failure(f"{domain} is not in the zone {zone}")
    return full.removesuffix(f".{zone}")


def shows(server: str, name: str, value: str) -> bool:
    words = ["dig", "+short", "+tries=1", "+time=3", "+norecurse", f"@{server}", "TXT", name]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return value in done.stdout.replace('"', "").split()


def wait(zone: Zone, name: str, value: str) -> None:
    """Until each of the zone's name servers answers with the value. Raises Failure."""
    end = time.monotonic() + PATIENCE_S
    waiting = zone.name_servers()
    if not waiting:
        raise Failure(f"{zone.name} has no name servers at the provider")
    while waiting := [server for server in waiting if not shows(server, name, value)]:
        if time.monotonic() > end:
            raise Failure(f"{name}: not answered by {', '.join(waiting)} within {PATIENCE_S} s")
        time.sleep(LOOK_EVERY_S)


def noted() -> list[tuple[str, str]]:
    try:
        return [(name, value) for name, value in json.loads(NOTES.read_text())]
    except (FileNotFoundError, ValueError):
        return []


def note(records: list[tuple[str, str]]) -> None:
    """Keeps in mind what has to be removed, also after a loss of power."""
    fresh = NOTES.with_suffix(".new")
    with fresh.open("w") as out:
        json.dump(records, out)
        out.flush()
        os.fsync(out.fileno())
    fresh.rename(NOTES)


def main(words: list[str]) -> None:
    os.umask(0o077)
    told = PLAN / "dns.json"
    if words == ["sweep"] and not (told.exists() and noted()):
        return
    zone = Zone(json.loads(told.read_text()))
    if words == ["sweep"]:
        zone.remove(noted())
        NOTES.unlink()
        return
    domain, value = os.environ["CERTBOT_DOMAIN"], os.environ["CERTBOT_VALIDATION"]
    record = (label(domain, zone.name), value)
    if words == ["add"]:
        note([*noted(), record])
        zone.add(*record)
        wait(zone, f"_acme-challenge.{domain}", value)
    elif words == ["remove"]:
        zone.remove([record])
        note([one for one in noted() if one != record])
    else:
        raise Failure(f"unknown: {' '.join(words)}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Failure as error:
        sys.exit(str(error))
