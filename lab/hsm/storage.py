"""All that the device knows, and its place on disk: one file, replaced as a whole, and on disk before a reply goes out.

A kill or a loss of power at any moment leaves the state before a command or the one after it, and never takes back what
was answered.
"""

import fcntl
import os
import secrets
from pathlib import Path
from typing import TextIO

from pydantic import BaseModel, ConfigDict, ValidationError
from yubihsm.defs import ALGORITHM, AUDIT, COMMAND, ERROR, OBJECT, ORIGIN
from yubihsm.utils import password_to_key

from inventories.files import replace
from lab.hsm import attestation
from lab.hsm.keys import generate
from lab.hsm.log import AuditLog
from lab.hsm.objects import EVERYTHING, LABEL_LENGTH, NO_ID, PAGES, RECORDS, StoredObject
from lab.hsm.wire import DeviceError

SERIALS = range(999_000_000, 1_000_000_000)
"""Of simulators. Those of real devices have seven or eight digits."""
FIRMWARE = (2, 4, 0)
FILE = "state.json"


class StateError(Exception):
    """The state cannot be used; says why and what to do."""


class State(BaseModel):
    """identity, attestation_key: the device's own, which a factory reset leaves; certificate: of the latter, DER."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    serial: int
    identity: bytes
    attestation_key: bytes
    certificate: bytes
    log: AuditLog
    objects: list[StoredObject]
    sequences: dict[str, int] = {}
    """Of the next object, by type and id that there has been."""
    force_audit: AUDIT = AUDIT.OFF
    command_audit: dict[int, AUDIT] = {}
    """What differs from firmware 2.4's OFF."""

    def find(self, kind: int, number: int) -> StoredObject | None:
        return next((one for one in self.objects if (one.type, one.id) == (kind, number)), None)

    def free_id(self, kind: int) -> int:
        """Of a new object of that type, at random as the device does it."""
        taken = {one.id for one in self.objects if one.type == kind}
        return next(number for number in iter(lambda: 1 + secrets.randbelow(NO_ID - 1), 0) if number not in taken)

    def add(self, new: StoredObject) -> None:
        """Raises DeviceError where it cannot have that id, or there is no room."""
        if new.id in (0, NO_ID):
            raise DeviceError(ERROR.INVALID_ID)
        if self.find(new.type, new.id):
            raise DeviceError(ERROR.OBJECT_EXISTS)
        if len(self.objects) >= RECORDS or sum(one.pages for one in (*self.objects, new)) > PAGES:
            raise DeviceError(ERROR.STORAGE_FAILED)
        name = f"{new.type.name}/{new.id}"
        new.sequence = self.sequences.get(name, 0)
        self.sequences[name] = new.sequence + 1 & 0xFF
        self.objects.append(new)

    def audits(self, command: COMMAND) -> AUDIT:
        return self.command_audit.get(command, AUDIT.OFF)

    def reset(self) -> None:
        """Back to how it left the factory."""
        self.log = AuditLog.new()
        self.objects, self.sequences = [_default_key()], {}
        self.force_audit, self.command_audit = AUDIT.OFF, {}


class Storage:
    """A folder that one simulator uses at a time."""

    def __init__(self, folder: Path) -> None:
        """Raises StateError when another one uses it."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = folder / FILE
        self._saved = ""
        self._lock: TextIO = (folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise StateError(f"{folder}: another simulator uses it; end that one, or take another folder") from None
        for left in folder.glob(f".{FILE}.*"):
            left.unlink()

    def load(self, serial: int | None = None) -> State:
        """What is stored, or a new device. serial: of a new one, else one at random. Raises StateError."""
        if not self._file.exists():
            self.save(_new_device(serial or SERIALS.start + secrets.randbelow(len(SERIALS))))
        try:
            state = State.model_validate_json(self._file.read_bytes())
        except ValidationError as error:
            raise StateError(f"{self._file} is no state of a device: {error}; take another folder") from error
        if serial and state.serial != serial:
            raise StateError(f"{self._file} is of the device {state.serial}, not {serial}")
        return state

    def save(self, state: State) -> None:
        """Returns once it is on the disk. Raises OSError."""
        text = state.model_dump_json()
        if text == self._saved:
            return
        replace(self._file, text, 0o600)
        folder = os.open(self._file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._saved = text

    def close(self) -> None:
        self._lock.close()


def _new_device(serial: int) -> State:
    key = generate(ALGORITHM.EC_P256)
    state = State(
        serial=serial,
        identity=generate(ALGORITHM.EC_P256),
        attestation_key=key,
        certificate=attestation.of_device(key, serial, FIRMWARE),
        log=AuditLog.new(),
        objects=[],
    )
    state.reset()
    return state


def _default_key() -> StoredObject:
    """With which a device leaves the factory: its password is `password`."""
    return StoredObject(
        id=1,
        type=OBJECT.AUTHENTICATION_KEY,
        algorithm=ALGORITHM.AES128_YUBICO_AUTHENTICATION,
        label=b"DEFAULT AUTHKEY CHANGE THIS ASAP".ljust(LABEL_LENGTH, b"\0"),
        domains=0xFFFF,
        capabilities=EVERYTHING,
        delegated=EVERYTHING,
        origin=ORIGIN.IMPORTED,
        payload=b"".join(password_to_key("password")),
    )
