"""What lies on a restored host, in few requests however much it is, and whatever its names are."""

import base64
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from backup.drills.checks import CheckFailed, Restored

TYPES = {"f": "file", "d": "dir", "l": "symlink", "p": "fifo", "s": "socket", "b": "dev", "c": "chardev"}
"""find's letters in restic's words."""
LIST = r"""
set -eu
cd "$1"
shift
for top do
    shift
    if [ -e "$top" ] || [ -L "$top" ]; then set -- "$@" "$top"; fi
done
{
    code=0
    if [ $# -gt 0 ]; then find "$@" -printf '%y\t%s\t%T@\t%m\t%u\t%g\t%p\0' || code=$?; fi
    printf 'end\t%s' "$code"
} | gzip -1 | base64 -w0
"""
SUMS = 'set -eu; cd "$1"; shift; sha256sum -z -- "$@" | base64 -w0'
WORDS_AT_MOST = 30_000
"""Bytes of arguments of one command: Linux takes 128 KiB as one word, which is what ssh makes of them."""
SHOWN = 5
"""Names that a failure shows of many."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ESCAPED = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class Lying:
    """A file, folder or link as it lies on the host. mtime in microseconds since 1970."""

    type: str
    size: int
    mtime: int
    mode: int
    user: str
    group: str


def name(path: str) -> str:
    """A path in the form that paths are compared in: restic lists each byte that is not UTF-8 as U+FFFD."""
    return ESCAPED.sub("\ufffd", path)


def tops(copy: Restored) -> list[str]:
    """What the snapshot holds right below the root."""
    return sorted({file.path.split("/", 1)[0] for file in copy.saved} - {"", "."})


def lying(copy: Restored) -> dict[str, Lying]:
    """All that lies below what the snapshot holds, by path below the root (see `name`). Raises CheckFailed."""
    found = {}
    packed = copy.sh(LIST, copy.root, *(f"./{top}" for top in tops(copy)), timeout_s=600)
    *lines, end = zlib.decompress(base64.b64decode(packed), wbits=31).split(b"\0")
    if end != b"end\t0":
        raise CheckFailed(f"not all of {copy.root} can be listed: find ended with {end.decode(errors='replace')[4:]}")
    for line in lines:
        kind, size, changed, mode, user, group, path = line.decode(errors="surrogateescape").split("\t", 6)
        mtime = printed(changed)
        found[name(path[2:])] = Lying(TYPES.get(kind, kind), int(size), mtime, int(mode, 8), user, group)
    return found


def sums(copy: Restored, paths: Sequence[str]) -> dict[str, str]:
    """SHA-256 of files on the host, by path below the root; those that cannot be read are not in it."""
    found = {}
    for portion in _portions(paths):
        said = base64.b64decode(
            copy.sh(f"{SUMS} || true", copy.root, *(f"./{path}" for path in portion), timeout_s=600)
        )
        for line in said.split(b"\0")[:-1]:
            digest, _, path = line.decode(errors="surrogateescape").partition("  ")
            found[path[2:]] = digest
    return found


def python(copy: Restored, program: str, *arguments: str, timeout_s: float = 600) -> Any:
    """Runs a program of Python's standard library on the host; it prints JSON, in ASCII, which is returned."""
    script = f"exec python3 -I - \"$@\" <<'END_OF_PROGRAM'\n{program.strip()}\nEND_OF_PROGRAM\n"
    return json.loads(copy.sh(script, *arguments, timeout_s=timeout_s))


def printed(changed: str) -> int:
    """Microseconds since 1970 of what find prints for `%T@`, without rounding, as `restic_results` reads restic's."""
    seconds, _, part = changed.partition(".")
    return int(seconds) * 1_000_000 + int(part[:6].ljust(6, "0"))


def microseconds(time: datetime) -> int:
    """Since 1970."""
    return (time - EPOCH) // timedelta(microseconds=1)


def moment(mtime: int) -> str:
    """Microseconds since 1970 for people: `2026-08-06 00:57:39`."""
    return f"{EPOCH + timedelta(microseconds=mtime):%Y-%m-%d %H:%M:%S}"


def some(names: Sequence[str]) -> str:
    """The first few of many names, and how many more there are."""
    shown = ", ".join("".join(sign if sign.isprintable() else "?" for sign in one) for one in names[:SHOWN])
    return f"{shown} and {len(names) - SHOWN:,} more" if len(names) > SHOWN else shown


def _portions(paths: Sequence[str]) -> Iterator[list[str]]:
    portion: list[str] = []
    length = 0
    for path in paths:
        if portion and length + len(path.encode(errors="surrogateescape")) > WORDS_AT_MOST:
            yield portion
            portion, length = [], 0
        portion.append(path)
        length += len(path.encode(errors="surrogateescape")) + 3
    if portion:
        yield portion
