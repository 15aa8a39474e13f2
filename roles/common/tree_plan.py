"""Which files of a tree are not what they should be, from one look at the host. Pure.

The look is the output of `find` with LOOK and of the sha256sum it runs: GNU find (findutils >= 4.9 for -files0-from)
flushes its own output before it runs a command, so lines are never torn.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

LOOK = r"%y%Y\t%m\t%u:%g\t%p\n"
KINDS = {
    "f": "a file",
    "d": "a directory",
    "l": "a symlink",
    "p": "a pipe",
    "s": "a socket",
    "b": "a device",
    "c": "a device",
}


@dataclass(frozen=True)
class File:
    """A file a host must have."""

    path: str
    content: bytes = field(repr=False)
    mode: int
    owner: str
    """user:group"""
    secret: bool = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Directory:
    """A directory a host must have. Mode and owner None: whatever they are, 0755 root:root when it is made."""

    path: str
    mode: int | None = None
    owner: str | None = None
    declared: bool = False
    """Asked for by name, not just on the way to a file: then a symlink does not do."""


@dataclass(frozen=True)
class Wanted:
    """What a tree comes down to."""

    files: tuple[File, ...]
    directories: tuple[Directory, ...]
    absent: tuple[str, ...]
    validators: tuple[tuple[str, str], ...]
    """(pattern, command)"""

    def paths(self) -> list[str]:
        return [*(each.path for each in self.directories), *(each.path for each in self.files), *self.absent]


@dataclass(frozen=True)
class Found:
    """What stands at a path."""

    kind: str
    target_kind: str
    """As kind, symlinks followed."""
    mode: int
    owner: str
    sha256: str = ""


@dataclass(frozen=True)
class Change:
    """One thing to do at one path; `why` is for people and never holds content."""

    path: str
    why: str
    wanted: File | Directory | None
    """None: to be removed."""
    content: bool = False
    """A file's content is new, not just its mode or owner."""


@dataclass(frozen=True)
class Plan:
    """All differences, and what stands in the way of making them good."""

    changes: tuple[Change, ...]
    conflicts: tuple[str, ...]
    validators: tuple[str, ...]


def parse(lines: Iterable[str]) -> dict[str, Found]:
    """The look at a host. Paths that are not there have no line."""
    found: dict[str, Found] = {}
    sums: dict[str, str] = {}
    for line in lines:
        if line.count("\t") == 3:
            kinds, mode, owner, path = line.split("\t")
            found[path] = Found(kinds[0], kinds[1], int(mode, 8), owner)
        elif len(line) > 66 and line[64:66] == "  ":
            sums[line[66:]] = line[:64]
    return {
        path: Found(look.kind, look.target_kind, look.mode, look.owner, sums.get(path, ""))
        for path, look in found.items()
    }


def plan(wanted: Wanted, found: Mapping[str, Found]) -> Plan:
    """Compares; the order of changes is directories, files, removals."""
    changes: list[Change] = []
    conflicts: list[str] = []
    for directory in wanted.directories:
        here = found.get(directory.path)
        if here is None:
            changes.append(Change(directory.path, "new directory", directory))
        elif (here.kind if directory.declared else here.target_kind) != "d":
            conflicts.append(_in_the_way(directory.path, here, "a directory"))
        elif why := _rights(directory.mode, directory.owner, here):
            changes.append(Change(directory.path, why, directory))
    for file in wanted.files:
        here = found.get(file.path)
        if here is None:
            changes.append(Change(file.path, "new file", file, content=True))
        elif here.kind != "f":
            conflicts.append(_in_the_way(file.path, here, "a file"))
        else:
            new = here.sha256 != file.sha256
            whys = [why for why in ("content" if new else "", _rights(file.mode, file.owner, here)) if why]
            if whys:
                changes.append(Change(file.path, ", ".join(whys), file, content=new))
    for path in wanted.absent:
        here = found.get(path)
        if here and here.kind == "d":
            conflicts.append(f"{path}: a directory stands where no file should be; remove it by hand")
        elif here:
            changes.append(Change(path, "removed", None))
    touched = [change.path for change in changes]
    commands = [command for pattern, command in wanted.validators if any(fnmatchcase(p, pattern) for p in touched)]
    return Plan(tuple(changes), tuple(conflicts), tuple(dict.fromkeys(commands)))


def _rights(mode: int | None, owner: str | None, here: Found) -> str:
    whys = []
    if mode is not None and mode != here.mode:
        whys.append(f"mode {here.mode:04o} -> {mode:04o}")
    if owner is not None and owner != here.owner:
        whys.append(f"owner {here.owner} -> {owner}")
    return ", ".join(whys)


def _in_the_way(path: str, here: Found, should: str) -> str:
    return f"{path}: {KINDS.get(here.kind, 'something else')} stands where {should} goes; move it away by hand"


def orders(plan: Plan) -> dict[str, object]:
    """What on_host/tree.py is told. File contents are latin-1 text, which JSON keeps byte for byte."""
    directories, files = [], []
    for change in plan.changes:
        item = change.wanted
        if isinstance(item, File):
            content = item.content.decode("latin-1") if change.content else None
            files.append([item.path, item.mode, item.owner, item.secret, content])
        elif isinstance(item, Directory):
            new = change.why == "new directory"
            mode = 0o755 if new and item.mode is None else item.mode
            owner = "root:root" if new and item.owner is None else item.owner
            directories.append([item.path, mode, owner])
    removed = [change.path for change in plan.changes if change.wanted is None]
    return {"directories": directories, "files": files, "removed": removed, "validators": list(plan.validators)}
