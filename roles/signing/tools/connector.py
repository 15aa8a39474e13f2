"""The way of Yubico's library to a YubiHSM 2."""

from yubihsm.backends import YhsmBackend
from yubihsm.exceptions import YubiHsmConnectionError

from roles.signing.tools.wire import NoAnswer, Wire


class Connector(YhsmBackend):
    """By the connector at a URL; see `Wire`."""

    def __init__(self, url: str) -> None:
        self._wire = Wire(url)

    def transceive(self, msg: bytes) -> bytes:
        """What the device answers. Raises YubiHsmConnectionError."""
        try:
            return self._wire.ask(msg)
        except NoAnswer as error:
            raise YubiHsmConnectionError(str(error)) from error

    def close(self) -> None:
        self._wire.close()
