"""git for a repository that has to hold what it was told once it says so: nothing of the user's settings, all of it on
the disk (git 2.36 and newer writes even new objects through only when told), and no lock of a dead run in the way.
"""

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from roles.signing.tools.errors import HsmError, Unreachable

SETTINGS = (
    "core.fsync=all",
    "core.fsyncMethod=fsync",
    "core.hooksPath=/dev/null",
    "core.autocrlf=false",
    "commit.gpgSign=false",
    "gc.auto=0",
    "maintenance.auto=false",
)
STALE_S = 60
"""A lock of git's that is older is of a run that died: none of what is done here takes so long, and one at a time."""
TIMEOUT_S, PUSH_TIMEOUT_S = 60, 120
WAIT_S = 120.0
"""How long another run is waited for."""
REMOTE = "origin"
UMASK = 0o027
"""The repository's group reads it: who sends it is another than who signs."""


class Git:
    """One repository with a checkout."""

    def __init__(self, folder: Path) -> None:
        """Raises HsmError where there is none."""
        if not (folder / ".git").is_dir():
            hint = "`git init` makes the first; else clone the one that has the log so far"
            raise HsmError(f"{folder}: is no git repository, and logs are drained into one: {hint}")
        self.folder = folder
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_NOSYSTEM": "1",
            "LC_ALL": "C.UTF-8",
        }

    def run(self, *words: str, timeout_s: float = TIMEOUT_S, given: bytes = b"") -> bytes:
        """What it puts out. Raises HsmError."""
        code, out, said = self.tried(*words, timeout_s=timeout_s, given=given)
        if code:
            raise HsmError(f"{self.folder}: git {words[0]}: exit {code}: {said}")
        return out

    def tried(self, *words: str, timeout_s: float = TIMEOUT_S, given: bytes = b"") -> tuple[int, bytes, str]:
        """Exit code, output, and what it said. Raises HsmError."""
        settings = [word for one in SETTINGS for word in ("-c", one)]
        command = ["git", "-C", str(self.folder), *settings, *words]
        try:
            done = subprocess.run(
                command,
                env=self._environment,
                input=given,
                capture_output=True,
                timeout=timeout_s,
                check=False,
                umask=UMASK,
            )
        except FileNotFoundError:
            raise HsmError("git: not installed on this machine") from None
        except subprocess.TimeoutExpired:
            raise HsmError(f"{self.folder}: git {words[0]}: still running after {timeout_s:g} s") from None
        return done.returncode, done.stdout, " ".join(done.stderr.decode(errors="replace").split())

    def blob(self, path: str) -> bytes:
        """Of the newest commit; empty where there is no such file."""
        code, out, _ = self.tried("cat-file", "blob", f"HEAD:{path}")
        return b"" if code else out

    def commit(self, message: str, *paths: str, new: Sequence[str] = ()) -> None:
        """On the disk when this returns. new: of the paths, those that no commit has yet. Raises HsmError."""
        if new:
            self.run("add", "--", *new)
        author = ("-c", "user.name=mainstay hsm", "-c", f"user.email=hsm@{os.uname().nodename}")
        self.run(*author, "commit", "--quiet", "--no-verify", "-m", message, "--", *paths)

    def push(self) -> bool:
        """To `origin`, if there is one; never by force. Raises Unreachable where it does not take it."""
        if REMOTE not in self.run("remote").decode().split():
            return False
        code, _, said = self.tried("push", "--quiet", REMOTE, "HEAD", timeout_s=PUSH_TIMEOUT_S)
        if code:
            raise Unreachable(f"{self.folder}: committed here and freed on the device, but not pushed: {said}")
        return True

    def bundle(self, path: Path) -> None:
        """All of it in one file, in one step. Raises HsmError."""
        fresh = path.absolute().with_name(f".{path.name}.new")
        self.run("bundle", "create", "--quiet", str(fresh), "HEAD", "--branches")
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        fresh.replace(path)
        sync_folder(path.absolute().parent)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One run at a time; what a dead one has locked is free again. Another one is waited for, as one takes a second
        or two and programs that sign may run side by side. Raises HsmError where it does not end."""
        with (self.folder / ".git/mainstay.lock").open("w") as lock:
            ends = time.monotonic() + WAIT_S
            while not _taken(lock):
                if time.monotonic() > ends:
                    raise HsmError(f"{self.folder}: another drain is at it since {WAIT_S:g} s; see what it waits for")
                time.sleep(0.1)
            for left in (self.folder / ".git").glob("*.lock"):
                _drop_stale(left)
            for left in (self.folder / ".git/refs/heads").rglob("*.lock"):
                _drop_stale(left)
            yield


def cloned(bundle: Path, folder: Path) -> Git:
    """A repository made of a bundle, each object of it checked. Raises HsmError."""
    folder.mkdir()
    settings = ("-c", "transfer.fsckObjects=true", "-c", "core.hooksPath=/dev/null")
    words = ["git", *settings, "clone", "--quiet", str(bundle.absolute()), str(folder)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        words, env=environment | {"LC_ALL": "C.UTF-8"}, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    if done.returncode:
        raise HsmError(f"{bundle.name}: cannot be read: {' '.join(done.stderr.split())}")
    return Git(folder)


def _taken(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _drop_stale(lock: Path) -> None:
    if lock.name != "mainstay.lock" and time.time() - lock.stat().st_mtime > STALE_S:
        lock.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Its names are on the disk when this returns."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
