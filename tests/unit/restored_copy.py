"""A restored copy without a host: a real folder, a real shell, a real web server on this machine's loopback."""

import contextlib
import grp
import gzip
import os
import pwd
import re
import shutil
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from backup.certificate import new_key, self_signed
from backup.drills import serving
from backup.drills.checks import Check, CheckFailed, Drill, Evidence, File, NotJudged, Restored
from backup.drills.web_client import Web
from inventories import trusted

NAME = "release.example.org"
KINDS = {"html": "text/html", "css": "text/css", "svg": "image/svg+xml", "xml": "text/xml", "zip": "application/zip"}
TYPES = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo"}


SERVES_ALL = "# serves what begins with a dot\n"
NEVER_MISSING = "# answers 200 with a page where there is nothing\n"
NEVER_COMPLETE = "# answers a range beyond the end with the whole\n"
"""In the server's configuration: a server that is not as it should be."""


def listing(root: Path) -> list[File]:
    """What restic would list of a folder."""
    found = []
    for path in sorted(root.rglob("*")):
        seen = path.lstat()
        kind = TYPES[stat.S_IFMT(seen.st_mode)]
        found.append(
            File(
                os.fsencode(path.relative_to(root)).decode(errors="replace"),
                kind,
                seen.st_size if kind == "file" else 0,
                datetime.fromtimestamp(seen.st_mtime_ns // 1000 / 1_000_000, UTC),
                stat.S_IMODE(seen.st_mode) & 0o777,
                pwd.getpwuid(seen.st_uid).pw_name,
                grp.getgrgid(seen.st_gid).gr_name,
            )
        )
    return found


class Handler(BaseHTTPRequestHandler):
    """nginx's answers as the checks of release and web look at them (roles/*/tree): the rules, not the program."""

    server: "Server"
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        place = unquote(self.path.partition("?")[0], errors="surrogateescape")
        config = self.server.config.read_text()
        root = Path(re.findall(r"(?m)^root ([^;]+);", config)[0])
        settings = self.server.settings
        is_web = hasattr(settings, "redirects")
        hidden = SERVES_ALL not in config and re.search(r"/\.(?!(?:well-known|messages)/)", place)
        if is_web and place.lower() in (places := settings.places()):
            return self.end(301, b"", Location=places[place.lower()])
        if not is_web and re.match(rf"/(?:ota|factory)/(?:{'|'.join(settings.retired) or '-'})(?:/|$)", place):
            return self.end(410, b"gone")
        tried = [place, f"{place}.html", f"{place}index.html"] if is_web else [place]
        if re.fullmatch(r"/(?:ota|factory)/[^/]+/[^/.]+(?:-changelog\.html)?", place) and not is_web:
            root = self.server.metadata
        files = [root / one.lstrip("/") for one in tried if not hidden and one != "/404.html"]
        file = next((one for one in files if one.is_file()), None)
        if file is None:
            if NEVER_MISSING in config:
                return self.end(200, b"welcome")
            own = root / "404.html"
            return self.end(404, own.read_bytes() if is_web and own.exists() else b"not found")
        kind = KINDS.get(file.suffix[1:], "text/plain")
        return self.send_file(file, kind, self.server.settings)

    def send_file(self, file: Path, kind: str, settings: Any) -> None:
        body, headers = file.read_bytes(), {"Content_Type": f"{kind}; charset=utf-8", "Accept_Ranges": "bytes"}
        if (origin := self.headers.get("Origin")) in getattr(settings, "installer_origins", ()):
            headers["Access_Control_Allow_Origin"] = str(origin)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked:
            first, last = int(asked[1]), min(int(asked[2] or len(body) - 1), len(body) - 1)
            if first >= len(body) and NEVER_COMPLETE not in self.server.config.read_text():
                return self.end(416, b"", Content_Range=f"bytes */{len(body)}")
            headers["Content_Range"] = f"bytes {first}-{last}/{len(body)}"
            return self.end(206, body[first : last + 1], **headers)
        if hasattr(settings, "redirects") and kind != "text/plain" and "gzip" in self.headers["Accept-Encoding"]:
            return self.end(200, gzip.compress(body), **headers, Content_Encoding="gzip")
        return self.end(200, body, **headers)

    def end(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        return "nginx"

    def log_message(self, *_: object) -> None:
        """Nothing."""


class Server(ThreadingHTTPServer):
    """By TLS, with the certificate that lies there at that moment."""

    daemon_threads = True

    def __init__(self, config: Path, certificate: Path, settings: Any) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.config, self.certificate, self.settings = config, certificate, settings
        self.metadata = config.parent / "srv/metadata"

    def finish_request(self, request: Any, client_address: Any) -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self.certificate)
        with contextlib.suppress(ssl.SSLError), tls.wrap_socket(request, server_side=True) as connection:
            super().finish_request(connection, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Done by then."""


@dataclass
class Copy:
    """A Restored whose host is this machine: root is a folder of the test, sh its own shell."""

    folder: Path
    settings: Any
    pristine: Path
    saved: Sequence[File]
    port: int
    mirrors: dict[str, Path] = field(default_factory=dict)
    record: Path = Path("/nonexistent")
    turn: int = 0
    host: str = "host-1"
    snapshot_time: datetime = datetime(2026, 11, 25, 12, tzinfo=UTC)
    part: Sequence[File] | None = None
    names: Sequence[str] = (NAME,)

    @property
    def root(self) -> str:
        return str(self.folder)

    @cached_property
    def client(self) -> Web:
        return Web("127.0.0.1", NAME, trusted.pinned(serving.own_certificate(self)), self.port)

    @property
    def wanted(self) -> Sequence[File]:
        return self.saved if self.part is None else self.part

    def sh(self, script: str, *arguments: str, timeout_s: float = 120) -> str:
        programs = self.folder.parent / "bin"
        path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        words = ["sh", "-c", script, "sh", *arguments]
        done = subprocess.run(words, env={"PATH": path}, capture_output=True, text=True, timeout=timeout_s, check=False)
        if done.returncode:
            raise CheckFailed(done.stderr.strip() or f"exit code {done.returncode}")
        return done.stdout

    def read(self, *paths: str) -> list[bytes]:
        return [(self.pristine / path).read_bytes() for path in paths]

    def last(self, check: str) -> Sequence[str]:
        return ()

    def mirror(self, name: str) -> Path:
        if name not in self.mirrors:
            raise NotJudged(f"no mirror {name}")
        return self.mirrors[name]

    def file(self, path: str) -> Path:
        return self.folder / path

    def serves(self, kind: str) -> None:
        """From now on its server is one that is not as it should be."""
        config = self.folder.parent / "server.inc"
        config.write_text(config.read_text() + kind)

    def relisted(self) -> None:
        """From now on the snapshot has what lies there now."""
        self.saved = listing(self.folder)


@contextlib.contextmanager
def restored(
    folder: Path, pristine: Path, settings: Any, monkeypatch: pytest.MonkeyPatch, saved: Sequence[File] = ()
) -> Iterator[Copy]:
    """A copy of a folder, served; `systemctl` of its host does nothing, as its server reads its root each time."""
    root, programs = folder / "srv", folder / "bin"
    shutil.copytree(pristine, root, symlinks=True)
    programs.mkdir()
    (programs / "systemctl").symlink_to("/bin/true")
    config = folder / "server.inc"
    config.write_text(f"listen 80;\nroot {root}/public;\n")
    certificate, key = folder / "site.pem", new_key()
    certificate.write_text(key + self_signed(key, (NAME,)))
    monkeypatch.setattr(serving, "SERVER_FILE", str(config))
    monkeypatch.setattr(serving, "CERTIFICATE_FILE", str(certificate))
    monkeypatch.setattr(serving, "OTHER_SITE", str(folder / "another-site"))
    server = Server(config, certificate, settings)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield Copy(root, settings, pristine, saved or listing(pristine), server.server_port)
    finally:
        server.shutdown()
        server.server_close()


def check(drill: Drill, name: str) -> Check:
    return next(one for one in drill.checks if one.name == name)


def run(drill: Drill, name: str, copy: Restored) -> Evidence:
    """What a check says of a copy; raises as it does."""
    return check(drill, name).run(copy)


def failure(drill: Drill, name: str, copy: Restored) -> str:
    """What is found by a check that fails."""
    with pytest.raises(CheckFailed) as caught:
        run(drill, name, copy)
    return str(caught.value)


def plant(drill: Drill, name: str, copy: Copy) -> str:
    """Plants a fault; returns what was done."""
    return next(one for one in drill.faults if one.name == name).plant(copy)


def must_be_found(drill: Drill, name: str, copy: Copy) -> None:
    """A fault is planted, and the check that is there for it passes before and fails after that."""
    if name == "wrong owner" and os.geteuid():
        pytest.skip("only root can give a file away")
    fault = next(one for one in drill.faults if one.name == name)
    run(drill, fault.caught_by, copy)
    assert fault.plant(copy)
    assert failure(drill, fault.caught_by, copy)


def git(folder: Path, *words: str) -> str:
    names = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    env = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", **names}
    return subprocess.run(["git", *words], cwd=folder, env=env, capture_output=True, text=True, check=True).stdout
