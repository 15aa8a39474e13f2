"""A simulated YubiHSM 2 in this process, with Yubico's own library as its host."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from yubihsm.backends import YhsmBackend
from yubihsm.core import AuthSession, YubiHsm
from yubihsm.defs import AUDIT, CAPABILITY, COMMAND
from yubihsm.objects import AuthenticationKey

from lab.hsm.device import Device
from lab.hsm.storage import Storage

EVERYWHERE = 0xFFFF
DEFAULT_KEY, DEFAULT_PASSWORD = 1, "password"


class Direct(YhsmBackend):
    """Takes the place of connector and USB."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def transceive(self, msg: bytes) -> bytes:
        return self.device.transceive(msg)

    def close(self) -> None: ...


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Owner:
    """A device that its owner has begun to use: the session is the default key's."""

    def __init__(self, folder: Path, serial: int | None = None) -> None:
        self.clock = Clock()
        self.storage = Storage(folder)
        self.device = Device(self.storage, serial, self.clock)
        self.reconnect()

    def reconnect(self) -> None:
        """The library ends its connection with a factory reset."""
        self.host = YubiHsm(Direct(self.device))
        self.session = self.login()

    def login(self, key: int = DEFAULT_KEY, password: str = DEFAULT_PASSWORD) -> AuthSession:
        return self.host.create_session_derived(key, password)

    def other(
        self, capabilities: int, delegated: int = 0, domains: int = EVERYWHERE, password: str = "other"
    ) -> AuthSession:
        """A session of a new authentication key."""
        wanted = CAPABILITY(capabilities), CAPABILITY(delegated)
        key = AuthenticationKey.put_derived(self.session, 0, "other", domains, *wanted, password)
        return self.login(key.id, password)

    def audit(self, *commands: COMMAND, to: AUDIT = AUDIT.ON) -> None:
        self.session.set_command_audit(dict.fromkeys(commands, to))


@contextmanager
def owned(folder: Path, serial: int | None = None) -> Iterator[Owner]:
    owner = Owner(folder, serial)
    try:
        yield owner
    finally:
        owner.storage.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
