"""git as somebody whom no server knows: without this machine's configuration, credentials and prompts."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import TypeVar

from roles.gerrit.tools.sources.findings import Kind, shown

TIMEOUT_S = 600
LOCAL_S = 120
COMMIT_ONLY, POINTERS = "tree:0", "blob:limit=1024"
"""Filters of a fetch: no tree and no file; no file that is longer than a pointer of LFS may be (below 1,024 bytes)."""
TIPS_ALONE = "unadvertised object"
"""In what git says of a commit that is no tip, and that a server does not hand out by its id."""
ALL = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
SETTINGS = {
    "credential.helper": "",
    "protocol.version": "2",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "30",
    "gc.auto": "0",
    "maintenance.auto": "false",
}
SIGNS = (
    (Kind.REVISION, ("not our ref", TIPS_ALONE, "not valid", "couldn't find remote ref", "bad object")),
    (Kind.PRIVATE, ("could not read username", "authentication failed", "error: 401", "error: 403")),
    (Kind.MISSING, ("' not found", "repository not found", "error: 404")),
    (Kind.NO_ROOM, ("no space left", "out of memory", "cannot allocate memory", "died of signal 9")),
    (
        Kind.UNREACHABLE,
        (
            "resolve host",
            "failed to connect",
            "couldn't connect",
            "timed out",
            "error: 5",
            "ssl certificate",
            "ssl connect",
        ),
    ),
)
"""What git and servers say (git 2.39 to 2.47, JGit 7), in lower case."""

T = TypeVar("T")


class GitError(Exception):
    """git's words, and what they mean. whole: all of them, as they came."""

    def __init__(self, kind: Kind, said: str) -> None:
        self.kind, self.said, self.whole = kind, shown(said), said
        super().__init__(self.said)


@dataclass(frozen=True)
class Place:
    """Where git runs. below: a folder for what is fetched; authority: file of the certificates that are trusted, None:
    this machine's."""

    below: Path
    authority: Path | None = None
    _running: "set[subprocess.Popen[bytes]]" = field(default_factory=set)
    _ended: list[bool] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    @contextmanager
    def scratch(self) -> Iterator["Git"]:
        """An empty repository that is gone afterwards."""
        with TemporaryDirectory(prefix="mainstay-sources-", dir=self.below) as folder:
            made = Git(Path(folder), self)
            made.run("init", "-q", "--bare", timeout_s=LOCAL_S)
            yield made

    @contextmanager
    def running(self, words: list[str], env: dict[str, str]) -> "Iterator[subprocess.Popen[bytes]]":
        """A process, with what it starts in a group of its own. Raises GitError once all was ended."""
        with self._lock:
            if self._ended:
                raise GitError(Kind.UNREACHABLE, "not asked: this audit was ended")
            pipe = subprocess.PIPE
            process = subprocess.Popen(words, env=env, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
            self._running.add(process)
        try:
            with process:
                yield process
        finally:
            with self._lock:
                self._running.discard(process)

    def end(self) -> None:
        """Kills all that runs, and lets nothing begin: for when who waits for it was told to end."""
        with self._lock:
            self._ended.append(True)
            for process in self._running:
                kill(process)


def kill(process: "subprocess.Popen[bytes]") -> None:
    """With all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@dataclass(frozen=True)
class Git:
    """folder: of a bare repository."""

    folder: Path
    place: Place

    def fetch(self, url: str, want: str, only: str) -> None:
        """Brings one commit, without its history. only: a filter. Raises GitError.

        A commit that is no tip is asked for by its id, as `repo` does: git's own server hands out all it has, JGit what
        refs lead to. Where a server hands out tips alone, all branches and tags are fetched: they have to lead to it.
        JGit 7 answers 500 where it has no such commit and no history is asked for, and says so where it is.
        """
        try:
            self._fetch(url, only, "--depth=1", want)
        except GitError as error:
            if error.kind is Kind.UNREACHABLE and "HTTP 500" in error.said:
                self._fetch(url, COMMIT_ONLY, want)
            if TIPS_ALONE not in error.said:
                raise
            self._fetch(url, COMMIT_ONLY, *ALL)
            try:
                self.run("cat-file", "-e", f"{want}^{{commit}}", timeout_s=LOCAL_S)
            except GitError:
                raise error from None
            if only != COMMIT_ONLY:
                self._fetch(url, only, "--refetch", *ALL)

    def _fetch(self, url: str, only: str, *words: str) -> None:
        remote = {"url": url, "promisor": "true", "partialclonefilter": only}
        settings = [word for name, value in remote.items() for word in ("-c", f"remote.asked.{name}={value}")]
        options = [word for word in words if word.startswith("--")]
        refs = [word for word in words if not word.startswith("--")]
        self.run(*settings, "fetch", "-q", "--no-tags", "--no-write-fetch-head", *options, "asked", *refs)

    def run(self, *words: str, stdin: bytes = b"", timeout_s: float = TIMEOUT_S) -> bytes:
        """Standard output. Raises GitError."""
        authority = self.place.authority
        trusted = {"http.sslCAInfo": str(authority)} if authority else {}
        settings = [word for item in (SETTINGS | trusted).items() for word in ("-c", "=".join(item))]
        with self.place.running(["git", *settings, f"--git-dir={self.folder}", *words], _env(self.folder)) as process:
            try:
                out, errors = process.communicate(stdin, timeout_s)
            except subprocess.TimeoutExpired:
                kill(process)
                process.communicate()
                raise GitError(Kind.UNREACHABLE, f"git {words[-1]} was not done within {timeout_s:g} s") from None
        if process.returncode:
            said = errors.decode(errors="replace")
            raise GitError(Kind.NO_ROOM if process.returncode == -signal.SIGKILL else meaning(said), said)
        return out


def surely(do: Callable[[], T]) -> T:
    """Once more where it seems damaged, as it also does when a connection breaks off. Raises GitError."""
    try:
        return do()
    except GitError as error:
        if error.kind is not Kind.BROKEN:
            raise
        return do()


def meaning(said: str) -> Kind:
    """Of what git said to a fetch that failed; what is none of the known is damage."""
    lower = said.lower()
    return next((kind for kind, signs in SIGNS if any(sign in lower for sign in signs)), Kind.BROKEN)


def _env(home: Path) -> dict[str, str]:
    """home: a folder without a .netrc."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "false",
        "GIT_ALLOW_PROTOCOL": "http:https",
    }
