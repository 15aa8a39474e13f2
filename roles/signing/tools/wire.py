"""The way to a YubiHSM 2 by its connector, with the standard library alone.

Yubico's library, and requests by which it asks, take longer to load than a call of a signing tool needs custody for.
Protocol: POST /connector/api, a command as the body, its answer as the body (YubiHSM 2 user guide, yubihsm-connector).
"""

import struct
from http.client import HTTPConnection, HTTPException
from typing import NamedTuple
from urllib.parse import urlsplit

from roles.signing.tools.errors import HsmError, Unreachable

CONNECT_S, ANSWER_S = 5, 300
"""To connect, and to answer: an RSA key of 4096 bits takes a device minutes."""
HEADERS = {"Content-Type": "application/octet-stream"}
GET_DEVICE_INFO, ANSWER_TO_IT = bytes((0x06, 0, 0)), 0x86
INFO = struct.Struct(">B H 3s I B B")
"""The answer's command and length, and of its data: firmware, serial number, slots of the log, and slots in use."""


class NoAnswer(Exception):
    """Of the connector, or of the device behind it."""


class Place(NamedTuple):
    """Where a device is: its name in hsm.toml, its serial number, and its connector's URL."""

    name: str
    serial: int
    connector: str

    def __str__(self) -> str:
        return f"{self.name} ({self.serial})"

    def silent(self, about: str, why: Exception) -> Unreachable:
        return Unreachable(
            f"{about}: no answer by {self.connector}. Is it plugged in, does yubihsm-connector run? ({why})"
        )

    def must_be(self, serial: int) -> None:
        """Raises HsmError where another device is in its place."""
        if serial != self.serial:
            raise HsmError(
                f"{self}: at {self.connector} is the device {serial}; nothing was done. "
                "Plug in the right one, or see `serial` in the connector's configuration"
            )


class Wire:
    """url: `http://127.0.0.1:12345`. One connection, kept; nothing is ever sent twice."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._connection = HTTPConnection(str(place.hostname), place.port, timeout=CONNECT_S)

    def ask(self, command: bytes) -> bytes:
        """What the device answers. Raises NoAnswer."""
        connection = self._connection
        try:
            if not connection.sock:
                connection.connect()
                connection.sock.settimeout(ANSWER_S)
            connection.request("POST", "/connector/api", command, HEADERS)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, HTTPException) as error:
            connection.close()
            raise NoAnswer(str(error) or type(error).__name__) from error
        if answer.status != 200:
            raise NoAnswer(f"the connector answers {answer.status} {answer.reason}")
        return body

    def close(self) -> None:
        self._connection.close()


def free_slots(place: Place) -> int:
    """Of the log of the device, if it is the one that is declared. Raises HsmError."""
    wire = Wire(place.connector)
    try:
        answer = wire.ask(GET_DEVICE_INFO)
    except NoAnswer as error:
        raise place.silent(str(place), error) from error
    finally:
        wire.close()
    if len(answer) < INFO.size or answer[0] != ANSWER_TO_IT:
        raise HsmError(f"{place}: what it answered is none of its protocol; nothing is lost, run it again")
    *_, serial, slots, used = INFO.unpack_from(answer)
    place.must_be(serial)
    return int(slots - used)
