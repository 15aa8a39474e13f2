"""The log, and the options that say what is logged."""

from yubihsm.defs import AUDIT, CAPABILITY, COMMAND, ERROR, OPTION

from lab.hsm.commands.call import Call, Command
from lab.hsm.wire import DeviceError

OPTIONAL = tuple(command for command in COMMAND if command != COMMAND.ERROR)
"""Commands whose logging can be set; yubihsm-shell 2.6 reads the whole list."""


def _entries(call: Call) -> bytes:
    call.fields("")
    return call.state.log.told()


def _set_index(call: Call) -> bytes:
    (number,) = call.fields("H")
    call.state.log.free(number)
    return b""


def _get_option(call: Call) -> bytes:
    (option,) = call.fields("B")
    if option == OPTION.FORCE_AUDIT:
        return bytes([call.state.force_audit])
    if option == OPTION.COMMAND_AUDIT:
        return b"".join(bytes([command, call.state.audits(command)]) for command in OPTIONAL)
    raise DeviceError(ERROR.INVALID_DATA)


def _set_option(call: Call) -> bytes:
    option, length, value = call.head("BH")
    if length != len(value):
        raise DeviceError(ERROR.WRONG_LENGTH)
    if option == OPTION.FORCE_AUDIT and length == 1:
        call.state.force_audit = _changed(call.state.force_audit, value[0])
    elif option == OPTION.COMMAND_AUDIT and length and length % 2 == 0:
        now = dict(call.state.command_audit)
        for code, wanted in zip(value[::2], value[1::2], strict=True):
            if code not in OPTIONAL:
                raise DeviceError(ERROR.INVALID_DATA)
            now[code] = _changed(now.get(code, AUDIT.OFF), wanted)
        call.state.command_audit = now
    else:
        raise DeviceError(ERROR.INVALID_DATA)
    return b""


def _changed(now: AUDIT, wanted: int) -> AUDIT:
    """What is FIXED stays so until a factory reset. Raises DeviceError."""
    if wanted not in tuple(AUDIT) or (now == AUDIT.FIXED and wanted != AUDIT.FIXED):
        raise DeviceError(ERROR.INVALID_DATA)
    return AUDIT(wanted)


COMMANDS = {
    COMMAND.GET_LOG_ENTRIES: Command(CAPABILITY.GET_LOG_ENTRIES, _entries),
    COMMAND.SET_LOG_INDEX: Command(CAPABILITY.GET_LOG_ENTRIES, _set_index),
    COMMAND.GET_OPTION: Command(CAPABILITY.GET_OPTION, _get_option),
    COMMAND.SET_OPTION: Command(CAPABILITY.SET_OPTION, _set_option),
}
