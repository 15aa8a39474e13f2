"""The lab's Gerrit as developers use it: changes are pushed over ssh and https, approved and submitted, and fetched by
anybody.

They are the lab's admin's, by the key that `mainstay gerrit apply` gives Gerrit, and a token for as long as it takes.
"""

import os
import secrets
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from backup import custody
from backup.reach import reach
from backup.sizes import counted
from inventories import by_name, trusted
from inventories.inventory import LoadedSite
from roles.gerrit.settings import SSH_PORT
from roles.gerrit.tools.rest import Request, connected, part
from roles.gerrit.tools.server import ROLE, host_of

BRANCH = "main"
MANIFEST, PROJECT = "manifest", "platform/hello"
PUSHED = {MANIFEST: "ssh", PROJECT: "https"}
"""Over what the change of each project is pushed, approved and submitted."""
TOKEN = "rehearsal"  # noqa: S105  # its name at Gerrit
TIMEOUT_S = 120
XML = """<manifest>
  <remote name="review" fetch="{url}"/>
  <default remote="review" revision="{branch}"/>
  <project name="{project}" path="hello"/>
</manifest>
<!-- {mark} -->
"""


class ReviewError(Exception):
    """Gerrit would have let a developer down; has its or git's words."""


@dataclass(frozen=True)
class Developer:
    """A person with a key and a token. folder: for clones, and what git and ssh are to trust and to log in by."""

    site: LoadedSite
    name: str
    email: str
    token: str = field(repr=False)
    folder: Path

    @property
    def server(self) -> str:
        """Its name."""
        return self.site.fleet.hosts[host_of(self.site)].dns[0]

    @property
    def address(self) -> str:
        return self.site.lock.hosts[host_of(self.site)].ipv4

    def prepare(self) -> None:
        """Gerrit's own host keys, by way of its host; and the login for https, for git alone to read."""
        keys = f"{custody.recovery(ROLE).root}/site/etc/ssh_host_*_key.pub"
        with reach(self.site) as way:
            told = _run(way.admin(host_of(self.site), shlex.join(["sudo", "-n", "sh", "-c", f"cat {keys}"])))
        at = f"[{self.address}]:{SSH_PORT}"
        lines = [" ".join([at, *line.split()[:2]]) for line in told.splitlines()]
        (self.folder / "known_hosts").write_text("\n".join([*lines, ""]))
        (self.folder / "credentials").touch(mode=0o600)
        (self.folder / "credentials").write_text(f"https://{self.name}:{self.token}@{self.server}\n")

    @property
    def ssh(self) -> list[str]:
        """The words that reach Gerrit by its ssh; after them its address or a command."""
        options = {"UserKnownHostsFile": self.folder / "known_hosts", "StrictHostKeyChecking": "yes"}
        options |= {"IdentitiesOnly": "yes", "IdentityAgent": "none", "BatchMode": "yes"}
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", "-F", "none", "-i", str(self.site.ssh_key), *words]

    def git(self, *words: str, at: Path | None = None, anonymous: bool = False) -> str:
        """Without this machine's own configuration and credentials. Raises ReviewError."""
        options = {
            "http.sslCAInfo": self.site.files / trusted.ROOTS,
            "http.curloptResolve": f"{self.server}:443:{self.address}",
            "credential.helper": "" if anonymous else f"store --file {self.folder}/credentials",
            "user.name": self.name,
            "user.email": self.email,
        }
        given = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        own = {"HOME": str(self.folder), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
        return _run(
            ["git", *given, *words],
            at=at,
            env=own | {"PATH": os.environ["PATH"], "GIT_SSH_COMMAND": shlex.join(self.ssh)},
        )

    def url(self, way: str, project: str) -> str:
        """Of a project, by one way in; `anonymous` is https without a login."""
        if way == "ssh":
            return f"ssh://{self.name}@{self.address}:{SSH_PORT}/{project}"
        return f"https://{self.server}/{'' if way == 'anonymous' else 'a/'}{project}"

    def clone(self, way: str, project: str, into: str) -> Path:
        made = self.folder / into
        self.git("clone", "-q", "-b", BRANCH, self.url(way, project), str(made), anonymous=way == "anonymous")
        return made

    def push(self, work: Path, file: str, text: str) -> tuple[str, str]:
        """A new change of one file on the branch as it was cloned, for review. Returns its Change-Id and commit."""
        self.git("reset", "-q", "--hard", f"origin/{BRANCH}", at=work)
        (work / file).write_text(text)
        change = f"I{secrets.token_hex(20)}"
        self.git("add", file, at=work)
        self.git("commit", "-q", "-m", f"Change {file}\n\nChange-Id: {change}", at=work)
        self.git("push", "-q", "origin", f"HEAD:refs/for/{BRANCH}", at=work)
        return change, self.git("rev-parse", "HEAD", at=work).strip()

    def submit(self, way: str, project: str, change: str, commit: str) -> None:
        """Approves it first. Raises ReviewError."""
        if way == "ssh":
            command = ("gerrit", "review", "--project", project, "--code-review", "+2", "--submit", commit)
            _run([*self.ssh, "-p", str(SSH_PORT), f"{self.name}@{self.address}", *command])
            return
        with by_name.session(self.server, trusted.context(self.site.files)) as session:
            session.auth = (self.name, self.token)
            at = f"https://{self.address}/a/changes/{part(f'{project}~{BRANCH}~{change}')}"
            votes = {"labels": {"Code-Review": 2}}
            for path, body in ("revisions/current/review", votes), ("submit", {}):
                answer = session.post(f"{at}/{path}", json=body, timeout=TIMEOUT_S)
                if not answer.ok:
                    raise ReviewError(f"{project}: {path}: {answer.status_code}: {answer.text.strip()[:500]}")


@contextmanager
def at_work(site: LoadedSite) -> Iterator[Developer]:
    """The lab's admin, with a token until the end. Raises Unreachable, Refused, ReviewError."""
    [admin] = site.admins.all()
    token = secrets.token_urlsafe(32)
    account = f"/accounts/{part(admin.name)}"
    old = Request("DELETE", f"{account}/tokens/{TOKEN}", tolerated=(404,))
    with connected(site) as server, TemporaryDirectory(prefix="mainstay-") as scratch:
        email = server.get(f"{account}/detail")["email"]
        server.ask(old)
        server.ask(Request("PUT", f"{account}/tokens/{TOKEN}", {"token": token}))
        try:
            made = Developer(site, admin.name, email, token, Path(scratch))
            made.prepare()
            yield made
        finally:
            server.ask(old)


def changes(site: LoadedSite) -> str:
    """One of each project, through to who fetches it without a login. Returns it in words; raises as `at_work`."""
    with at_work(site) as developer:
        for project, way in PUSHED.items():
            work = developer.clone(way, project, f"{way}-{part(project)}")
            mark = secrets.token_hex(8)
            url = developer.url("anonymous", "").rstrip("/")
            xml = XML.format(url=url, branch=BRANCH, project=PROJECT, mark=mark)
            named = ("default.xml", xml) if project == MANIFEST else ("README.md", f"Hello {mark}\n")
            change, commit = developer.push(work, *named)
            developer.submit(way, project, change, commit)
            fetched = developer.clone("anonymous", project, f"anonymous-{part(project)}")
            if mark not in (fetched / named[0]).read_text():
                raise ReviewError(f"{project}: {change} was submitted, and {BRANCH} is without it")
    return f"{counted(len(PUSHED), 'change')} submitted, over {' and '.join(PUSHED.values())}, and fetched by anybody"


@contextmanager
def pushing(site: LoadedSite) -> Iterator[Callable[[], str]]:
    """Changes are pushed all the time, over ssh and https, until what it yields is called, which tells how many were.

    Begins when each way has pushed one. Raises as `at_work`, and ReviewError when one is refused.
    """
    ended = threading.Event()
    first = [threading.Event() for _ in PUSHED]
    counts: list[int] = []

    with at_work(site) as developer, ThreadPoolExecutor() as pool:

        def work(way: str, begun: threading.Event) -> int:
            try:
                place, pushed = developer.clone(way, PROJECT, f"pushing-{way}"), 0
                while not ended.is_set():
                    developer.push(place, f"{way}.txt", secrets.token_hex(2000))
                    pushed += 1
                    begun.set()
                return pushed
            finally:
                begun.set()

        running = [pool.submit(work, *one) for one in zip(PUSHED.values(), first, strict=True)]

        def end() -> str:
            ended.set()
            counts.extend(one.result() for one in running)
            return f"{counted(sum(counts), 'change')} taken, over {' and '.join(PUSHED.values())}"

        try:
            for begun in first:
                begun.wait()
            yield end
        finally:
            ended.set()


def _run(words: list[str], at: Path | None = None, env: dict[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            words,
            cwd=at,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ReviewError(f"{words[-1]}: took longer than {TIMEOUT_S} s") from None
    if done.returncode:
        raise ReviewError(f"{words[0]} {words[-1]}: exit {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout
