"""The ref manifest of a snapshot: every ref of every git repository in it, written into it before it is saved.

What a restored copy is held against, and where one ref's old value is looked up. Refs and manifest are of one
instant, as both are of one snapshot. Bytes, one line each, ended by a newline, sorted by path and then by ref:

    mainstay-refs 1
    repository "site/git/All-Projects.git"
    HEAD ref: refs/meta/config
    1ab9...40 or 64 digits refs/meta/config
    broken "site/git/other.git" "packed-refs: is no list of refs"
    end 2 1

What is quoted is a JSON string in ASCII, whose lone surrogates are bytes that are not UTF-8: a path, from the plan's
root on, and why nothing is listed of a repository. A ref's line is its value, a hash or `ref: NAME` where it is
symbolic, and its name. `end` counts repositories, broken ones too, and refs: where it is missing, so is more. Formats
that are read: gitrepository-layout(5), git-pack-refs(1); as in refs.py no git program is run, and no link followed.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backup.agent.refs import LARGE, SMALL, RefsError, content

FILE = ".mainstay-refs"
"""In the root of what is saved: `mainstay backup restore HOST:PLAN --to DIR --include .mainstay-refs` brings it."""
FIRST = b"mainstay-refs 1\n"
_HASH = rb"(?:[0-9a-f]{40}|[0-9a-f]{64})"
_NAME = rb"refs/[^\x00-\x20\x7f]+"
PACKED = re.compile(rb"(?:#[^\n]*\n|" + _HASH + rb" " + _NAME + rb"\n(?:\^" + _HASH + rb"\n)?)*+")
VALUE = re.compile(_HASH + rb"|ref: " + _NAME)
LINE = re.compile(rb"(" + VALUE.pattern + rb") (" + _NAME + rb")")
SUFFIX, PARTS = ".git", ("HEAD", "objects", "refs")
"""Of a repository: how its name ends on a server, and what is in it."""


@dataclass(frozen=True)
class Listed:
    """A repository of a manifest. path: below the plan's root. refs: by name, but for HEAD. why: it is broken."""

    path: str
    head: str = ""
    refs: dict[str, str] = field(default_factory=dict)
    why: str = ""


def write(root: Path, tops: Sequence[str]) -> list[tuple[str, str]]:
    """Writes the manifest of all repositories below the tops; returns the broken ones, each with what is wrong."""
    broken = []
    repositories = refs = 0
    fresh = root / f"{FILE}.fresh"
    for old in (fresh, root / FILE):  # the latter from a restore
        old.unlink(missing_ok=True)
    with open(fresh, "xb", opener=private) as out:
        out.write(FIRST)
        listed = {os.path.relpath(path, root): (path, why) for top in tops for path, why in found(root, top)}
        for name in sorted(listed, key=os.fsencode):
            (path, why), quoted = listed[name], json.dumps(name).encode()
            try:
                if why:
                    raise RefsError(why)
                head, lines = _read(path)
                out.write(b"repository %s\nHEAD %s\n" % (quoted, head))
                out.write(b"".join(lines))
                refs += len(lines)
            except (RefsError, OSError) as error:
                out.write(b"broken %s %s\n" % (quoted, json.dumps(str(error)).encode()))
                broken.append((name, str(error)))
            repositories += 1
        out.write(b"end %d %d\n" % (repositories, refs))
    fresh.replace(root / FILE)
    return broken


def private(name: str, flags: int) -> int:
    """Opens a file that is made for its owner alone, through no link."""
    return os.open(name, flags | os.O_NOFOLLOW, 0o600)


def read(file: Path) -> Iterator[Listed]:
    """The repositories of a manifest, one after the other. Raises RefsError where it is none, or not whole."""
    repositories = refs = 0
    current: Listed | None = None
    with file.open("rb") as lines:
        if next(lines, b"") != FIRST:
            raise RefsError(f"{file}: is no manifest of refs that is known here")
        for number, line in enumerate(lines, 2):
            word, _, rest = line.removesuffix(b"\n").partition(b" ")
            if match := LINE.fullmatch(line, 0, len(line) - 1):
                if not current:
                    raise RefsError(f"{file}: line {number}: a ref of no repository")
                current.refs[os.fsdecode(match[2])] = os.fsdecode(match[1])
                refs += 1
                continue
            if word == b"HEAD" and current and not current.head:
                current = Listed(current.path, os.fsdecode(rest))
                continue
            if current:
                yield current
                current = None
            if word == b"end":
                if rest != b"%d %d" % (repositories, refs) or next(lines, b""):
                    break
                return
            repositories += 1
            if word == b"repository":
                current = Listed(_word(file, number, rest)[0])
            elif word == b"broken":
                path, why = _word(file, number, rest, 2)
                yield Listed(path, why=why)
            else:
                raise RefsError(f"{file}: line {number}: is not understood")
    raise RefsError(f"{file}: is not whole")


def _word(file: Path, number: int, text: bytes, count: int = 1) -> list[str]:
    """JSON strings with blanks between them."""
    try:
        found = json.loads(b"[" + re.sub(rb'" "', b'", "', text) + b"]")
    except ValueError:
        found = []
    if len(found) != count or not all(isinstance(one, str) for one in found):
        raise RefsError(f"{file}: line {number}: is not understood")
    return [str(one) for one in found]


def found(root: Path, top: str) -> Iterator[tuple[Path, str]]:
    """Repositories below a folder; and what has a repository's name and is none, with why."""
    for folder, names, files in os.walk(root / top):
        lacks = [part for part in PARTS if part not in (files if part == "HEAD" else names)]
        if not lacks:
            yield Path(folder), ""
            names.clear()
        elif folder.endswith(SUFFIX):
            yield Path(folder), f"is no repository: lacks {', '.join(lacks)}"
            names.clear()
        for name in names:
            if name.endswith(SUFFIX) and Path(folder, name).is_symlink():
                yield Path(folder, name), "is a link: what it leads to is not saved with it"


def _read(repository: Path) -> tuple[bytes, list[bytes]]:
    """HEAD, and the lines of all other refs, sorted. Raises RefsError."""
    if os.path.lexists(repository / "reftable"):
        raise RefsError("keeps its refs as reftable, which is not read here")
    head = (content(repository / "HEAD", SMALL) or b"").strip()
    if not VALUE.fullmatch(head):
        raise RefsError("HEAD: is no ref")
    packed = content(repository / "packed-refs", LARGE)
    if packed is None and os.path.lexists(repository / "packed-refs"):
        raise RefsError(f"packed-refs: is no file, or larger than {LARGE} bytes")
    packed = packed or b""
    if not PACKED.fullmatch(packed):
        raise RefsError("packed-refs: is no list of refs")
    lines = [line for line in packed.splitlines(keepends=True) if line[0] not in b"#^"]
    loose = dict(_loose(os.fsencode(repository / "refs"), b"refs"))
    if any(b" " + name in packed for name in loose):
        lines = [line for line in lines if line.partition(b" ")[2] not in loose]
    lines += loose.values()
    lines.sort(key=_name)
    return head, lines


def _name(line: bytes) -> bytes:
    return line.rpartition(b" ")[2]


def _loose(folder: bytes, refs: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Refs in files of their own below refs/, each by its name as it ends a line."""
    folders = [(folder, refs)]
    while folders:
        folder, refs = folders.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                name = refs + b"/" + entry.name
                if entry.is_dir(follow_symlinks=False):
                    folders.append((entry.path, name))
                elif not name.endswith(b".lock"):
                    line = (content(entry.path, SMALL) or b"").strip() + b" " + name
                    if not LINE.fullmatch(line):
                        raise RefsError(f"{os.fsdecode(name)}: is no ref")
                    yield name + b"\n", line + b"\n"
