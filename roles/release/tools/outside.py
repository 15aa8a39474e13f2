"""A release server as its clients see it: by its own address, under the name that it shares with others."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address

import requests

from backup.drills.serving import url
from inventories import trusted
from roles.release.archive import BASE
from roles.release.tools.publication import Publication

TIMEOUT_S = 60
"""As long as a phone waits."""


@dataclass(frozen=True)
class Front:
    """What clients of a server connect to: its name, and one of its addresses."""

    name: str
    address: str
    trusting: ssl.SSLContext

    @cached_property
    def _session(self) -> requests.Session:
        return trusted.session(self.name, self.trusting)

    def ask(self, method: str, path: str) -> requests.Response:
        """Raises RequestException."""
        host = f"[{self.address}]" if ip_address(self.address).version == 6 else self.address
        return self._session.request(method, f"https://{host}{url(path)}", timeout=TIMEOUT_S, allow_redirects=False)


def look(front: Front, what: Publication) -> list[str]:
    """What of a publication is not as phones should find it: each line and changelog, and each package's length."""
    try:
        return [*_wrong(front, what)]
    except requests.RequestException as error:
        return [f"{front.name} at {front.address}: {error}"]


def _wrong(front: Front, what: Publication) -> Iterator[str]:
    for path, text in what.metadata.items():
        answer = front.ask("GET", path)
        kind = answer.headers.get("Content-Type", "").partition(";")[0]
        expected = "text/html" if path.endswith(".html") else "text/plain"
        if (answer.status_code, answer.content, kind) != (200, text.encode(), expected):
            told = f"{answer.status_code}, {kind}, {answer.content[:80]!r}"
            yield f"{path}: {told}; expected 200, {expected}, {text[:80]!r}"
    sizes: dict[str, int | None] = {one.promises: None for one in what.offers if one.channel != BASE}
    sizes |= {one.path: one.size for one in what.packages}
    for path, size in sizes.items():
        answer = front.ask("HEAD", path)
        length = answer.headers.get("Content-Length")
        if answer.status_code != 200 or (size is not None and length != str(size)):
            yield f"{path}: {answer.status_code}, {length} bytes; expected 200, {'some' if size is None else size}"
