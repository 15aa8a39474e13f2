"""A git repository that publishing adds one commit to: the one of metadata, which is the truth, and that of checksums.

It is kept bare in a cache of this machine; commits are made without a working tree. Whoever publishes pushes with the
own keys, under the own name: git's own configuration holds.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from roles.release.archive import blobs

ASKS_NOBODY = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "false",
    "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15",
}
TIMEOUT_S = 600


class RepositoryError(Exception):
    """git's words, and on which repository."""


class Behind(RepositoryError):
    """Somebody else has pushed since it was fetched."""


@dataclass(frozen=True)
class Repository:
    """url: as git takes it; folder: its cache here."""

    url: str
    folder: Path

    def fetch(self) -> str:
        """Brings the cache up to date; returns the newest commit of the repository's own branch.

        Raises RepositoryError; one without a commit is one that was never set up.
        """
        if not (self.folder / "HEAD").exists():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._git("init", "-q", "--bare")
        self._git("fetch", "-q", "--prune", "--no-tags", self.url, "+refs/heads/*:refs/heads/*")
        return self._git("rev-parse", "--verify", f"refs/heads/{self.branch()}").decode().strip()

    def branch(self) -> str:
        """What its HEAD points to."""
        for line in self._git("ls-remote", "--symref", self.url, "HEAD").decode().splitlines():
            if line.startswith("ref: refs/heads/"):
                return line.split("\t")[0].removeprefix("ref: refs/heads/")
        raise RepositoryError(f"{self.url} has no commit: push a first one by hand")

    def files(self, commit: str, folder: str = "") -> dict[str, bytes]:
        """Content by path of all regular files of a commit, or of those below a folder."""
        return blobs(self._git, commit, lambda path: path.startswith(folder))

    def distance(self, earlier: str, later: str) -> int | None:
        """How many commits lead from one to another; None when it is not among those before it."""
        if not self.knows(earlier) or not self.has(later, earlier):
            return None
        return int(self._git("rev-list", "--count", f"{earlier}..{later}"))

    def history(self, commit: str, path: str) -> Iterator[str]:
        """The commits up to this one that changed a file, the newest first."""
        yield from self._git("log", "--format=%H", commit, "--", path).decode().split()

    def changes(self, commit: str, folder: str) -> list[str]:
        """What changed below a folder up to a commit, the newest first: `at UNIX_TIME`, then `--- a/PATH` and each
        line that went with a minus."""
        plain = ("--no-color", "--no-renames", "--no-ext-diff", "--src-prefix=a/")
        told = self._git("log", "-p", "-U0", *plain, "--format=at %ct", commit, "--", folder)
        return told.decode(errors="replace").splitlines()

    def commit(self, parent: str, changes: Mapping[str, bytes | None], message: str) -> str:
        """Makes a commit on top of another, in which these files have this content, or are gone; returns its id, the
        parent's own when nothing changes."""
        with TemporaryDirectory(prefix="mainstay-") as scratch:
            index = Path(scratch, "index")
            self._git("read-tree", parent, index=index)
            lines = []
            for path, content in changes.items():
                if content is None:
                    lines.append(f"0 {'0' * 40}\t{path}\0")
                else:
                    blob = self._git("hash-object", "-w", "--stdin", stdin=content).decode().strip()
                    lines.append(f"100644 {blob}\t{path}\0")
            self._git("update-index", "-z", "--index-info", stdin=os.fsencode("".join(lines)), index=index)
            tree = self._git("write-tree", index=index).decode().strip()
        if tree == self._git("rev-parse", f"{parent}^{{tree}}").decode().strip():
            return parent
        return self._git("commit-tree", tree, "-p", parent, "-F", "-", stdin=message.encode()).decode().strip()

    def push(self, commit: str) -> None:
        """Makes it the newest commit of the repository. Raises Behind when it does not follow what is there by now;
        an answer that was lost is looked for."""
        branch = self.branch()
        try:
            self._git("push", "-q", self.url, f"{commit}:refs/heads/{branch}")
        except RepositoryError as error:
            newest = self.fetch()
            if self.has(newest, commit):
                return
            if not self.has(commit, newest):
                raise Behind(f"{self.url}: somebody pushed {newest[:10]} meanwhile; begin again") from None
            raise error from None

    def knows(self, commit: str) -> bool:
        """Whether it is in the cache."""
        return not self._run("cat-file", "-e", f"{commit}^{{commit}}").returncode

    def has(self, commit: str, earlier: str) -> bool:
        """Whether a commit comes after another, or is it."""
        return not self._run("merge-base", "--is-ancestor", earlier, commit).returncode

    def _git(self, *words: str, stdin: bytes = b"", index: Path | None = None) -> bytes:
        done = self._run(*words, stdin=stdin, index=index)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip() or f"git ended with {done.returncode}"
            raise RepositoryError(f"{self.url}: git {words[0]}: {said}")
        return done.stdout

    def _run(self, *words: str, stdin: bytes = b"", index: Path | None = None) -> "subprocess.CompletedProcess[bytes]":
        try:
            return subprocess.run(
                ["git", "--git-dir", self.folder, *words],
                input=stdin,
                capture_output=True,
                env=os.environ | ASKS_NOBODY | ({"GIT_INDEX_FILE": str(index)} if index else {}),
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RepositoryError(f"{self.url}: git {words[0]} did not end within {TIMEOUT_S} s") from None
