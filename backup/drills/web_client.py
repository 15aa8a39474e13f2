"""A web server as its clients meet it: by one of its own addresses, under a name that it may share with others."""

import hashlib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address

import requests
from urllib3.exceptions import HTTPError

from backup.drills.checks import Answer, CheckFailed
from inventories import by_name, trusted

SILENCE_S = 30
"""How long a service may say nothing."""
CHUNK = 1 << 20


@dataclass(frozen=True)
class Web:
    """A web server, asked by a name of its own."""

    address: str
    name: str
    trusting: ssl.SSLContext
    port: int = 443

    @cached_property
    def _session(self) -> requests.Session:
        return by_name.session(self.name, self.trusting)

    def certificate(self) -> str:
        """See checks.Client."""
        try:
            return trusted.certificate(self.name, self.address, self.trusting, self.port)
        except OSError as error:
            raise CheckFailed(f"{self.name}: no TLS: {error}") from None

    def get(self, path: str, **headers: str) -> Answer:
        return self._ask("GET", path, headers)

    def head(self, path: str, **headers: str) -> Answer:
        return self._ask("HEAD", path, headers)

    def send(self, method: str, path: str, body: bytes, **headers: str) -> Answer:
        """See checks.Client."""
        return self._ask(method, path, headers, body)

    def sha256(self, path: str, *, first: int = 0) -> tuple[int, str]:
        """See checks.Client."""
        asked = {"Range": f"bytes={first}-"} if first else {}
        with self._sent("GET", path, asked) as answer:
            if answer.status_code not in (200, 206):
                raise CheckFailed(f"GET {path}: {answer.status_code}")
            length, digest = 0, hashlib.sha256()
            for chunk in answer.raw.stream(CHUNK, decode_content=False):
                length += len(chunk)
                digest.update(chunk)
        return length, digest.hexdigest()

    def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with self._sent(method, path, named, body) as answer:
            came = answer.raw.read(decode_content=False)
            return Answer(answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, came)

    @contextmanager
    def _sent(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None = None
    ) -> Iterator[requests.Response]:
        """Raises CheckFailed, also when the answer breaks off while it is read."""
        sent = {"Accept-Encoding": "gzip", "User-Agent": "mainstay"} | headers
        host = f"[{self.address}]" if ip_address(self.address).version == 6 else self.address
        url = f"https://{host}:{self.port}{path}"
        try:
            with self._session.request(
                method, url, data=body, headers=sent, timeout=SILENCE_S, allow_redirects=False, stream=True
            ) as answer:
                yield answer
        except (requests.RequestException, HTTPError) as error:
            raise CheckFailed(f"{method} {path}: no answer: {error}") from None
