"""The source as anybody sees it, by https: which repositories it lists, and which refs each has.

Repositories: GET /projects/ of Gerrit's REST API, by pages. Refs: gitprotocol-v2(5), command ls-refs, which a server
answers without being asked first what it can: one request for a repository that has not changed, on a connection that
is kept, where `git ls-remote` is a process, a handshake and two requests. Nothing is followed that leads elsewhere.
"""

import http.client
import json
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from urllib.parse import quote, urlsplit

TIMEOUT_S, WHOLE_S = 30, 300
"""Without a byte; of an answer."""
LARGEST = 64 << 20
"""Bytes of an answer."""
PAGE = 500
MOST = 100_000
"""Repositories that are believed."""
MAGIC = b")]}'"
"""What Gerrit puts before JSON."""
BUSY = (429, 502, 503, 504)
KIND = {
    "Content-Type": "application/x-git-upload-pack-request",
    "Accept": "application/x-git-upload-pack-result",
    "Git-Protocol": "version=2",
}


Answer = tuple[int, bytes, str | None]
"""Status, content, and its type."""


class Unreachable(Exception):
    """The source does not answer."""


class Wrong(Exception):
    """The source answers, and not with what was asked for."""


@dataclass(frozen=True)
class Told:
    """What a repository has: objects by ref, and the ref that HEAD leads to, "" for none of these."""

    refs: dict[str, str]
    head: str

    def text(self, prefixes: Sequence[str]) -> str:
        """The same for the same refs, of the same kinds."""
        lines = [" ".join(prefixes), f"HEAD {self.head}"]
        return "\n".join([*lines, *(f"{tip} {name}" for name, tip in sorted(self.refs.items()))]) + "\n"

    @classmethod
    def read(cls, text: str) -> "Told":
        """Of `text`."""
        _, head, *lines = text.splitlines()
        pairs = (line.partition(" ") for line in lines)
        return cls({name: tip for tip, _, name in pairs}, head.removeprefix("HEAD "))


class Source:
    """One connection, for one thread."""

    def __init__(self, url: str, authority: str = "") -> None:
        self._at = urlsplit(url)
        if self._at.scheme != "https":
            raise ValueError(f"{url}: only https is asked")
        self._tls = ssl.create_default_context(cafile=authority or None)
        self._connection: http.client.HTTPSConnection | None = None

    def projects(self) -> list[str]:
        """Names of all repositories that anybody may see. Raises Unreachable, Wrong."""
        found: dict[str, None] = {}
        while True:
            status, content, _ = self._ask("GET", f"/projects/?n={PAGE}&S={len(found)}", {}, b"")
            if status != 200:
                raise Wrong(f"/projects/: status {status}")
            try:
                page = json.loads(content.removeprefix(MAGIC))
            except ValueError:
                raise Wrong("/projects/: no JSON") from None
            if not isinstance(page, dict):
                raise Wrong("/projects/: no list of projects")
            if not page.keys() - found.keys():
                return list(found)
            found |= dict.fromkeys(page)
            if len(found) > MOST:
                raise Wrong(f"/projects/: more than {MOST:,}")

    def refs(self, name: str, prefixes: Sequence[str]) -> Told | None:
        """What a repository has of these; None where the server has no protocol 2. Raises Unreachable, Wrong."""
        body = _line("command=ls-refs") + b"0001" + _line("symrefs")
        body += b"".join(_line(f"ref-prefix {one}") for one in ("HEAD", *prefixes)) + b"0000"
        status, content, kind = self._ask("POST", f"/{quote(name)}/git-upload-pack", KIND, body)
        if status != 200:
            raise Wrong(f"status {status}")
        try:
            lines = [*_lines(content)] if kind == KIND["Accept"] else [b"ERR "]
        except ValueError:
            return None
        if any(line.startswith(b"ERR ") for line in lines):
            return None
        return _told((line.decode(errors="surrogateescape") for line in lines), prefixes)

    def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """A kept connection that the server has closed meanwhile is made anew, once."""
        while True:
            is_kept = self._connection is not None
            try:
                answer = self._once(method, path, headers, body)
            except (OSError, http.client.HTTPException) as error:
                self._close()
                if is_kept and not isinstance(error, TimeoutError):
                    continue
                raise Unreachable(f"{type(error).__name__}: {error}") from None
            if answer[0] in BUSY:
                raise Unreachable(f"status {answer[0]}")
            return answer

    def _once(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if self._connection is None:
            host = self._at.hostname or ""
            self._connection = http.client.HTTPSConnection(host, self._at.port, timeout=TIMEOUT_S, context=self._tls)
        until = monotonic() + WHOLE_S
        self._connection.request(method, self._at.path + path, body or None, headers)
        answer = self._connection.getresponse()
        content = bytearray()
        while part := answer.read1(1 << 16):
            content += part
            if len(content) > LARGEST or monotonic() > until:
                self._close()
                raise Wrong(f"{path}: an answer of more than {LARGEST:,} bytes, or {WHOLE_S} s")
        answer.close()  # so that the connection can be asked again
        return answer.status, bytes(content), answer.getheader("Content-Type")

    def _close(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None


def _told(lines: Iterator[str], prefixes: Sequence[str]) -> Told:
    """ID NAME[ symref-target:NAME], a line each."""
    refs, head = {}, ""
    for line in lines:
        tip, _, rest = line.partition(" ")
        name, *more = rest.split(" ")
        if name.startswith(tuple(prefixes)):
            refs[name] = tip
        elif name == "HEAD":
            head = next((one.removeprefix("symref-target:") for one in more if one.startswith("symref-target:")), "")
    return Told(refs, head if head in refs else "")


def _line(text: str) -> bytes:
    return b"%04x%s\n" % (len(text) + 5, text.encode())


def _lines(content: bytes) -> Iterator[bytes]:
    """Packets of an answer, up to its end. Raises ValueError for what is none."""
    at = 0
    while (size := int(content[at : at + 4], 16)) != 0:
        if size < 4 or at + size > len(content):
            raise ValueError(f"no packet of git: {content[at : at + 4]!r}")
        yield content[at + 4 : at + size].rstrip(b"\n")
        at += size
