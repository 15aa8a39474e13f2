"""A web server on loopback, by TLS, with a certificate that signs itself."""

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backup.certificate import new_key, self_signed

NAME = "www.example.org"


class Handler(http.server.BaseHTTPRequestHandler):
    """Says what it was asked for."""

    def do_GET(self) -> None:
        body = f"{self.headers['Host']}{self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Server:
    """certificate: in PEM, for NAME."""

    port: int
    certificate: str

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/page"


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    key = new_key()
    certificate = self_signed(key, (NAME,))
    (folder / "served.pem").write_text(certificate + key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "served.pem")
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.socket = tls.wrap_socket(running.socket, server_side=True)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield Server(running.server_port, certificate)
    running.shutdown()
    running.server_close()
