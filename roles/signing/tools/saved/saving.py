"""`save`: all of the folder under its name, or nothing."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from backup.sizes import size
from inventories.files import sha256
from roles.signing.tools.custody import verifying
from roles.signing.tools.custody.git import Git, sync_folder
from roles.signing.tools.errors import HsmError
from roles.signing.tools.saved import ABOUT, BUNDLE, DECLARATION, KEYS, SUMS
from roles.signing.tools.state.folder import Folder
from roles.signing.tools.state.loading import Declared

SPARE_BYTES = 1 << 20
"""For names and what a filesystem needs itself."""


class Saved(NamedTuple):
    """keys, certificates: how many. entries: of the logs. bytes: of all of it."""

    folder: Path
    keys: int
    certificates: int
    entries: int
    bytes: int


def save(declared: Declared, target: Path) -> Saved:
    """Under its name once it was read back from the medium. Raises HsmError, and leaves nothing then."""
    if target.exists() or not target.parent.is_dir():
        told = "is there already: give another name" if target.exists() else f"{target.parent} is no folder"
        raise HsmError(f"{target}: {told}")
    git, folder = Git(declared.custody.repository), Folder(declared.folder)
    fresh = target.absolute().with_name(f".{target.name}.new")
    with _whole(fresh, target):
        found = {path.name: path for path in (*folder.wrapped.values(), *folder.certificates.values())}
        with git.alone():
            logs = verifying.verify(git).logs
            head = git.run("rev-parse", "HEAD").decode().strip()
            _room(target, [declared.path, *found.values()], _packed(git))
            fresh.mkdir(mode=0o700)
            (fresh / KEYS).mkdir()
            git.bundle(fresh / BUNDLE)
        sums = {BUNDLE: sha256(fresh / BUNDLE), DECLARATION: _write(fresh / DECLARATION, declared.path.read_bytes())}
        for name, path in sorted(found.items()):
            sums[f"{KEYS}/{name}"] = _write(fresh / KEYS / name, path.read_bytes())
        about = {
            "saved": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "host": os.uname().nodename,
            "head": head,
            "logs": {str(one.serial): {"entries": one.entries, "last": one.last} for one in logs},
        }
        sums[ABOUT] = _write(fresh / ABOUT, json.dumps(about, indent=1).encode() + b"\n")
        lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
        sums[SUMS] = _write(fresh / SUMS, lines.encode())
        for one in (fresh / KEYS, fresh):
            sync_folder(one)
        for name, digest in sums.items():
            if _read_back(fresh / name) != digest:
                raise HsmError(f"{target}: {name} is read back as other bytes than were written: take another medium")
        total = sum((fresh / name).stat().st_size for name in sums)
        fresh.rename(target)
        sync_folder(target.absolute().parent)
    entries = sum(one.entries for one in logs)
    return Saved(target, len(folder.wrapped), len(folder.certificates), entries, total)


@contextmanager
def _whole(fresh: Path, target: Path) -> Iterator[None]:
    """What is left of a run that died goes first, and what this one leaves when it fails."""
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        yield
    except BaseException as error:
        shutil.rmtree(fresh, ignore_errors=True)
        if isinstance(error, OSError):
            told = "is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else f"cannot be written: {error.strerror}"
            raise HsmError(f"{target}: the medium {told}; nothing of it is left there") from error
        raise


def _packed(git: Git) -> int:
    """About the bytes of a bundle: those of all objects, which it packs better."""
    told = dict(line.split(": ") for line in git.run("count-objects", "-v").decode().splitlines())
    return (int(told["size"]) + int(told["size-pack"])) * 1024


def _room(target: Path, files: list[Path], more: int) -> None:
    wanted = sum(path.stat().st_size for path in files) + more + SPARE_BYTES
    free = shutil.disk_usage(target.parent).free
    if free < wanted:
        raise HsmError(f"{target}: the medium is full: it has room for {size(free)}, and {size(wanted)} are needed")


def _write(path: Path, content: bytes) -> str:
    """On the medium when this returns; its SHA-256."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(content).hexdigest()


def _read_back(path: Path) -> str:
    """SHA-256 of what lies on the medium, not of what memory has of it."""
    with path.open("rb", buffering=0) as file:
        with suppress(OSError):  # a filesystem in memory
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return hashlib.file_digest(file, "sha256").hexdigest()
