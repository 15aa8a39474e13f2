"""Takes the journals of hosts by TLS, each in a folder of its own: `CONFIG`, a JSON file.

Debian's systemd-journal-remote cannot ask for a client's certificate, so this stands before it: who connects shows a
certificate of the site's authority, whose name decides the folder. All that anybody can do is POST to /upload; what is
sent goes to one systemd-journal-remote for each host, which bounds the folder (journal-remote.conf). Nothing is ever
read back, and nothing removed but what is too old.
"""

import contextlib
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

REMOTE = "/usr/lib/systemd/systemd-journal-remote"
LARGEST_LINE = 1024
PIECE = 1 << 16
HANDSHAKE_S = 15
KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 20), (socket.TCP_KEEPCNT, 4))
"""A host that went away without a word is given up after so many seconds, and one that has nothing to say is not."""
LOOK_S, PRUNE_S = 60, 3600
HELP = """# HELP mainstay_journal_time_seconds When something of the host's journal came last (Unix time; 0: never).
# TYPE mainstay_journal_time_seconds gauge
"""


class Refused(Exception):
    """What was sent is no upload of a journal."""


class Journals:
    """The folders, and who writes to each."""

    def __init__(self, folder: Path, hosts: list[str]) -> None:
        self.folder, self.hosts = folder, frozenset(hosts)
        self._lock = threading.Lock()
        self._writers: dict[str, subprocess.Popen[bytes]] = {}
        self.heard = {host: _changed(folder / host / "remote.journal") for host in hosts}
        """When something came last, by host."""

    def begin(self, host: str) -> "subprocess.Popen[bytes]":
        """A writer for a host, in the place of one whose connection was lost."""
        folder = self.folder / host
        folder.mkdir(mode=0o750, exist_ok=True)
        words = [REMOTE, f"--output={folder}/remote.journal", "--split-mode=none", "-"]
        with self._lock:
            if old := self._writers.get(host):
                end(old)
            self._writers[host] = subprocess.Popen(words, stdin=subprocess.PIPE)
            return self._writers[host]

    def hear(self, host: str) -> None:
        """Something has come."""
        self.heard[host] = time.time()

    def metrics(self) -> str:
        """For the node exporter."""
        lines = [f'mainstay_journal_time_seconds{{host="{host}"}} {when:.0f}' for host, when in self.heard.items()]
        return HELP + "".join(f"{line}\n" for line in lines)

    def prune(self, days: int) -> None:
        """Removes what is too old, of hosts that are no more, too."""
        for folder in self.folder.iterdir():
            words = ["journalctl", f"--directory={folder}", f"--vacuum-time={days}d", "--quiet"]
            subprocess.run(words, check=False)


def _changed(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0


def end(writer: "subprocess.Popen[bytes]") -> int:
    """Lets it write what it has, and waits for its end; its exit code."""
    assert writer.stdin
    with contextlib.suppress(OSError):
        writer.stdin.close()
    try:
        return writer.wait(30)
    except subprocess.TimeoutExpired:
        writer.kill()
        return writer.wait()


def copy(source: BinaryIO, chunked: bool, length: int, target: BinaryIO, heard: Callable[[], None]) -> None:
    """A request's body; heard: called with each piece of it.

    Raises Refused for what is none, and OSError where either side has ended.
    """
    while True:
        left = _chunk(source) if chunked else length
        if not left:
            break
        while left:
            piece = source.read1(min(left, PIECE))  # type: ignore[attr-defined]
            if not piece:
                raise Refused("it ended in the middle")
            target.write(piece)
            target.flush()
            heard()
            left -= len(piece)
        if not chunked:
            return
        source.readline(LARGEST_LINE)
    while source.readline(LARGEST_LINE).strip():
        pass


def _chunk(source: BinaryIO) -> int:
    line = source.readline(LARGEST_LINE)
    try:
        return int(line.partition(b";")[0].strip(), 16)
    except ValueError:
        raise Refused("no chunk") from None


class Taker(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    connection: ssl.SSLSocket
    server: "Server"

    def setup(self) -> None:
        """The handshake is this thread's: nobody who is slow keeps others out."""
        self.request.settimeout(HANDSHAKE_S)
        self.request.do_handshake()
        self.request.settimeout(None)
        super().setup()

    def do_POST(self) -> None:
        self.close_connection = True
        host = named(self.connection.getpeercert() or {})
        if self.path != "/upload" or host not in self.server.journals.hosts:
            self.send_error(404 if self.path != "/upload" else 403)
            return
        chunked = self.headers.get("Transfer-Encoding", "") == "chunked"
        length = self.headers.get("Content-Length", "")
        if not chunked and not length.isdigit():
            self.send_error(411)
            return
        journals = self.server.journals
        writer = journals.begin(host)
        assert writer.stdin
        try:
            copy(self.rfile, chunked, int(length or 0), writer.stdin, lambda: journals.hear(host))  # type: ignore[arg-type]
        except (Refused, OSError, ValueError) as error:  # ValueError: another connection has closed its writer
            end(writer)
            print(f"{host}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            return
        if end(writer):
            self.send_error(500)
            return
        self.close_connection = False  # a host makes a request of each piece that it has
        self.send_response(202)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"OK\n")

    def log_message(self, *_: object) -> None:
        """Nothing: it would be written of every host, each time it is deployed."""


class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True

    def __init__(self, port: int, tls: ssl.SSLContext, journals: Journals) -> None:
        self.tls, self.journals = tls, journals
        super().__init__(("::", port), Taker)

    def get_request(self) -> tuple[socket.socket, Any]:
        plain, address = super().get_request()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            plain.setsockopt(socket.IPPROTO_TCP, option, value)
        return self.tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A stranger's handshake, or a connection that was lost: a line, and no traceback."""
        print(f"{client_address[0]}: {sys.exception()}", file=sys.stderr, flush=True)


def named(certificate: Any) -> str:
    """The name that a certificate bears, as ssl tells it."""
    return next((value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"), "")


def context(key: str, certificate: str, authority: str) -> ssl.SSLContext:
    """Takes clients with a certificate of that authority alone."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(authority)
    made.load_cert_chain(certificate, key)
    return made


def main() -> None:
    config, key, certificate, authority = sys.argv[1:]
    told = json.loads(Path(config).read_text())
    journals = Journals(Path(told["folder"]), told["hosts"])
    server = Server(told["port"], context(key, certificate, authority), journals)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pruned = float("-inf")
    while True:
        if time.monotonic() - pruned > PRUNE_S:
            pruned = time.monotonic()
            journals.prune(told["days"])
        fresh = Path(f"{told['metrics']}.new")
        fresh.write_text(journals.metrics())
        fresh.chmod(0o644)
        fresh.replace(told["metrics"])
        time.sleep(LOOK_S)


if __name__ == "__main__":
    main()
