"""rest-server 0.14 (the vault has 0.13) on this machine's loopback, with a gate where a request can be held."""

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lab.go import go, module, run
from tests.waiting import listens, until

VERSION = "0.14.0"
PROGRAM = Path.home() / f".cache/mainstay/rest-server/{VERSION}"


def program() -> Path:
    """Built once for this machine."""
    if not PROGRAM.exists():
        PROGRAM.parent.mkdir(parents=True, exist_ok=True)
        fresh = PROGRAM.with_suffix(".fresh")
        compiler = go()
        source = module(compiler, f"github.com/restic/rest-server@v{VERSION}")
        run(compiler, "build", "-o", fresh, "./cmd/rest-server", cwd=source, GOTOOLCHAIN="local")
        fresh.rename(PROGRAM)
    return PROGRAM


@dataclass
class Gate:
    """A port before the server's. A request whose first line begins with one of the words does not get through: the
    word's action is called instead, and the connection ended."""

    port: int
    server_port: int
    server: int = 0
    """The server's process."""
    answered: list[int] = field(default_factory=list)
    """Bytes that went to clients, by portions."""
    held: dict[bytes, Callable[[], object]] = field(default_factory=dict)

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client = listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(client)
            try:
                server = stack.enter_context(socket.create_connection(("127.0.0.1", self.server_port)))
            except ConnectionRefusedError:  # a test has ended it
                return
            threading.Thread(target=_pipe, args=(server, client, self.answered), daemon=True).start()
            while sent := _received(client):
                for word, action in list(self.held.items()):
                    if sent.startswith(word):
                        action()
                        return
                try:
                    server.sendall(sent)
                except OSError:
                    return


def _pipe(source: socket.socket, target: socket.socket, passed: list[int]) -> None:
    while content := _received(source):
        passed.append(len(content))
        try:
            target.sendall(content)
        except OSError:
            return


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(1 << 16)
    except OSError:
        return b""


@contextlib.contextmanager
def rest_server(folder: Path) -> Iterator[Gate]:
    """An append-only server on a folder, and the gate before it."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_server(("127.0.0.1", 0)) as free:
        gate = Gate(listener.getsockname()[1], free.getsockname()[1])
        free.close()
        place = ["--path", str(folder), "--listen", f"127.0.0.1:{gate.server_port}"]
        words = [str(program()), *place, "--append-only", "--no-auth"]
        server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        gate.server = server.pid
        try:
            until("rest-server listens", lambda: listens(gate.server_port))
            threading.Thread(target=gate.serve, args=(listener,), daemon=True).start()
            yield gate
        finally:
            server.kill()
            server.wait()
