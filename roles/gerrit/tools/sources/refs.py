"""Refs of a repository as its server tells them to anybody: git's protocol 2 over http, and 0 where a server has no 2.

Format: gitprotocol-v2(5), gitprotocol-http(5). It does what `git ls-remote` does, on connections that are kept: a
process, a handshake and a login prompt less for each of 500 repositories. Only refs that are asked for are sent.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic

import requests

from roles.gerrit.tools.sources import names
from roles.gerrit.tools.sources.findings import Kind, shown

SERVICE = "git-upload-pack"
CONNECT_S, READ_S, WHOLE_S = 10, 30, 120
LARGEST = 64 << 20
"""Bytes of an answer."""
TRIES = 2
TELLING = {401: Kind.PRIVATE, 403: Kind.PRIVATE, 404: Kind.MISSING, 410: Kind.MISSING}


@dataclass(frozen=True)
class Refs:
    """Of a repository: objects by ref, and what annotated tags point to. failure: None where there was an answer."""

    objects: dict[str, str] = field(default_factory=dict)
    peeled: dict[str, str] = field(default_factory=dict)
    failure: Kind | None = None
    said: str = ""

    def commit(self, ref: str) -> str | None:
        """What is checked out by a ref; None where there is no such ref."""
        return self.peeled.get(ref) or self.objects.get(ref)


class _Wrong(Exception):
    """An answer that is none of git's."""


def ask(session: requests.Session, url: str, prefixes: Sequence[str]) -> Refs:
    """Refs that begin so. Asks a second time where there was no answer."""
    if not url.startswith(("http://", "https://")):
        return Refs(failure=Kind.UNASKED, said=f"{url.partition(':')[0]} is not asked")
    refs = Refs()
    for _ in range(TRIES):
        refs = _ask(session, url, prefixes)
        if refs.failure is not Kind.UNREACHABLE:
            break
    return refs


def _ask(session: requests.Session, url: str, prefixes: Sequence[str]) -> Refs:
    version = {"Git-Protocol": "version=2", "Accept-Encoding": "identity"}
    try:
        first, at = _answer(session, "GET", f"{url}/info/refs?service={SERVICE}", version, b"")
        lines = [*_lines(first)]
        if lines[:1] == [f"# service={SERVICE}".encode()]:
            lines = lines[2:]
        if lines[:1] != [b"version 2"]:
            return _listed(lines, prefixes)
        kind = {"Content-Type": f"application/x-{SERVICE}-request", "Accept": f"application/x-{SERVICE}-result"}
        wanted = [b"command=ls-refs", *(one for one in lines if one.startswith(b"object-format="))]
        body = b"".join(map(_line, wanted)) + b"0001" + _line(b"peel")
        body += b"".join(_line(b"ref-prefix " + one.encode()) for one in prefixes) + b"0000"
        base = at.partition("/info/refs")[0]
        second, _ = _answer(session, "POST", f"{base}/{SERVICE}", version | kind, body)
        return _listed(_lines(second), prefixes)
    except _Failed as error:
        return Refs(failure=error.kind, said=shown(error))
    except requests.RequestException as error:
        return Refs(failure=Kind.UNREACHABLE, said=shown(error))
    except (_Wrong, ValueError) as error:
        return Refs(failure=Kind.ANSWER, said=shown(error))


class _Failed(Exception):
    def __init__(self, kind: Kind, said: str) -> None:
        self.kind = kind
        super().__init__(said)


def _answer(
    session: requests.Session, method: str, url: str, headers: dict[str, str], body: bytes
) -> tuple[bytes, str]:
    """Content, and where it came from in the end."""
    with session.request(
        method, url, headers=headers, data=body, stream=True, timeout=(CONNECT_S, READ_S), allow_redirects=not body
    ) as answer:
        if answer.status_code != 200:
            kind = TELLING.get(answer.status_code) or (Kind.UNREACHABLE if answer.status_code >= 500 else Kind.ANSWER)
            raise _Failed(kind, f"status {answer.status_code}")
        content, until = bytearray(), monotonic() + WHOLE_S
        for part in answer.iter_content(1 << 16):
            content += part
            if len(content) > LARGEST:
                raise _Wrong(f"more than {LARGEST:,} bytes of refs")
            if monotonic() > until:
                raise _Failed(Kind.UNREACHABLE, f"an answer that was not whole within {WHOLE_S} s")
        return bytes(content), answer.url


def _line(content: bytes) -> bytes:
    return b"%04x%s\n" % (len(content) + 5, content)


def _lines(content: bytes) -> Iterator[bytes]:
    """Packets of an answer; those that only divide it are empty."""
    at = 0
    while at < len(content) or not content:
        length = content[at : at + 4]
        size = int(length, 16) if len(length) == 4 and length.isalnum() else -1
        if size < 0 or size == 3 or at + size > len(content):
            raise _Wrong(f"no answer of git: {content[at : at + 60]!r}")
        yield content[at + 4 : at + size].rstrip(b"\n") if size > 3 else b""
        at += max(size, 4)


def _listed(lines: Iterator[bytes] | list[bytes], prefixes: Sequence[str]) -> Refs:
    """Of protocol 2: ID NAME[ peeled:ID]; of 0: ID NAME, the first with what the server can behind a zero byte, and
    NAME^{} for what a tag points to."""
    refs = Refs()
    for line in lines:
        if line.startswith(b"ERR "):
            raise _Wrong(line.decode(errors="replace"))
        words = line.partition(b"\0")[0].decode(errors="replace").split(" ")
        if len(words) < 2 or not words[1].startswith(tuple(prefixes)):
            continue
        name = words[1].removesuffix("^{}")
        where = refs.objects if name == words[1] else refs.peeled
        where[name] = _id(words[0])
        for word in words[2:]:
            if word.startswith("peeled:"):
                refs.peeled[name] = _id(word.removeprefix("peeled:"))
    return refs


def _id(word: str) -> str:
    """Of an object: programs are given it, and people are shown it."""
    if not names.is_sha(word):
        raise _Wrong(f"no id of an object: {word!r}")
    return word
