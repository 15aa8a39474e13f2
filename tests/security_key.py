"""A security key in software, behind an ssh-agent: what sshd, ssh and paramiko meet is what a real one sends.

Formats: OpenSSH's PROTOCOL.u2f (key and signature of sk-ssh-ed25519@openssh.com) and draft-ietf-sshm-ssh-agent.
"""

import base64
import hashlib
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

KIND = b"sk-ssh-ed25519@openssh.com"
APPLICATION = b"ssh:"
TOUCHED = 1
"""Flag of a signature: somebody was there."""
FAILURE, REQUEST_IDENTITIES, IDENTITIES, REQUEST_SIGNATURE, SIGNATURE = 5, 11, 12, 13, 14


def string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def strings(message: bytes) -> Iterator[bytes]:
    """Those that a message begins with."""
    while len(message) >= 4:
        (length,) = struct.unpack(">I", message[:4])
        yield message[4 : 4 + length]
        message = message[4 + length :]


@dataclass
class SecurityKey:
    """touched: whether somebody touches it when it is to sign."""

    touched: bool = True
    signatures: int = 0
    _key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def blob(self) -> bytes:
        raw = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return string(KIND) + string(raw) + string(APPLICATION)

    @property
    def line(self) -> str:
        """Of authorized_keys."""
        return f"{KIND.decode()} {base64.b64encode(self.blob).decode()} software"

    def sign(self, message: bytes) -> bytes:
        self.signatures += 1
        about = struct.pack(">BI", TOUCHED if self.touched else 0, self.signatures)
        signed = hashlib.sha256(APPLICATION).digest() + about + hashlib.sha256(message).digest()
        return string(KIND) + string(self._key.sign(signed)) + about


@contextmanager
def agent(key: SecurityKey, path: Path) -> Iterator[Path]:
    """An ssh-agent at the path that holds the key, for as long as it lasts."""

    class Answers(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while header := self.rfile.read(4):
                request = self.rfile.read(struct.unpack(">I", header)[0])
                self.wfile.write(string(_answer(key, request)))

    with socketserver.ThreadingUnixStreamServer(str(path), Answers) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield path
        finally:
            server.shutdown()
            path.unlink(missing_ok=True)


def _answer(key: SecurityKey, request: bytes) -> bytes:
    if request[0] == REQUEST_IDENTITIES:
        return bytes([IDENTITIES]) + struct.pack(">I", 1) + string(key.blob) + string(b"software")
    if request[0] == REQUEST_SIGNATURE:
        blob, message, *_ = strings(request[1:])
        if blob == key.blob:
            return bytes([SIGNATURE]) + string(key.sign(message))
    return bytes([FAILURE])
