"""Entries of a YubiHSM 2's log: as the device tells them, as lines of text, and what one list shows after another.

32 bytes, big-endian: number, command, length of its data, authentication key of the session, target, second target,
result, milliseconds since boot, digest. The digest is the first 16 bytes of the SHA-256 of the 16 bytes before it and
the digest of the entry before. After a factory reset the first entry is number 1 and all ones, and its digest follows
from nothing. https://docs.yubico.com/hardware/yubihsm-2/hsm-2-user-guide/hsm2-cmd-reference.html (GET LOG ENTRIES)
"""

import hashlib
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from yubihsm.defs import COMMAND, ERROR

LAYOUT = struct.Struct("!HBHHHHBL16s")
DIGEST_BYTES = 16
SLOTS = 62
BOOT, RESET = 0x00, 0xFF
"""What stands for a command in the entries of a boot and of a factory reset."""
DONE = "done"
COMMANDS = {BOOT: "boot", RESET: "factory-reset"} | {int(one): one.name.lower().replace("_", "-") for one in COMMAND}
ERRORS = {int(one): one.name.lower().replace("_", "-") for one in ERROR}
CODES = {name: code for code, name in COMMANDS.items()}
ERROR_CODES = {name: code for code, name in ERRORS.items()}


class Entry(NamedTuple):
    """tick: milliseconds since the device booted."""

    number: int
    command: int
    length: int
    session_key: int
    target_key: int
    second_key: int
    result: int
    tick: int
    digest: bytes

    @classmethod
    def parse(cls, raw: bytes) -> "Entry":
        """Raises struct.error."""
        return cls(*LAYOUT.unpack(raw))

    @property
    def first(self) -> bool:
        """Whether it is the first after a factory reset."""
        return LAYOUT.pack(*self)[:-DIGEST_BYTES] == b"\0\1" + b"\xff" * 14

    @property
    def done(self) -> bool:
        return self.result == self.command | 0x80

    @property
    def name(self) -> str:
        return COMMANDS.get(self.command, str(self.command))

    def follows(self, before: "Entry") -> bool:
        """By number, and by digest."""
        told = LAYOUT.pack(*self)[:-DIGEST_BYTES]
        digest = hashlib.sha256(told + before.digest).digest()[:DIGEST_BYTES]
        return self.number == before.number + 1 & 0xFFFF and self.digest == digest

    def as_json(self) -> dict[str, Any]:
        """Without loss: command and result by their names where they have one, keys in hexadecimal."""
        result: object = DONE if self.done else ERRORS.get(self.result, self.result)
        return {
            "entry": self.number,
            "command": COMMANDS.get(self.command, self.command),
            "length": self.length,
            "session_key": f"{self.session_key:#06x}",
            "target_key": f"{self.target_key:#06x}",
            "second_key": f"{self.second_key:#06x}",
            "result": result,
            "tick": self.tick,
            "digest": self.digest.hex(),
        }

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> "Entry":
        """Raises ValueError, KeyError, TypeError where it is no entry."""
        command = told["command"] if isinstance(told["command"], int) else CODES[told["command"]]
        result = told["result"]
        if not isinstance(result, int):
            result = command | 0x80 if result == DONE else ERROR_CODES[result]
        session, target, second = (int(told[name], 16) for name in ("session_key", "target_key", "second_key"))
        digest = bytes.fromhex(told["digest"])
        made = cls(told["entry"], command, told["length"], session, target, second, result, told["tick"], digest)
        try:
            LAYOUT.pack(*made)
        except struct.error as error:
            raise ValueError(str(error)) from error
        return made


class Incident(NamedTuple):
    """What must not be, or must be explained by a person. kind: one of KINDS."""

    kind: str
    told: str


KINDS = {
    "gap": "entries were freed that nobody drained",
    "late": "the log is not drained from its first entry on",
    "broken": "the chain of digests is broken",
    "reset": "the log starts anew: a factory reset",
    "unlogged-boots": "the device booted and had no slot to log it",
    "unlogged-logins": "sessions began and there was no slot to log them",
}


def news(last: Entry | None, told: Sequence[Entry]) -> Iterator[Entry | Incident]:
    """What of a device's log is not drained yet, in order, with what its order shows.

    last: the newest entry that is drained. Entries that were drained and not freed since are known by it.
    """
    fresh = told[told.index(last) + 1 :] if last in told else told
    before = last
    for entry in fresh:
        if incident := _between(before, entry):
            yield incident
        yield entry
        before = entry


def _between(before: Entry | None, entry: Entry) -> Incident | None:
    if before is None:
        if entry.first:
            return None
        return Incident("late", f"the first entry that is drained is {entry.number}: what was before is not here")
    if entry.first:
        return Incident("reset", f"after entry {before.number} the log starts anew: the device was reset")
    wanted = before.number + 1 & 0xFFFF
    if entry.number != wanted:
        return Incident("gap", f"entry {wanted} was to come, and {entry.number} came: what is between is lost")
    if not entry.follows(before):
        return Incident("broken", f"the digest of entry {entry.number} does not follow from entry {before.number}")
    return None


def unlogged(boots: int, logins: int, told: Sequence[Entry]) -> Iterator[Incident]:
    """What the device counted instead of logging it. told: its log, by a session that has just begun.

    That login is the newest entry; where it is not, it found no slot, and is one of those that were counted.
    """
    if boots:
        yield Incident("unlogged-boots", f"{boots} times")
    logged = bool(told) and told[-1].command == COMMAND.AUTHENTICATE_SESSION
    if (others := logins - (not logged)) > 0:
        yield Incident("unlogged-logins", f"{others} times, without the drain's own")
