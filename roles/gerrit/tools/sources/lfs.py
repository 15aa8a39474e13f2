"""Large files: whether each pointer in what clients check out is backed by an object of that size and content.

Formats: docs/spec.md and docs/api/batch.md of git-lfs. Files are not downloaded to find pointers: a fetch leaves out
all that is longer than a pointer may be. Nobody is told a name or a password; headers that the LFS server hands out go
to its own host only.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import urljoin, urlsplit

import requests

from roles.gerrit.tools.sources.findings import Kind, shown
from roles.gerrit.tools.sources.git import LOCAL_S, POINTERS, Git, GitError

LONGEST = 1024
"""Bytes that a pointer has less than."""
BATCH = 100
"""Objects that are asked for at once, as git-lfs does."""
MEDIA = "application/vnd.git-lfs+json"
TIMES = (10, 60)
"""Seconds to connect, and between bytes."""
LARGEST = 16 << 20
"""Bytes of a batch's answer."""
_VERSION = re.compile(r"version https://(git-lfs\.github\.com|hawser\.github\.com)/spec/v1")
_OID = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True, order=True)
class Pointer:
    """oid: SHA-256 of the content; size: its bytes."""

    oid: str
    size: int


@dataclass(frozen=True)
class Fault:
    """Of an object; pointer: None where it is the server's."""

    pointer: Pointer | None
    kind: Kind
    found: str
    expected: str


def parsed(content: bytes) -> Pointer | None:
    """A pointer, or None for what is none: keys behind `version` are sorted, `oid` and `size` are needed."""
    if len(content) >= LONGEST or not content.startswith(b"version "):
        return None
    try:
        lines = content.decode().removesuffix("\n").split("\n")
        values = dict(line.split(" ", 1) for line in lines)
    except ValueError:
        return None
    oid, size = _OID.fullmatch(values.get("oid", "")), values.get("size", "")
    if not _VERSION.fullmatch(lines[0]) or not oid or not (size.isascii() and size.isdigit() and len(size) < 19):
        return None
    return Pointer(oid[1], int(size))


def pointers(into: Git, url: str, commit: str) -> dict[str, Pointer]:
    """By path, of all that a checkout of a commit would ask the LFS server for. Raises GitError.

    A file counts when .gitattributes say `filter=lfs`; where one of these is too long to be known here, every pointer.
    """
    into.fetch(url, commit, POINTERS)
    tree = {}
    for line in into.run("ls-tree", "-r", "-z", "--full-tree", commit, timeout_s=LOCAL_S).split(b"\0"):
        about, _, path = line.partition(b"\t")
        if about[:3] == b"100":
            tree[path] = about.split(b" ")[2]
    sizes = _sizes(into)
    small = {oid: sizes[oid] for oid in {*tree.values()} if sizes.get(oid, LONGEST) < LONGEST}
    known = {oid: one for oid, content in _contents(into, small) if (one := parsed(content))}
    found = {path: known[oid] for path, oid in tree.items() if oid in known}
    attributes = [oid for path, oid in tree.items() if path.rpartition(b"/")[2] == b".gitattributes"]
    if found and all(oid in sizes for oid in attributes):
        chosen = _filtered(into, commit, [*found])
        found = {path: one for path, one in found.items() if path in chosen}
    return {path.decode(errors="backslashreplace"): one for path, one in found.items()}


def server(into: Git, url: str, commit: str) -> str:
    """Address of its LFS server: as .lfsconfig of the commit says, or git-lfs's rule. Empty: on another host."""
    beside = f"{url.removesuffix('.git')}.git/info/lfs"
    try:
        said = into.run("config", "--blob", f"{commit}:.lfsconfig", "lfs.url", timeout_s=LOCAL_S).decode().strip()
        at = urljoin(f"{url}/", said).rstrip("/")
        return at if _host(at) == _host(url) else ""
    except GitError:
        return beside
    except ValueError:
        return ""


def address(at: str, one: Pointer) -> str:
    """What an object on a server goes by, which is not where it is downloaded from."""
    return f"{at}/objects/{one.oid}"


def faults(session: requests.Session, at: str, wanted: Sequence[Pointer], *, deep: bool) -> Iterator[Fault]:
    """Of these objects on an LFS server. deep: all their bytes are read."""
    for first in range(0, len(wanted), BATCH):
        asked = wanted[first : first + BATCH]
        try:
            told = _batch(session, at, asked)
        except (requests.RequestException, ValueError, KeyError, TypeError, AttributeError) as error:
            expected = f"where to get {len(asked)} objects, told to anybody"
            yield Fault(None, Kind.LFS_SERVER, f"{_said(error)}, from {at}", expected)
            return
        for one in asked:
            try:
                yield from _fault(session, at, one, told.get(one.oid), deep)
            except (requests.RequestException, ValueError, KeyError, TypeError, AttributeError) as error:
                yield Fault(one, Kind.LFS_SERVER, _said(error), f"{one.size} bytes of {one.oid}")


def _batch(session: requests.Session, at: str, asked: Sequence[Pointer]) -> dict[str, dict[str, object]]:
    """What it says of each. Raises requests' errors and ValueError."""
    order = {
        "operation": "download",
        "transfers": ["basic"],
        "hash_algo": "sha256",
        "objects": [{"oid": one.oid, "size": one.size} for one in asked],
    }
    headers = {"Accept": MEDIA, "Content-Type": MEDIA}
    with session.post(
        f"{at}/objects/batch",
        data=json.dumps(order),
        headers=headers,
        timeout=TIMES,
        allow_redirects=False,
        stream=True,
    ) as answer:
        if answer.status_code != 200:
            raise ValueError(f"status {answer.status_code}")
        content = bytearray()
        for part in answer.iter_content(1 << 16):
            content += part
            if len(content) > LARGEST:
                raise ValueError(f"more than {LARGEST:,} bytes")
    return {str(one["oid"]): one for one in json.loads(content)["objects"]}


def _fault(
    session: requests.Session, at: str, one: Pointer, told: dict[str, object] | None, deep: bool
) -> Iterator[Fault]:
    expected = f"{one.size} bytes of {one.oid}"
    error = told.get("error") if told else None
    if told is None or isinstance(error, dict):
        code, said = (error["code"], error.get("message", "")) if isinstance(error, dict) else (404, "nothing said")
        kind = {404: Kind.LFS_MISSING, 410: Kind.LFS_MISSING, 422: Kind.LFS_SIZE}.get(code, Kind.LFS_SERVER)
        yield Fault(one, kind, shown(f"{code} {said}"), expected)
        return
    if told["size"] != one.size:
        yield Fault(one, Kind.LFS_SIZE, f"{told['size']} bytes", expected)
        return
    actions = told.get("actions")
    if not isinstance(actions, dict):
        yield Fault(one, Kind.LFS_MISSING, "no way to download it", expected)
        return
    action = actions["download"]
    href = urljoin(f"{at}/", str(action["href"]))
    mine = {str(name): str(value) for name, value in (action.get("header") or {}).items()}
    yield from _looked_at(session, href, mine if _host(href) == _host(at) else {}, one, deep)


def _looked_at(
    session: requests.Session, href: str, headers: dict[str, str], one: Pointer, deep: bool
) -> Iterator[Fault]:
    """Not deep: what the server says of its length, and no byte of it."""
    expected = f"{one.size} bytes of {one.oid}"
    plain = {"Accept-Encoding": "identity"}
    with session.get(href, headers=plain | headers, timeout=TIMES, stream=True, allow_redirects=not headers) as answer:
        length = answer.headers.get("Content-Length")
        if answer.status_code in (404, 410):
            yield Fault(one, Kind.LFS_MISSING, f"status {answer.status_code}", expected)
        elif answer.status_code != 200:
            yield Fault(one, Kind.LFS_SERVER, f"status {answer.status_code}", expected)
        elif length is not None and int(length) != one.size:
            yield Fault(one, Kind.LFS_SIZE, f"{length} bytes", expected)
        elif deep:
            size, digest = 0, sha256()
            for part in answer.iter_content(1 << 18):
                size += len(part)
                digest.update(part)
                if size > one.size:
                    break
            if size != one.size:
                yield Fault(one, Kind.LFS_SIZE, f"{size} bytes{' or more' if size > one.size else ''}", expected)
            elif digest.hexdigest() != one.oid:
                yield Fault(one, Kind.LFS_CONTENT, f"SHA-256 {digest.hexdigest()}", expected)


def _sizes(into: Git) -> dict[bytes, int]:
    """Of all files that were fetched."""
    shape = "--batch-check=%(objectname) %(objecttype) %(objectsize)"
    told = into.run("cat-file", shape, "--batch-all-objects", timeout_s=LOCAL_S).split(b"\n")
    words = (line.split(b" ") for line in told if line)
    return {oid: int(size) for oid, kind, size in words if kind == b"blob"}


def _contents(into: Git, small: dict[bytes, int]) -> Iterator[tuple[bytes, bytes]]:
    out = into.run("cat-file", "--batch=", stdin=b"".join(oid + b"\n" for oid in small), timeout_s=LOCAL_S)
    at = 0
    for oid, size in small.items():
        yield oid, out[at + 1 : at + 1 + size]
        at += size + 2


def _filtered(into: Git, commit: str, paths: list[bytes]) -> set[bytes]:
    """Those that go through git-lfs."""
    into.run("read-tree", commit, timeout_s=LOCAL_S)
    asked = b"".join(path + b"\0" for path in paths)
    told = into.run("check-attr", "--cached", "-z", "--stdin", "filter", stdin=asked, timeout_s=LOCAL_S).split(b"\0")
    return {path for path, value in zip(told[::3], told[2::3], strict=False) if value == b"lfs"}


def _said(error: Exception) -> str:
    """Without the address of a download, which may hold a token."""
    return type(error).__name__ if isinstance(error, requests.RequestException) else shown(repr(error))


def _host(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port
