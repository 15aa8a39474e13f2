"""The device itself and its sessions."""

import secrets

from yubihsm.defs import CAPABILITY, COMMAND, ERROR

from lab.hsm.commands.call import Call, Command
from lab.hsm.log import SLOTS
from lab.hsm.objects import ALGORITHMS, PAGE_BYTES, PAGES, RECORDS, USES
from lab.hsm.wire import MAX_FRAME, DeviceError

PART = b"SIMULATOR"
"""In place of the name of a chip."""
RANDOM_BYTES = MAX_FRAME - 64
"""That fit into a reply."""


def _echo(call: Call) -> bytes:
    return call.data


def _device_info(call: Call) -> bytes:
    """A page may be asked for, of which firmware before 2.4 has only the first."""
    if call.data in (b"", b"\0"):
        log = bytes([SLOTS, len(call.state.log.entries)])
        told = sorted([*USES, *(one for of_type in ALGORITHMS.values() for one in of_type)])
        return bytes(call.firmware) + call.serial.to_bytes(4, "big") + log + bytes(told)
    if call.data == b"\1" and call.firmware >= (2, 4, 0):
        return PART
    raise DeviceError(ERROR.INVALID_DATA)


def _taken(call: Call) -> bytes:
    """The device itself does it when the reply is out."""
    call.fields("")
    return b""


def _storage_info(call: Call) -> bytes:
    call.fields("")
    objects = call.state.objects
    free_pages = PAGES - sum(one.pages for one in objects)
    numbers = (RECORDS, RECORDS - len(objects), PAGES, free_pages, PAGE_BYTES)
    return b"".join(number.to_bytes(2, "big") for number in numbers)


def _random(call: Call) -> bytes:
    (length,) = call.fields("H")
    if length > RANDOM_BYTES:
        raise DeviceError(ERROR.INVALID_DATA)
    return secrets.token_bytes(length)


def _blink(call: Call) -> bytes:
    call.fields("B")
    return b""


COMMANDS = {
    COMMAND.ECHO: Command(CAPABILITY.NONE, _echo),
    COMMAND.DEVICE_INFO: Command(CAPABILITY.NONE, _device_info),
    COMMAND.CLOSE_SESSION: Command(CAPABILITY.NONE, _taken),
    COMMAND.RESET_DEVICE: Command(CAPABILITY.RESET_DEVICE, _taken),
    COMMAND.GET_STORAGE_INFO: Command(CAPABILITY.NONE, _storage_info),
    COMMAND.GET_PSEUDO_RANDOM: Command(CAPABILITY.GET_PSEUDO_RANDOM, _random),
    COMMAND.BLINK_DEVICE: Command(CAPABILITY.NONE, _blink),
}
