"""Makes the changes of a tree: checked in a private view of the host first, then all written, then all renamed."""

import base64
import fcntl
import grp
import json
import os
import pwd
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

RUN = Path("/run/mainstay")
linux: Any = os  # os.unshare: Python 3.12


class Failure(Exception):
    """Says what is wrong and where."""


class File(NamedTuple):
    path: Path
    mode: int
    owner: str
    secret: bool
    content: bytes | None
    """None: only mode and owner differ."""

    @property
    def staged(self) -> Path:
        """Hidden and with a suffix, so that no `*.conf` of a service includes it."""
        return self.path.with_name(f".{self.path.name}.mainstay-new")


class Directory(NamedTuple):
    path: Path
    mode: int | None
    owner: str | None


class Orders(NamedTuple):
    directories: list[Directory]
    files: list[File]
    removed: list[Path]
    validators: list[str]


def read_orders(packed: bytes) -> Orders:
    told = json.loads(zlib.decompress(base64.b64decode(packed)))
    files = [
        File(Path(path), mode, owner, secret, None if content is None else content.encode("latin-1"))
        for path, mode, owner, secret, content in told["files"]
    ]
    directories = [Directory(Path(path), mode, owner) for path, mode, owner in told["directories"]]
    return Orders(directories, files, [Path(path) for path in told["removed"]], told["validators"])


def ids(owner: str, path: Path) -> tuple[int, int]:
    user, group = owner.split(":")
    try:
        return pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise Failure(f"{path}: owner {owner}: {error.args[0]} (accounts come before tree)") from None


def set_rights(handle: int, path: Path, mode: int | None, owner: str | None) -> None:
    if owner is not None:
        os.fchown(handle, *ids(owner, path))
    if mode is not None:
        os.fchmod(handle, mode)


def correct_rights(path: Path, mode: int | None, owner: str | None) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        set_rights(handle, path, mode, owner)
    finally:
        os.close(handle)


def stage(file: File, content: bytes) -> None:
    file.staged.unlink(missing_ok=True)
    handle = os.open(file.staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as out:
        out.write(content)
        out.flush()
        set_rights(handle, file.path, file.mode, file.owner)
        os.fsync(handle)


def apply(orders: Orders) -> None:
    for directory in orders.directories:
        if not directory.path.is_dir():
            directory.path.mkdir(mode=0o700)
        correct_rights(*directory)
    try:
        for file in orders.files:
            if file.content is not None:
                stage(file, file.content)
    except BaseException:
        for file in orders.files:
            file.staged.unlink(missing_ok=True)
        raise
    for file in orders.files:
        if file.content is None:
            correct_rights(file.path, file.mode, file.owner)
        else:
            file.staged.rename(file.path)
    for path in orders.removed:
        path.unlink(missing_ok=True)
    for parent in {path.parent for path in (*(file.path for file in orders.files), *orders.removed)}:
        handle = os.open(parent, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def touched_directories(orders: Orders) -> list[Path]:
    """Existing directories that changes are made in; none below another."""
    found = set()
    for path in (*(one.path for one in orders.directories), *(one.path for one in orders.files), *orders.removed):
        parent = path.parent
        while not parent.is_dir():
            parent = parent.parent
        found.add(parent.resolve())
    if Path("/") in found:
        raise Failure("a directory of / cannot be made and validated at once: make it in a tree of its own before")
    return sorted(one for one in found if not found & set(one.parents))


def mount(kind: str, options: str, target: Path) -> None:
    command = ["mount", "-t", kind, "-o", options, kind, str(target)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"no private view to check the changes in: {done.stderr.strip()}")


def escaped(path: Path) -> str:
    return re.sub(r"([\\,:])", r"\\\1", str(path))


def mask(text: str, orders: Orders) -> str:
    """A validator may quote a line that holds a secret."""
    words: set[str] = set()
    for file in orders.files:
        if file.secret and file.content:
            parts = re.split(r"[\s\"'=;,]+", file.content.decode("utf-8", "replace"))
            words.update(word for word in parts if len(word) >= 4)
    for word in sorted(words, key=len, reverse=True):
        text = text.replace(word, "*MASKED*")
    return text


def validate(orders: Orders) -> None:
    """Runs in a child. Layers over the touched directories take the changes, and vanish with this mount namespace."""
    linux.unshare(linux.CLONE_NEWNS)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True, stdin=subprocess.DEVNULL)
    over = touched_directories(orders)
    mount("tmpfs", "mode=0700", RUN)
    for number, directory in enumerate(over):
        upper, work = RUN / f"upper{number}", RUN / f"work{number}"
        upper.mkdir()
        work.mkdir()
        rights = directory.stat()
        os.chown(upper, rights.st_uid, rights.st_gid)
        upper.chmod(rights.st_mode & 0o7777)
        mount("overlay", f"lowerdir={escaped(directory)},upperdir={upper},workdir={work}", directory)
    apply(orders)
    for command in orders.validators:
        done = subprocess.run(
            ["sh", "-c", command], cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if done.returncode:
            said = mask(done.stdout.decode("utf-8", "replace").strip(), orders)
            raise Failure(f"nothing was changed, because `{command}` fails on it ({done.returncode}):\n{said}")


def guarded(step: Callable[[Orders], None], orders: Orders) -> int:
    """Runs a step and tells its error; returns the exit status."""
    try:
        step(orders)
    except Failure as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename or 'write'}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def main() -> int:
    orders = read_orders(sys.stdin.buffer.read())
    os.umask(0o022)
    RUN.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(RUN / "tree.lock", os.O_WRONLY | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    if orders.validators:
        child = os.fork()
        if not child:
            status = 1
            try:
                status = guarded(validate, orders)
            finally:
                sys.stderr.flush()
                os._exit(status)
        if os.waitpid(child, 0)[1]:
            return 1
    return guarded(apply, orders)


if __name__ == "__main__":
    sys.exit(main())
