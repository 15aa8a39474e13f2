"""A session that lasts: more may be asked in it than a log has slots, and people may take their time."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from yubihsm.core import AuthSession, DeviceInfo
from yubihsm.defs import ERROR
from yubihsm.exceptions import YubiHsmDeviceError

from roles.signing.tools.devices import Device, connected, said, session
from roles.signing.tools.wire import Place

T = TypeVar("T")
AROUND = 8
"""Slots that the beginnings and ends of sessions may fill, besides the commands."""
NOT_DONE = (ERROR.LOG_FULL, ERROR.INVALID_SESSION)
"""With these the device did nothing: its log has no slot, or it has ended the session after 30 s without a command."""


class Opened:
    """key, password: of the authentication key. drain: has the log drained, so that commands find slots."""

    def __init__(
        self, place: Place, device: Device, key: int, password: Callable[[], str], drain: Callable[[], object]
    ) -> None:
        self.place, self.device, self.key = place, device, key
        self._password, self._drain = password, drain
        self._stack = ExitStack()
        self._filled = device.info.log_used + AROUND
        if self._filled >= self.info.log_size:  # a login that finds no slot is not logged, which is an incident
            self._make_room()
        self._log_in()

    @property
    def info(self) -> DeviceInfo:
        return self.device.info

    def ask(self, doing: str, what: Callable[[AuthSession], T]) -> T:
        """One command. doing: what did not happen, for whoever reads of its failure. Raises HsmError."""
        if self._filled >= self.info.log_size:
            self._make_room()
        self._filled += 1
        with said(self.place, doing):
            try:
                return what(self._session)
            except YubiHsmDeviceError as error:
                if error.code not in NOT_DONE:
                    raise
                ended = error.code == ERROR.INVALID_SESSION
        if ended:
            self._log_in()
        else:
            self._make_room()
        with said(self.place, doing):
            return what(self._session)

    def close(self) -> None:
        self._stack.close()

    def _log_in(self) -> None:
        self._stack.close()
        self._session = self._stack.enter_context(session(self.place, self.device, self.key, self._password()))

    def _make_room(self) -> None:
        self._drain()
        self._filled = AROUND


@contextmanager
def opened(place: Place, key: int, password: Callable[[], str], drain: Callable[[], object]) -> Iterator[Opened]:
    """Raises HsmError."""
    with connected(place) as device:
        made = Opened(place, device, key, password, drain)
        try:
            yield made
        finally:
            made.close()
