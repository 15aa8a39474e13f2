"""A release server as its clients see it: by its own address, under the name that it shares with others."""

from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse

from backup.drills.serving import url
from roles.release.archive import BASE
from roles.release.tools.publication import Publication

TIMEOUT_S = 60
"""As long as a phone waits."""


@dataclass(frozen=True)
class Front:
    """What clients of a server connect to: its name, and one of its addresses."""

    name: str
    address: str

    def connect(self) -> HTTPConnection:
        """A connection that asks for the name at that address."""
        return HTTPConnection(self.address, timeout=TIMEOUT_S)

    def ask(self, connection: HTTPConnection, method: str, path: str) -> HTTPResponse:
        """Raises OSError and HTTPException."""
        connection.request(method, url(path), headers={"Host": self.name})
        return connection.getresponse()


def look(front: Front, what: Publication) -> list[str]:
    """What of a publication is not as phones should find it: each line and changelog, and each package's length."""
    try:
        return [*_wrong(front, what)]
    except (OSError, HTTPException) as error:
        return [f"{front.name} at {front.address}: {error or type(error).__name__}"]


def _wrong(front: Front, what: Publication) -> Iterator[str]:
    connection = front.connect()
    try:
        for path, text in what.metadata.items():
            answer = front.ask(connection, "GET", path)
            body = answer.read()
            kind = answer.headers.get_content_type()
            expected = "text/html" if path.endswith(".html") else "text/plain"
            if (answer.status, body, kind) != (200, text.encode(), expected):
                yield f"{path}: {answer.status}, {kind}, {body[:80]!r}; expected 200, {expected}, {text[:80]!r}"
        sizes: dict[str, int | None] = {one.promises: None for one in what.offers if one.channel != BASE}
        sizes |= {one.path: one.size for one in what.packages}
        for path, size in sizes.items():
            answer = front.ask(connection, "HEAD", path)
            answer.read()
            length = answer.headers.get("Content-Length")
            if answer.status != 200 or (size is not None and length != str(size)):
                yield f"{path}: {answer.status}, {length} bytes; expected 200, {'some' if size is None else size}"
    finally:
        connection.close()
