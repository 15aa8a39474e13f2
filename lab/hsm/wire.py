"""Frames: command (1 byte), length of what follows (2 bytes, big-endian), data.

A reply has the command with its high bit set; an error is 0x7f with a code for its data.
"""

import struct
from typing import Any

from yubihsm.defs import COMMAND, ERROR

MAX_FRAME = 3136
"""Bytes, of firmware 2.4.0 and newer."""
_HEADER = struct.Struct("!BH")


class DeviceError(Exception):
    """What the device refuses, with the code that it answers."""

    def __init__(self, code: ERROR) -> None:
        super().__init__(code.name)
        self.code = code


def frame(command: int, data: bytes = b"") -> bytes:
    return _HEADER.pack(command, len(data)) + data


def reply(command: int, data: bytes = b"") -> bytes:
    return frame(command | 0x80, data)


def error(code: ERROR) -> bytes:
    return frame(COMMAND.ERROR, bytes([code]))


def parse(raw: bytes) -> tuple[int, bytes]:
    """Command and data. Raises DeviceError."""
    if not _HEADER.size <= len(raw) <= MAX_FRAME:
        raise DeviceError(ERROR.WRONG_LENGTH)
    command, length = _HEADER.unpack_from(raw)
    if length != len(raw) - _HEADER.size:
        raise DeviceError(ERROR.WRONG_LENGTH)
    return command, raw[_HEADER.size :]


def fields(form: str, data: bytes) -> tuple[Any, ...]:
    """The whole of data, of a form as `struct` has it, big-endian. Raises DeviceError."""
    *found, rest = head(form, data)
    if rest:
        raise DeviceError(ERROR.WRONG_LENGTH)
    return tuple(found)


def head(form: str, data: bytes) -> tuple[Any, ...]:
    """The start of data, and last of all what is left of it. Raises DeviceError."""
    layout = struct.Struct(f"!{form}")
    if len(data) < layout.size:
        raise DeviceError(ERROR.WRONG_LENGTH)
    return *layout.unpack_from(data), data[layout.size :]
