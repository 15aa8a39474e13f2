"""Authentication keys: two AES keys that a password gives, or a public key on P-256."""

from yubihsm.defs import CAPABILITY, COMMAND, ERROR, OBJECT, ORIGIN

from lab.hsm import keys
from lab.hsm.commands.call import Call, Command, known
from lab.hsm.wire import DeviceError


def _put(call: Call) -> bytes:
    return call.add(OBJECT.AUTHENTICATION_KEY, ORIGIN.IMPORTED, keys.imported)


def _change(call: Call) -> bytes:
    """Only that of the session can be changed."""
    call.target, code, raw = call.head("HB")
    if call.target != call.key.id:
        raise DeviceError(ERROR.INVALID_ID)
    found = call.find(OBJECT.AUTHENTICATION_KEY, call.target)
    algorithm = known(code, OBJECT.AUTHENTICATION_KEY)
    found.algorithm, found.payload = algorithm, keys.imported(algorithm, raw)
    return call.target.to_bytes(2, "big")


COMMANDS = {
    COMMAND.PUT_AUTHENTICATION_KEY: Command(CAPABILITY.PUT_AUTHENTICATION_KEY, _put),
    COMMAND.CHANGE_AUTHENTICATION_KEY: Command(CAPABILITY.CHANGE_AUTHENTICATION_KEY, _change),
}
