"""The ref manifest of the last run, kept in the plan's root: a snapshot holds it, and where no ref has changed since,
nothing is read but what `lstat` tells, and restic finds a file that it knows.

git and Gerrit write a file of refs beside its place and rename it, and then it is another one. btrfs gives no number of
an inode twice, and one that is written in place has another change time, which no program can set.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from backup.agent import ref_manifest
from backup.agent.ref_manifest import FILE


def manifest(root: Path, frozen: Path, tops: Sequence[str], mark: Path) -> list[tuple[str, str]]:
    """Sees to it that the snapshot has its manifest; returns the broken repositories, as `ref_manifest.write` does.

    root: of the plan; frozen: the same in its snapshot, which can be written; mark: a file that tells of what the kept
    one was made.
    """
    seen = _made_of(frozen, tops)
    if seen and mark.exists() and mark.read_text() == f"{seen} {_stat(frozen / FILE)}\n":
        return []
    mark.unlink(missing_ok=True)
    broken = ref_manifest.write(frozen, tops)
    if seen and not broken:
        with suppress(OSError):  # there may be no room for two
            _keep(frozen / FILE, root / FILE)
            mark.write_text(f"{seen} {_stat(root / FILE)}\n")
    return broken


def _made_of(frozen: Path, tops: Sequence[str]) -> str:
    """A hash of all files that refs are read from; empty where a repository is broken, which is told each time."""
    total = hashlib.sha256(ref_manifest.FIRST)
    try:
        for top in tops:
            for repository, why in ref_manifest.found(frozen, top):
                if why:
                    return ""
                total.update(f"{os.path.relpath(repository, frozen)!r}\n".encode())
                for name in ("HEAD", "packed-refs", "reftable"):
                    total.update(_stat(repository / name).encode())
                for line in _loose(os.fsencode(repository / "refs")):
                    total.update(line)
    except OSError:
        return ""
    return total.hexdigest()


def _loose(folder: bytes) -> Iterator[bytes]:
    folders = [folder]
    while folders:
        folder = folders.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                    yield b"%r\n" % entry.name
                else:
                    yield b"%r %r\n" % (entry.name, _told(entry.stat(follow_symlinks=False)))


def _stat(path: Path) -> str:
    try:
        return str(_told(path.lstat()))
    except FileNotFoundError:
        return "none"


def _told(found: os.stat_result) -> tuple[int, ...]:
    return found.st_mode, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _keep(made: Path, place: Path) -> None:
    """A copy that is on the disk when it is there. It is root's: whoever owns the folder can only replace it."""
    fresh = place.with_name(f"{FILE}.fresh")
    fresh.unlink(missing_ok=True)
    try:
        with made.open("rb") as content, open(fresh, "xb", opener=ref_manifest.private) as out:
            shutil.copyfileobj(content, out)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(place)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
