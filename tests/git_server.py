"""Repositories served as a forge does: git's own `git http-backend`, and an LFS server that keeps objects as files.

`python -m tests.git_server FOLDER` serves a folder by a process of its own and says its port. The LFS server is as
small as its protocol lets it be (docs/api/batch.md of git-lfs): it answers by what is on its disk at that moment.
"""

import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BATCH = "/info/lfs/objects/batch"
OBJECTS = "lfs"
WHO = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n"


def git(folder: Path, *words: str) -> str:
    """Output of git, without this machine's configuration."""
    env = {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "HOME": str(folder),
    }
    done = subprocess.run(["git", "-C", folder, *WHO, *words], env=env, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stdout.strip()


@dataclass
class Forge:
    """root: bare repositories, NAME.git each, and `lfs`; private: names that nobody without a login reads; asked: the
    lines of all requests; logins: what came with one to prove who asks; busy: answers nothing but 503; is_old: knows
    protocol 0 alone, and hands out tips alone; stuck: names whose whole history does not come before it is let go."""

    root: Path
    port: int = 0
    host: str = "127.0.0.1"
    private: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    busy: bool = False
    is_old: bool = False
    stuck: set[str] = field(default_factory=set)
    go: threading.Event = field(default_factory=threading.Event)
    echoes: bool = False
    """The LFS server does not compare sizes: it says what it was asked."""
    authority: Path | None = None
    """It is asked by https alone: the certificate that it shows, and key.pem beside it."""
    projects: list[str] | None = None
    """What it lists, as Gerrit's GET /projects/ does; None: nothing."""
    broken: set[str] = field(default_factory=set)
    """Names of which it answers what refs they have, and no more."""
    stalled: set[str] = field(default_factory=set)
    """Names whose objects do not come whole: half of them, and then nothing until the client goes."""
    cut: set[str] = field(default_factory=set)
    """The same, and then the connection ends."""
    leads: dict[str, str] = field(default_factory=dict)
    """Paths with such a word in them lead to the same path elsewhere."""
    away: bool = False
    """Of repositories it answers nothing but 503."""

    @property
    def url(self) -> str:
        return f"http{'s' if self.authority else ''}://{self.host}:{self.port}"

    def folder(self, name: str) -> Path:
        return self.root / f"{name}.git"

    def make(self, name: str, files: dict[str, str], message: str = "one", branch: str = "main") -> str:
        """Makes a repository, or adds a commit on top of its branch. Returns the commit."""
        bare = self.folder(name)
        if not bare.exists():
            bare.mkdir(parents=True)
            git(bare, "init", "-q", "--bare", "-b", branch)
            git(bare, "config", "uploadpack.allowFilter", "true")
        lines = [f"commit refs/heads/{branch}", "committer S <s@example.org> 1800000000 +0000"]
        lines += [f"data {len(message.encode())}", message]
        if subprocess.run(
            ["git", f"--git-dir={bare}", "rev-parse", "-q", "--verify", branch], capture_output=True
        ).stdout:
            lines.append(f"from refs/heads/{branch}^0")
        for path, content in files.items():
            lines += [f"M 100644 inline {path}", f"data {len(content.encode())}", content]
        stream = "\n".join(lines) + "\n"
        command = ["git", f"--git-dir={bare}", "fast-import", "--quiet"]
        subprocess.run(command, input=stream.encode(), check=True)
        return git(bare, "rev-parse", branch)

    def store(self, content: bytes) -> str:
        """Puts an object into the LFS store; returns the pointer that a commit has for it."""
        oid = sha256(content).hexdigest()
        self.object(oid).parent.mkdir(exist_ok=True)
        self.object(oid).write_bytes(content)
        return POINTER.format(oid=oid, size=len(content))

    def object(self, oid: str) -> Path:
        return self.root / OBJECTS / oid


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    forge: Forge

    def log_message(self, *_: object) -> None:
        self.forge.asked.append(self.requestline)
        self.forge.logins += self.headers.get_all("Authorization") or []

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            self._serve(b"".join(parts))
        else:
            self._serve(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _serve(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        name = path.lstrip("/").partition("/info/")[0].partition("/git-upload-pack")[0].removesuffix(".git")
        if name in self.forge.stuck and b"command=fetch" in body and b"deepen" not in body:
            self.forge.go.wait()
        if self.forge.busy:
            self._answer(503, b"busy")
        elif at := next((at for word, at in self.forge.leads.items() if word in path), ""):
            self._answer(307, b"", {"Location": at + self.path})
        elif path == "/projects/" and self.forge.projects is not None:
            self._answer(200, self._listed(query))
        elif self.forge.away:
            self._answer(503, b"away")
        elif name in self.forge.broken and b"command=fetch" in body:
            self._answer(500, b"broken")
        elif name in self.forge.private:
            self._answer(401, b"who are you?", {"WWW-Authenticate": "Basic"})
        elif path.startswith(f"/{OBJECTS}/"):
            stored = self.forge.object(Path(path).name)
            self._answer(200, stored.read_bytes()) if stored.exists() else self._answer(404, b"")
        elif not self.forge.folder(name).exists():
            self._answer(404, b"no such repository")
        elif path.endswith(BATCH):
            self._answer(200, self._batch(json.loads(body)), {"Content-Type": "application/vnd.git-lfs+json"})
        else:
            self._backend(
                name,
                f"/{name}.git" + path[len(path.partition("/info/")[0]) :] if "/info/" in path else "",
                query,
                body,
            )

    def _listed(self, query: str) -> bytes:
        """A page, as large and from where it is asked."""
        asked = {key: int(value) for key, _, value in (one.partition("=") for one in query.split("&"))}
        page = sorted(self.forge.projects or ())[asked["S"] :][: asked["n"]]
        return b")]}'\n" + json.dumps({name: {"state": "ACTIVE"} for name in page}).encode()

    def _batch(self, asked: dict[str, list[dict[str, object]]]) -> bytes:
        told = []
        for one in asked["objects"]:
            stored = self.forge.object(str(one["oid"]))
            answer: dict[str, object] = {"oid": one["oid"], "size": one["size"]}
            if not stored.exists():
                answer["error"] = {"code": 404, "message": "Object does not exist"}
            elif stored.stat().st_size != one["size"] and not self.forge.echoes:
                answer["error"] = {"code": 422, "message": "Object size does not match"}
            else:
                answer["actions"] = {"download": {"href": f"{self.forge.url}/{OBJECTS}/{one['oid']}"}}
            told.append(answer)
        return json.dumps({"transfer": "basic", "objects": told}).encode()

    def _backend(self, name: str, path: str, query: str, body: bytes) -> None:
        """git http-backend(1), by CGI."""
        asked = self.path.partition("?")[0]
        if not path:
            path = f"{asked.removesuffix('/git-upload-pack').removesuffix('.git')}.git/git-upload-pack"
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.forge.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": "" if self.forge.is_old else self.headers.get("Git-Protocol", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        out = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, check=False).stdout
        head, _, content = out.partition(b"\r\n\r\n")
        if b"command=fetch" in body and name in self.forge.stalled | self.forge.cut:
            self._half(content, name)
            return
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        self._answer(int(headers.pop("Status", "200").split()[0]), content, headers)

    def _half(self, content: bytes, name: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-git-upload-pack-result")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.wfile.flush()
        if name in self.forge.stalled:
            self.rfile.read(1)
        self.close_connection = True

    def _answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


@contextmanager
def forge(root: Path, authority: Path | None = None, host: str = "127.0.0.1") -> Iterator[Forge]:
    """Serves a folder at an address of this machine; authority: by https, with this certificate and key.pem beside
    it."""
    made = Forge(root, host=host, authority=authority)
    server = _Server((host, 0), type("Handler", (_Handler,), {"forge": made}))
    if authority:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(authority, authority.with_name("key.pem"))
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    made.port = server.server_address[1]
    serving = threading.Thread(target=server.serve_forever, args=(0.05,))
    serving.start()
    try:
        yield made
    finally:
        made.go.set()
        server.shutdown()
        serving.join()
        server.server_close()


if __name__ == "__main__":
    with forge(Path(sys.argv[1])) as served:
        print(served.port, flush=True)
        sys.stdin.read()
