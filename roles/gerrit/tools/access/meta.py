"""Writes refs/meta/config of a project: one commit on top of the one that was read, pushed by git.

Gerrit takes a push only where it goes on from what is there: whoever else has written meanwhile is not written over.
"""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from backup.reach import Unreachable
from roles.gerrit.tools.access import words
from roles.gerrit.tools.rest import Refused, Server, part
from roles.gerrit.tools.sources.findings import Kind, shown
from roles.gerrit.tools.sources.git import Git, GitError, Place

NOW = "refs/meta/now"


class Raced(Exception):
    """Somebody else has written it since it was read."""


class Meta:
    """A repository to make commits in."""

    def __init__(self, git: Git, server: Server) -> None:
        self._git, self._server = git, server
        own = server.get("/accounts/self/detail") or {}
        self._author = (str(own.get("name", server.user)), str(own.get("email", f"{server.user}@localhost")))

    def write(self, project: str, before: str, files: Mapping[str, str], message: str) -> str:
        """Puts files in a project's configuration, whose others stay, and returns the new commit.

        before: the commit that was read. Raises Raced, Refused, Unreachable.
        """
        url = f"{self._server.url}/a/{quote(project)}"
        try:
            self._git.run("fetch", "-q", "--depth=1", "--no-tags", "--no-write-fetch-head", url, f"+{words.META}:{NOW}")
            if self._text("rev-parse", NOW) != before:
                raise Raced(project)
            commit = self._commit(before, files, message)
            self._git.run("push", "-q", url, f"{commit}:{words.META}")
        except GitError as error:
            if error.kind is Kind.UNREACHABLE:
                raise Unreachable(f"Gerrit does not answer: {error}") from None
            if revision(self._server, project) != before:
                raise Raced(project) from None
            raise Refused(f"project {project}: Gerrit does not take its configuration: {_why(error)}") from None
        return commit

    def _commit(self, before: str, files: Mapping[str, str], message: str) -> str:
        listed = self._git.run("ls-tree", "-z", before).decode().split("\0")
        lines = [line for line in listed if line and line.partition("\t")[2] not in files]
        for name, text in files.items():
            blob = self._text("hash-object", "-w", "--stdin", stdin=text.encode())
            lines.append(f"100644 blob {blob}\t{name}")
        tree = self._text("mktree", "-z", stdin="".join(f"{line}\0" for line in lines).encode())
        name, email = self._author
        who = ("-c", f"user.name={name}", "-c", f"user.email={email}")
        signed = f"{message}\n\nSigned-off-by: {name} <{email}>\n"
        return self._text(*who, "commit-tree", "-p", before, tree, stdin=signed.encode())

    def _text(self, *words_: str, stdin: bytes = b"") -> str:
        return self._git.run(*words_, stdin=stdin).decode().strip()


def _why(error: GitError) -> str:
    """Gerrit's own words, without what it says of its progress, or git's."""
    own = re.findall(r"ERROR: (?:commit \w+: )?(.*)|\[remote rejected\] (.*)", error.whole)
    return shown("; ".join(dict.fromkeys("".join(one).strip() for one in own))) if own else error.said


def revision(server: Server, project: str) -> str:
    """Of a project's configuration, now."""
    found = server.get(f"/projects/{part(project)}/branches/{part(words.META)}")
    return str(found["revision"]) if found else ""


@contextmanager
def meta(server: Server, below: Path) -> Iterator[Meta]:
    """For as long as it is needed. The login lies in a file that nobody else can read, and on no command line."""
    with Place(below).scratch() as git:
        login = b64encode(f"{server.user}:{server.token}".encode()).decode()
        with (git.folder / "config").open("a") as config:
            config.write(f"[http]\n\textraHeader = Authorization: Basic {login}\n")
        yield Meta(git, server)
