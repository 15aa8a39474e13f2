"""Those who push to a Gerrit of a lab, by https as anybody does, and its administrator."""

import os
import secrets
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from backup.reach import reach
from inventories import trusted
from inventories.inventory import load_site
from roles.gerrit.tools.rest import Request, Server, connected, part
from roles.gerrit.tools.restore import Gerrit
from roles.gerrit.tools.server import host_of
from tests.gerrit_site import HOST, NAME
from tests.saved_site import Saved


@contextmanager
def administrator(saved: Saved) -> Iterator[Gerrit]:
    site = load_site(saved.inventory)
    with reach(site) as way, connected(site) as server:
        yield Gerrit(way, host_of(site), server)


def make_project(gerrit: Gerrit, name: str) -> None:
    body = {"create_empty_commit": True, "branches": ["main"]}
    gerrit.server.ask(Request("PUT", f"/projects/{part(name)}", body))


def changes(gerrit: Gerrit, query: str) -> dict[int, Any]:
    found = gerrit.server.get("/changes/", q=query, o="CURRENT_REVISION", n=500)
    return {one["_number"]: one for one in found}


@dataclass(frozen=True)
class Pushed:
    """A commit for review, from when to when its push took, by this machine's clock, which is the lab's."""

    commit: str
    began: float
    ended: float


@dataclass(frozen=True)
class Pusher:
    """A clone of one project, in a folder of its own."""

    saved: Saved
    server: Server
    email: str
    project: str
    folder: Path

    @classmethod
    def of(cls, saved: Saved, gerrit: Gerrit, project: str, folder: Path) -> "Pusher":
        return cls(saved, gerrit.server, gerrit.server.get("/accounts/self")["email"], project, folder)

    def git(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        site = load_site(self.saved.inventory)
        settings = {
            "http.curloptResolve": f"{NAME}:443:{site.lock.hosts[HOST].ipv4}",
            # A connection to a host that was killed would be waited at for ever.
            "http.lowSpeedLimit": "1",
            "http.lowSpeedTime": "20",
            "user.name": "Pusher",
            "user.email": self.email,
        }
        options = [word for item in settings.items() for word in ("-c", "=".join(item))]
        trust = {"GIT_SSL_CAINFO": str(site.files / trusted.ROOTS)}
        environment = os.environ | trust | {"GIT_TERMINAL_PROMPT": "0"}
        where = ["-C", str(self.folder)] if self.folder.exists() else []
        command = ["git", *options, *where, *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done

    @property
    def url(self) -> str:
        return f"https://{self.server.user}:{quote(self.server.token, safe='')}@{NAME}/a/{quote(self.project)}"

    def clone(self) -> None:
        self.git("clone", "-q", self.url, str(self.folder))

    def commit(self) -> str:
        """A change of its own, on the branch as it was cloned."""
        self.git("reset", "-q", "--hard", "origin/main")
        (self.folder / "file").write_text(secrets.token_hex(2000))
        self.git("add", "file")
        self.git("commit", "-q", "-m", f"one\n\nChange-Id: I{secrets.token_hex(20)}")
        return self.git("rev-parse", "HEAD").stdout.strip()

    def push(self) -> Pushed | None:
        """A change, for review; None: it was not acknowledged."""
        commit, began = self.commit(), time.time()
        done = self.git("push", "-q", "origin", "HEAD:refs/for/main", check=False)
        return Pushed(commit, began, time.time()) if done.returncode == 0 else None


@dataclass
class Crowd:
    """Several who push all the time, and what was acknowledged."""

    pushed: list[Pushed] = field(default_factory=list)


@contextmanager
def pushing(pushers: list[Pusher]) -> Iterator[Crowd]:
    crowd, ended = Crowd(), threading.Event()

    def work(pusher: Pusher) -> None:
        while not ended.is_set():
            if done := pusher.push():
                crowd.pushed.append(done)

    threads = [threading.Thread(target=work, args=(one,)) for one in pushers]
    for thread in threads:
        thread.start()
    try:
        yield crowd
    finally:
        ended.set()
        for thread in threads:
            thread.join()
