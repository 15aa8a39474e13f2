"""git as somebody whom no server knows: without this machine's configuration, credentials and prompts."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from roles.gerrit.tools.sources.findings import Kind, shown

TIMEOUT_S = 600
LOCAL_S = 120
COMMIT_ONLY, POINTERS = "tree:0", "blob:limit=1024"
"""Filters of a fetch: no tree and no file; no file that is longer than a pointer of LFS may be (below 1,024 bytes)."""
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
    (Kind.REVISION, ("not our ref", "unadvertised object", "not valid", "couldn't find remote ref", "bad object")),
    (Kind.PRIVATE, ("could not read username", "authentication failed", "error: 401", "error: 403")),
    (Kind.MISSING, ("' not found", "repository not found", "error: 404")),
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


class GitError(Exception):
    """git's words, and what they mean."""

    def __init__(self, kind: Kind, said: str) -> None:
        self.kind, self.said = kind, shown(said)
        super().__init__(self.said)


@dataclass(frozen=True)
class Git:
    """folder: of a bare repository; authority: file of the certificates that are trusted, None: this machine's."""

    folder: Path
    authority: Path | None = None

    def fetch(self, url: str, want: str, only: str) -> None:
        """Brings one commit, without its history. only: a filter. Raises GitError.

        A commit that is no tip is asked for by its id, as `repo` does: git's own server hands out all it has, JGit what
        refs lead to. Where a server hands out tips alone, all branches and tags are fetched: they have to lead to it.
        """
        try:
            self._fetch(url, only, "--depth=1", want)
        except GitError as error:
            if error.kind is not Kind.REVISION:
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
        trusted = {"http.sslCAInfo": str(self.authority)} if self.authority else {}
        settings = [word for item in (SETTINGS | trusted).items() for word in ("-c", "=".join(item))]
        with subprocess.Popen(
            ["git", *settings, f"--git-dir={self.folder}", *words],
            env=_env(self.folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            try:
                out, errors = process.communicate(stdin, timeout_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                raise GitError(Kind.UNREACHABLE, f"git {words[-1]} was not done within {timeout_s:g} s") from None
        if process.returncode:
            said = errors.decode(errors="replace")
            raise GitError(meaning(said), said)
        return out


def meaning(said: str) -> Kind:
    """Of what git said to a fetch that failed; what is none of the known is damage."""
    lower = said.lower()
    return next((kind for kind, signs in SIGNS if any(sign in lower for sign in signs)), Kind.BROKEN)


@contextmanager
def scratch(below: Path, authority: Path | None = None) -> Iterator[Git]:
    """An empty repository that is gone afterwards."""
    with TemporaryDirectory(prefix="mainstay-sources-", dir=below) as folder:
        made = Git(Path(folder), authority)
        made.run("init", "-q", "--bare", timeout_s=LOCAL_S)
        yield made


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
