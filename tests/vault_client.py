"""The vault as it is reached: by TLS, trusting its certificate alone, and through SSH."""

import base64
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from backup.custody import PORTS
from backup.reach import forwarded

TIMEOUT_S = 20


@dataclass(frozen=True)
class Answer:
    """status is 0 when the server hung up instead."""

    status: int
    body: bytes = b""


@dataclass(frozen=True)
class Listener:
    """One listener of a vault: where it is, what it is called, and the certificate it must have."""

    address: str
    port: int
    name: str
    certificate: Path

    def connect(self) -> ssl.SSLSocket:
        """Raises OSError when nobody listens or another certificate is shown."""
        context = ssl.create_default_context(cafile=self.certificate)
        plain = socket.create_connection((self.address, self.port), timeout=TIMEOUT_S)
        return context.wrap_socket(plain, server_hostname=self.name)

    def ask(
        self,
        method: str,
        target: str,
        login: tuple[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] = {},
    ) -> Answer:
        """One request, its target sent as it is given; a redirection is not followed."""
        connection = HTTPConnection(self.name)
        connection.sock = self.connect()
        sent = {"Authorization": authorization(login)} if login else {}
        if body is not None:
            sent["Content-Length"] = str(len(body))
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for header, value in (sent | dict(headers)).items():
                connection.putheader(header, value)
            connection.endheaders()
            if body:
                with suppress(OSError):  # it is answered before all of it is read
                    connection.send(body)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read())
        except (HTTPException, OSError):
            return Answer(0)
        finally:
            connection.close()

    def send(self, text: bytes) -> None:
        """Sends what may be half a request and no more, and waits until the server has hung up."""
        with self.connect() as connection:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)  # from here on bytes as they come, without TLS
            while connection.recv(4096):
                pass


def authorization(login: tuple[str, str]) -> str:
    """The header of HTTP's basic authentication."""
    return "Basic " + base64.b64encode(":".join(login).encode()).decode()


@contextmanager
def through_ssh(ssh_config: Path, host: str, certificate: Path) -> Iterator[dict[str, Listener]]:
    """The vault's listeners as they are on its loopback, by name, for as long as it lasts."""
    with ExitStack() as stack:
        yield {
            listener: Listener(
                "127.0.0.1", stack.enter_context(forwarded(ssh_config, host, port)), "localhost", certificate
            )
            for listener, port in PORTS.items()
        }


def listens(address: str, port: int) -> bool:
    """Whether a connection is accepted within a few seconds."""
    try:
        socket.create_connection((address, port), timeout=3).close()
    except OSError:
        return False
    return True
