"""A virtual machine's side of usbredir (version 0.7): no more of it than it takes to speak to a YubiHSM 2."""

import socket
import struct
from pathlib import Path

from yubihsm.backends import YhsmBackend

from lab.hsm import usbredir
from lab.hsm.usb import IN, OUT, PACKET_BYTES, TO_HOST

CAPABILITIES = usbredir.OFFERED
DESCRIPTOR_BYTES = 255


class Guest(YhsmBackend):
    """capabilities: what it offers; without 64-bit ids and 32-bit lengths it is as QEMU was in 2011."""

    def __init__(self, path: Path, capabilities: int = CAPABILITIES) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(300)
        self._socket.connect(str(path))
        self._header = "<III"
        self._long = bool(capabilities & usbredir.BULK_LENGTH_32_BITS)
        self._bulk = usbredir.BULK_HEADER if self._long else usbredir.SHORT_BULK_HEADER
        self._number = 0
        self.send(usbredir.HELLO, b"a test".ljust(64, b"\0") + struct.pack("<I", capabilities))
        kind, _, self.hello = self.receive()
        assert kind == usbredir.HELLO
        if capabilities & usbredir.IDS_64_BITS:
            self._header = "<IIQ"

    def send(self, kind: int, data: bytes = b"", number: int | None = None) -> int:
        """Returns its id."""
        self._number += 1
        number = self._number if number is None else number
        self._socket.sendall(struct.pack(self._header, kind, len(data), number) + data)
        return number

    def receive(self) -> tuple[int, int, bytes]:
        """Kind, id and data."""
        kind, length, number = struct.unpack(self._header, self._exactly(struct.calcsize(self._header)))
        return kind, number, self._exactly(length)

    def control(self, request_type: int, request: int, value: int) -> tuple[int, bytes]:
        """Status and answer of a control transfer."""
        head = struct.pack(
            usbredir.CONTROL_HEADER, request_type & TO_HOST, request, request_type, 0, value, 0, DESCRIPTOR_BYTES
        )
        self.send(usbredir.CONTROL_PACKET, head)
        kind, number, data = self.receive()
        assert (kind, number) == (usbredir.CONTROL_PACKET, self._number)
        size = struct.calcsize(usbredir.CONTROL_HEADER)
        return data[3], data[size:]

    def write(self, data: bytes) -> None:
        self.send(usbredir.BULK_PACKET, self._head(OUT, len(data)) + data)
        assert self._taken() == (OUT, usbredir.SUCCESS, len(data), b"")

    def ask(self, length: int) -> int:
        """Asks for a reply; returns the id that it will have."""
        return self.send(usbredir.BULK_PACKET, self._head(IN, length))

    def answer(self) -> bytes:
        endpoint, status, _, data = self._taken()
        assert (endpoint, status) == (IN, usbredir.SUCCESS)
        return data

    def transceive(self, msg: bytes) -> bytes:
        """As a connector does it."""
        self.write(msg)
        if len(msg) % PACKET_BYTES == 0:
            self.write(b"")
        self.ask(8192)
        return self.answer()

    def close(self) -> None:
        self._socket.close()

    def _taken(self) -> tuple[int, int, int, bytes]:
        kind, _, data = self.receive()
        assert kind == usbredir.BULK_PACKET
        endpoint, status, length, _, *high = struct.unpack_from(self._bulk, data)
        return endpoint, status, length + (sum(high) << 16), data[struct.calcsize(self._bulk) :]

    def _head(self, endpoint: int, length: int) -> bytes:
        high = (length >> 16,) if self._long else ()
        return struct.pack(self._bulk, endpoint, 0, length & 0xFFFF, 0, *high)

    def _exactly(self, length: int) -> bytes:
        got = b""
        while len(got) < length:
            part = self._socket.recv(length - len(got))
            if not part:
                raise ConnectionError("hung up")
            got += part
        return got
