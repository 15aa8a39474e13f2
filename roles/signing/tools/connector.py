"""The way to a YubiHSM 2 by its connector, with the standard library alone.

The library's own way is by requests, whose import takes longer than a signing tool's call needs custody for. Protocol:
POST /connector/api, a command as the body, its answer as the body (YubiHSM 2 user guide, yubihsm-connector).
"""

from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from yubihsm.backends import YhsmBackend
from yubihsm.exceptions import YubiHsmConnectionError

CONNECT_S, ANSWER_S = 5, 300
"""To connect, and to answer: an RSA key of 4096 bits takes a device minutes."""
HEADERS = {"Content-Type": "application/octet-stream"}


class Connector(YhsmBackend):
    """url: `http://127.0.0.1:12345`. One connection, kept; nothing is ever sent twice."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._connection = HTTPConnection(str(place.hostname), place.port, timeout=CONNECT_S)

    def transceive(self, msg: bytes) -> bytes:
        """What the device answers. Raises YubiHsmConnectionError."""
        connection = self._connection
        try:
            if not connection.sock:
                connection.connect()
                connection.sock.settimeout(ANSWER_S)
            connection.request("POST", "/connector/api", msg, HEADERS)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, HTTPException) as error:
            connection.close()
            raise YubiHsmConnectionError(str(error) or type(error).__name__) from error
        if answer.status != 200:
            raise YubiHsmConnectionError(f"the connector answers {answer.status} {answer.reason}")
        return body

    def close(self) -> None:
        self._connection.close()
