"""A release server as its clients see it: by its own address, under the name that it shares with others."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import requests

from backup.drills.serving import url
from inventories import trusted
from roles.release.archive import BASE
from roles.release.tools.publication import Publication

TIMEOUT_S = 60
"""As long as a phone waits."""


@dataclass(frozen=True)
class Front:
    """What clients of a server connect to: its name, one of its addresses, and whom they trust."""

    name: str
    address: str
    trusting: ssl.SSLContext

    def ask(self, client: requests.Session, method: str, path: str) -> requests.Response:
        """Raises RequestException."""
        return client.request(method, f"https://{self.address}{url(path)}", timeout=TIMEOUT_S, allow_redirects=False)


def look(front: Front, what: Publication) -> list[str]:
    """What of a publication is not as phones should find it: each line and changelog, and each package's length."""
    try:
        with trusted.session(front.name, front.trusting) as client:
            return [*_wrong(front, client, what)]
    except requests.RequestException as error:
        return [f"{front.name} at {front.address}: {error}"]


def _wrong(front: Front, client: requests.Session, what: Publication) -> Iterator[str]:
    for path, text in what.metadata.items():
        answer = front.ask(client, "GET", path)
        kind = answer.headers.get("Content-Type", "").partition(";")[0]
        expected = "text/html" if path.endswith(".html") else "text/plain"
        if (answer.status_code, answer.content, kind) != (200, text.encode(), expected):
            found = f"{answer.status_code}, {kind}, {answer.content[:80]!r}"
            yield f"{path}: {found}; expected 200, {expected}, {text[:80]!r}"
    sizes: dict[str, int | None] = {one.promises: None for one in what.offers if one.channel != BASE}
    sizes |= {one.path: one.size for one in what.packages}
    for path, size in sizes.items():
        answer = front.ask(client, "HEAD", path)
        length = answer.headers.get("Content-Length")
        if answer.status_code != 200 or (size is not None and length != str(size)):
            told = "some" if size is None else size
            yield f"{path}: {answer.status_code}, {length} bytes; expected 200, {told}"
