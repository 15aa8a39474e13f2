"""Refs of git repositories, written down before the objects are saved, and put in force when they are restored.

Without a snapshot of the file system, a backup of a repository that is pushed to reads objects before refs, and saves
refs to objects it does not have. Objects that a ref led to before the backup began are all in it, as long as none are
pruned or packed anew meanwhile, which gc.pid forbids to git: so the refs of that moment are kept in a manifest, and a
restored repository gets these as its packed-refs. Formats: gitrepository-layout(5), git-pack-refs(1). No git program is
run: a repository's configuration can name commands, and this is root. For the same reason no link is followed.

Names are bytes; those that are not UTF-8 survive in the manifest as JSON escapes of lone surrogates.
"""

import errno
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from backup.agent import interrupts

MANIFEST = ".mainstay-refs.json"
"""Below the plan's root, saved with it."""
GC_LOCK = "gc.pid"
"""In a repository: `PID HOST`; git's gc gives way while that process lives (builtin/gc.c), and to no dead one."""
GC_PATIENCE_S = 600
SMALL, LARGE = 1 << 13, 1 << 30
"""Bytes of a ref's file; of packed-refs and the manifest."""
NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)
"""Nothing, nothing any more, a link, a socket."""
HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class RefsError(Exception):
    """Refs that cannot be saved or put back this way."""


def write(root: Path, paths: Sequence[str]) -> int:
    """Writes the manifest of all repositories below the paths; returns how many there are. Raises RefsError."""
    found = {}
    for path in paths:
        for repository in repositories(root / path):
            found[os.path.relpath(repository, root)] = {"head": _head(repository), "refs": refs(repository)}
    fresh = root / f"{MANIFEST}.fresh"
    fresh.unlink(missing_ok=True)
    with open(fresh, "x", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o600)) as out:
        json.dump({"repositories": found}, out, sort_keys=True)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(root / MANIFEST)
    return len(found)


@contextmanager
def no_gc(root: Path, paths: Sequence[str]) -> Iterator[None]:
    """Keeps `git gc` from all repositories below the paths.

    Raises RefsError when one goes on for too long, or ran all the same: git minds no gc.pid older than 12 hours.
    """
    give_up = time.monotonic() + GC_PATIENCE_S
    held: list[Path] = []
    try:
        for repository in (found for path in paths for found in repositories(root / path)):
            while (owner := _gc_owner(repository)) and time.monotonic() < give_up:
                time.sleep(1)
            if owner:
                raise RefsError(f"{repository}: git gc is at it (process {owner}), for {GC_PATIENCE_S} s by now")
            fresh = repository / f"{GC_LOCK}.lock"
            fresh.unlink(missing_ok=True)
            with fresh.open("x") as out:
                # git of the repository's owner gives way only to what it can read.
                os.fchmod(out.fileno(), 0o644)
                out.write(_ours())
            held.append(fresh.replace(repository / GC_LOCK))
        yield
        for lock in held:
            if _read(lock) != _ours() and lock.parent.exists():
                raise RefsError(
                    f"{lock.parent}: git gc ran meanwhile, and may have taken away what was still to be saved"
                )
    finally:
        with interrupts.held():
            for lock in held:
                if _read(lock) == _ours():
                    lock.unlink()


def _ours() -> str:
    return f"{os.getpid()} {os.uname().nodename}"


def _read(lock: Path) -> str:
    return (content(lock, SMALL) or b"").decode(errors="replace").strip()


def content(path: Path | bytes, most: int) -> bytes | None:
    """Of a file of at most so many bytes; None if there is none: whoever owns the folder can put anything there."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK)) as file:
            found = os.fstat(file.fileno())
            return file.read(most) if stat.S_ISREG(found.st_mode) and found.st_size <= most else None
    except OSError as error:
        if error.errno in NO_FILE:
            return None
        raise


def _gc_owner(repository: Path) -> int:
    """The process of this host that holds a repository's gc.pid and lives; 0 if there is none."""
    process, _, host = _read(repository / GC_LOCK).partition(" ")
    if not process.isdecimal() or host != os.uname().nodename or int(process) == os.getpid():
        return 0
    return int(process) if Path(f"/proc/{process}").exists() else 0


def repositories(top: Path) -> Iterator[Path]:
    """Repositories at or below a folder, bare ones and the .git of others; not those whose refs lie elsewhere."""
    for folder, names, files in os.walk(top):
        is_one = "HEAD" in files and {"objects", "refs"} <= set(names)
        if is_one and not Path(folder, "refs").is_symlink():
            if "reftable" in names:
                raise RefsError(f"{folder}: keeps its refs as reftable, which only a snapshot can save")
            names[:] = [name for name in names if name not in ("objects", "refs", "logs", "hooks")]
            yield Path(folder)


def borrowing(root: Path, paths: Sequence[str]) -> list[tuple[Path, str]]:
    """Repositories below the paths that need objects of others which are not: each with why it would come back broken.

    By objects/info/alternates, as `git clone --shared` or `--reference` writes it.
    """
    saved = [os.path.realpath(root / path) for path in paths]
    found = []
    for repository in (one for path in paths for one in repositories(root / path)):
        objects = repository / "objects"
        for line in os.fsdecode(content(objects / "info/alternates", LARGE) or b"").splitlines():
            other = os.path.realpath(objects / line)
            if line and not line.startswith("#") and not any(Path(other).is_relative_to(one) for one in saved):
                found.append((repository, f"needs objects in {other}, which are not saved with it"))
    return found


def refs(repository: Path) -> dict[str, str]:
    """All refs but HEAD: loose ones, read before packed ones, as one that is being packed is in both."""
    loose: dict[str, str] = {}
    for folder, _, files in os.walk(repository / "refs"):
        for file in files:
            path = Path(folder, file)
            if not file.endswith(".lock") and (value := _value(path)):
                loose[os.path.relpath(path, repository)] = value
    return _packed(repository) | loose


def _value(path: Path) -> str:
    """Of a ref's file; empty if it is gone, or no ref (a push is killed before its file is filled).

    A link into refs is what git once made for `ref:`, and still takes for it.
    """
    value = os.fsdecode(content(path, SMALL) or b"").strip()
    if path.is_symlink() and (target := str(path.readlink())).startswith("refs/"):
        value = f"ref: {target}"
    return value if HASH.fullmatch(value) or value.startswith("ref: ") else ""


def _head(repository: Path) -> str:
    return _value(repository / "HEAD")


def _packed(repository: Path) -> dict[str, str]:
    file = repository / "packed-refs"
    packed = content(file, LARGE)
    if packed is None and os.path.lexists(file):
        raise RefsError(f"{file}: is no file, or larger than {LARGE} bytes")
    lines = os.fsdecode(packed or b"").split("\n")
    pairs = [line.split(" ", 1) for line in lines if line and line[0] not in "#^"]
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2 and HASH.fullmatch(pair[0])}


def install(root: Path) -> tuple[int, list[str]]:
    """Gives the repositories below a restored root the refs of its manifest, and removes it.

    Returns how many, and those that the manifest does not know: they were made while the backup ran, and may lack
    objects. Raises RefsError.
    """
    file = root / MANIFEST
    try:
        known = json.loads(content(file, LARGE) or b"")["repositories"]
        restored = [os.path.relpath(repository, root) for repository in repositories(root)]
        for path in restored:
            if path in known:
                _install(root / path, str(known[path]["head"]), dict(known[path]["refs"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RefsError(f"{file}: no manifest of refs: {error!r}") from error
    file.unlink()
    return len(set(restored) & known.keys()), sorted(set(restored) - known.keys())


def _install(repository: Path, head: str, wanted: dict[str, str]) -> None:
    owner = (repository / "refs").stat()
    for entry in list((repository / "refs").iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    for left in ("packed-refs.lock", "HEAD.lock", GC_LOCK, f"{GC_LOCK}.lock"):
        (repository / left).unlink(missing_ok=True)
    hashes = {name: value for name, value in wanted.items() if not value.startswith("ref: ")}
    lines = [f"{value} {name}\n" for name, value in hashes.items()]
    lines.sort(key=lambda line: os.fsencode(line.split(" ", 1)[1]))
    _put(repository / "packed-refs", "# pack-refs with: sorted \n" + "".join(lines), owner)
    for folder in ("refs/heads", "refs/tags"):
        _folder(repository / folder, owner)
    for name, value in wanted.items() - hashes.items():
        if ".." in name.split("/") or not name.startswith("refs/"):
            raise RefsError(f"{repository}: {name!r} is not a ref")
        for parent in reversed((repository / name).relative_to(repository).parents):
            _folder(repository / parent, owner)
        _put(repository / name, f"{value}\n", owner)
    if head:
        _put(repository / "HEAD", f"{head}\n", owner)


def _folder(path: Path, owner: os.stat_result) -> None:
    if not path.is_dir():
        path.mkdir(mode=owner.st_mode & 0o7777)
        os.chown(path, owner.st_uid, owner.st_gid)


def _put(path: Path, text: str, owner: os.stat_result) -> None:
    """A file as the folder refs is owned, readable as that is."""
    path.unlink(missing_ok=True)
    path.write_bytes(os.fsencode(text))
    path.chmod(owner.st_mode & 0o666)
    os.chown(path, owner.st_uid, owner.st_gid)
