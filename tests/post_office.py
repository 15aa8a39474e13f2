"""Where what is told arrives: a server for webhooks and pings, that also has files to fetch."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Server(ThreadingHTTPServer):
    """Remembers what was POSTed, and answers with the next of `answers`, or 200."""

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        self.got: list[tuple[str, bytes]] = []
        self.answers: list[int] = []
        self.folder = Path("/nonexistent")
        """What GET finds."""
        super().__init__((address, port), Answer)

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"

    def messages(self, path: str = "") -> list[dict[str, Any]]:
        """The JSON that was POSTed below a path."""
        return [json.loads(body) for at, body in self.got if at.startswith(path)]


class Answer(SimpleHTTPRequestHandler):
    server: Server

    def __init__(self, request: Any, client: Any, server: Server) -> None:
        super().__init__(request, client, server, directory=str(server.folder))

    def do_POST(self) -> None:
        self.server.got.append((self.path, self.rfile.read(int(self.headers["Content-Length"] or 0))))
        code = self.server.answers.pop(0) if self.server.answers else 200
        self.send_response(code)
        if 300 <= code < 400:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def serving(address: str = "127.0.0.1", port: int = 0) -> Iterator[Server]:
    """A server on an address of this machine, for as long as it lasts. port: any that is free, unless given."""
    with Server(address, port) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()
