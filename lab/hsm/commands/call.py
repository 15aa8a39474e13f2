"""One command of a session, and what commands share: finding an object that they may use, and making a new one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from yubihsm.defs import ALGORITHM, CAPABILITY, ERROR, OBJECT, ORIGIN

from lab.hsm import wire
from lab.hsm.objects import ALGORITHMS, DELEGATING, EVERYTHING, LABEL_LENGTH, NO_ID, StoredObject
from lab.hsm.storage import State
from lab.hsm.wire import DeviceError


@dataclass
class Call:
    """key: what the session was authenticated by. target, second: the objects concerned, for the log."""

    state: State
    key: StoredObject
    serial: int
    firmware: tuple[int, int, int]
    data: bytes
    target: int = NO_ID
    second: int = NO_ID

    def fields(self, form: str) -> tuple[Any, ...]:
        return wire.fields(form, self.data)

    def head(self, form: str) -> tuple[Any, ...]:
        return wire.head(form, self.data)

    def find(self, kind: int, number: int, capability: CAPABILITY = CAPABILITY.NONE) -> StoredObject:
        """An object in a domain of the session's, with a capability. Raises DeviceError."""
        found = self.state.find(kind, number)
        if found is None or not found.domains & self.key.domains:
            raise DeviceError(ERROR.OBJECT_NOT_FOUND)
        if capability & ~found.capabilities:
            raise DeviceError(ERROR.INSUFFICIENT_PERMISSIONS)
        return found

    def use(self, kind: OBJECT, capability: CAPABILITY) -> tuple[StoredObject, bytes]:
        """The object that the data begin with the id of, and what is left of them. Raises DeviceError."""
        self.target, rest = self.head("H")
        return self.find(kind, self.target, capability), rest

    def add(self, kind: OBJECT, origin: ORIGIN, payload: Callable[[ALGORITHM, bytes], bytes]) -> bytes:
        """A new object of what data say, and the reply. payload: makes it of algorithm and what follows in data.

        Raises DeviceError.
        """
        form = f"H{LABEL_LENGTH}sHQB" + ("Q" if kind in DELEGATING else "")
        number, label, domains, capabilities, code, *delegated, rest = self.head(form)
        self.target = number
        algorithm = known(code, kind)
        new = StoredObject(
            id=number or self.state.free_id(kind),
            type=kind,
            algorithm=algorithm,
            label=label,
            domains=domains & self.key.domains,
            capabilities=capabilities & EVERYTHING,
            delegated=sum(delegated) & EVERYTHING,
            origin=origin,
            payload=b"",
        )
        self.target = new.id
        if not new.domains:
            raise DeviceError(ERROR.INVALID_DATA)
        if (new.capabilities | new.delegated) & ~self.key.delegated:
            raise DeviceError(ERROR.INSUFFICIENT_PERMISSIONS)
        new.payload = payload(algorithm, rest)
        self.state.add(new)
        return new.id.to_bytes(2, "big")


class Command(NamedTuple):
    """capability: that the session's key needs. run: gives what the reply holds, or raises DeviceError."""

    capability: CAPABILITY
    run: Callable[[Call], bytes]


def known(code: int, kind: OBJECT) -> ALGORITHM:
    """An algorithm of that type of object. Raises DeviceError."""
    found = next((one for one in ALGORITHMS[kind] if one == code), None)
    if found is None:
        raise DeviceError(ERROR.INVALID_DATA)
    return found


def nothing_after(rest: bytes) -> None:
    if rest:
        raise DeviceError(ERROR.WRONG_LENGTH)
