"""The audit log: 62 slots, each entry with a digest of itself and the one before.

Entry and digest as a device of 2025 shows them (tests/unit/test_hsm_log.py). The first one after a factory reset is all
ones, with a digest that follows from nothing; the second is the boot.
"""

import hashlib
import secrets

from pydantic import BaseModel, ConfigDict
from yubihsm.core import LogEntry
from yubihsm.defs import ERROR

from lab.hsm.objects import NO_ID
from lab.hsm.wire import DeviceError

SLOTS = 62
DIGEST_BYTES = 16


class AuditLog(BaseModel):
    """entries: those that have not been freed, as GET LOG ENTRIES tells them. last: the newest that ever was."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    entries: list[bytes]
    last: bytes
    unlogged_boots: int = 0
    unlogged_authentications: int = 0

    @classmethod
    def new(cls) -> "AuditLog":
        """After a factory reset."""
        first = b"\0\1" + b"\xff" * 14 + secrets.token_bytes(DIGEST_BYTES)
        return cls(entries=[first], last=first)

    @property
    def full(self) -> bool:
        return len(self.entries) >= SLOTS

    def add(
        self, command: int, length: int, session_key: int, target: int, second: int, result: int, tick: int
    ) -> None:
        """An entry, which takes the place of the oldest one where no slot is free."""
        before = LogEntry.parse(self.last)
        number = before.number + 1 & 0xFFFF
        told = LogEntry(number, command, length, session_key, target, second, result, tick, b"").data  # type: ignore[arg-type]
        self.last = told + hashlib.sha256(told + before.digest).digest()[:DIGEST_BYTES]
        self.entries = [*self.entries, self.last][-SLOTS:]

    def boot(self) -> None:
        self.add(0, 0, NO_ID, 0, 0, 0, 0)

    def told(self) -> bytes:
        """As GET LOG ENTRIES answers."""
        unlogged = (min(count, 0xFFFF) for count in (self.unlogged_boots, self.unlogged_authentications))
        counts = b"".join(count.to_bytes(2, "big") for count in unlogged)
        return counts + bytes([len(self.entries)]) + b"".join(self.entries)

    def free(self, number: int) -> None:
        """Frees the slots up to that of an entry. Raises DeviceError where there is no such entry."""
        numbers = [LogEntry.parse(entry).number for entry in self.entries]
        if number not in numbers:
            raise DeviceError(ERROR.INVALID_DATA)
        self.entries = self.entries[numbers.index(number) + 1 :]
        self.unlogged_boots = self.unlogged_authentications = 0
