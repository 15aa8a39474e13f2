"""What programs on web servers share that put content there: the standard library only, sent over ssh (servers.py).

Such a program answers a line of JSON to each line of JSON, as long as the connection lasts; `{"progress": BYTES}` comes
in between. The server's lock goes with the connection: a publisher that died holds up nobody.
"""

import ctypes
import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

BLOCK = 4 << 20
TELL_BYTES = 64 << 20
LINE_BYTES = 64 << 20
"""Of a request: a site's whole metadata is one, or a website's list of files."""
AT_FDCWD, RENAME_EXCHANGE = -100, 2
LIBC = ctypes.CDLL(None, use_errno=True)

Answer = dict[str, Any]
Tell = Callable[[int], None]


class Refused(Exception):
    """Why a request is not carried out."""


def below(root: Path, path: str, hidden: Collection[str] = ()) -> Path:
    """A path of a manifest, which leads out of the root by no name and by no link. hidden: names that may begin with a
    dot. Raises Refused."""
    parts = path.split("/")
    if not path or any(not part or "\0" in part or (part.startswith(".") and part not in hidden) for part in parts):
        raise Refused(f"{path!r} is no path of what is published")
    at = root
    for part in parts[:-1]:
        at = at / part
        if at.is_symlink():
            raise Refused(f"{at} is a link")
    return at / parts[-1]


def sync(path: Path) -> None:
    """What is in a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def folder(path: Path, root: Path) -> None:
    """Makes a folder below root with all above it, each on the disk before what it holds."""
    if path == root or path.is_dir():
        return
    folder(path.parent, root)
    path.mkdir(mode=0o755, exist_ok=True)
    sync(path.parent)


def write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    new = path.with_name(f".{path.name}.new")
    with new.open("wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), 0o644)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync(path.parent)


def exchange(one: Path, other: Path) -> None:
    """Two paths of a filesystem change places in one step, renameat2(2), once all that was written to it is on the
    disk, syncfs(2)."""
    handle = os.open(one, os.O_RDONLY)
    try:
        failed = LIBC.syncfs(handle) or LIBC.renameat2(
            AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE
        )
    finally:
        os.close(handle)
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one))
    sync(one.parent)


def known(path: Path) -> tuple[int, ...]:
    """What changes when somebody writes to a file."""
    seen = path.lstat()
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns


def sha256(path: Path, tell: Tell) -> str:
    """Of a regular file that no link leads to."""
    digest = hashlib.sha256()
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    told = 0
    with os.fdopen(handle, "rb", buffering=0) as file:
        while block := file.read(BLOCK):
            digest.update(block)
            told += len(block)
            if told >= TELL_BYTES:
                tell(told)
                told = 0
    tell(told)
    return digest.hexdigest()


def hold(lock: Path) -> int:
    """A lock, for as long as this process lives. Raises Refused when another has it."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise Refused("somebody publishes there now") from None
    return handle


def room(root: Path) -> int:
    """Bytes that are free for those who are not root."""
    found = os.statvfs(root)
    return found.f_bavail * found.f_frsize


def requests() -> Iterator[Any]:
    while line := sys.stdin.buffer.readline(LINE_BYTES):
        yield json.loads(line)


def say(told: Answer) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def serve(answer: Callable[[Mapping[str, Any], Tell], Answer]) -> int:
    """Answers requests until there are no more. answer: carries one out; what it raises is told."""
    os.umask(0o022)
    for request in requests():
        try:
            say({"ok": True} | answer(request, lambda count: say({"progress": count})))
        except (Refused, OSError) as error:
            say({"ok": False, "why": str(error)})
    return 0
