"""A YubiHSM 2 by its connector: the right one, with its errors in words."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from yubihsm.core import AuthSession, DeviceInfo, YubiHsm
from yubihsm.defs import ERROR
from yubihsm.exceptions import (
    YubiHsmAuthenticationError,
    YubiHsmConnectionError,
    YubiHsmDeviceError,
    YubiHsmError,
)

from roles.signing.tools.connector import Connector
from roles.signing.tools.errors import HsmError, WrongPassword
from roles.signing.tools.wire import Place

WORDS = {
    ERROR.LOG_FULL: "its log is full: `mainstay hsm drain`",
    ERROR.SESSIONS_FULL: "all 16 sessions are open; those that nobody uses end after 30 s",
    ERROR.INSUFFICIENT_PERMISSIONS: "the authentication key has not the capability for it, or may not delegate it",
    ERROR.STORAGE_FAILED: "it has no room left",
    ERROR.INVALID_DATA: "it does not take these data",
}
"""What errors mean to who gave the command."""


class Device(YubiHsm):
    """info: as it was told when the connection began."""

    info: DeviceInfo

    def get_device_info(self) -> DeviceInfo:
        self.info = super().get_device_info()
        return self.info


@contextmanager
def connected(place: Place) -> Iterator[Device]:
    """The device, if it is the one that is declared, which is seen before anything else is asked. Raises HsmError."""
    with said(place):
        device = Device(Connector(place.connector))
    try:
        place.must_be(device.info.serial)
        yield device
    finally:
        device.close()


@contextmanager
def session(place: Place, device: Device, key: int, password: str) -> Iterator[AuthSession]:
    """One of an authentication key's. Raises HsmError, WrongPassword."""
    with said(place):
        try:
            opened = device.create_session_derived(key, password)
        except YubiHsmAuthenticationError:
            told = f"{place}: wrong password of {key:#06x}. It was tried once; the device locks nothing"
            raise WrongPassword(told) from None
        except YubiHsmDeviceError as error:
            if error.code == ERROR.OBJECT_NOT_FOUND:
                raise HsmError(f"{place}: there is no authentication key {key:#06x}") from None
            raise
    try:
        yield opened
    finally:
        with suppress(YubiHsmError):
            opened.close()


@contextmanager
def said(place: Place, doing: str = "") -> Iterator[None]:
    """What the library raises, in words. doing: what was asked of the device."""
    about = f"{place}: {doing}" if doing else str(place)
    try:
        yield
    except YubiHsmConnectionError as error:
        raise place.silent(about, error) from error
    except YubiHsmDeviceError as error:
        raise HsmError(f"{about}: {WORDS.get(error.code, 'refused')} ({error.code.name})") from error
    except YubiHsmError as error:
        told = f"{about}: what it answered is none of its protocol; nothing is lost, run it again ({error})"
        raise HsmError(told) from error
