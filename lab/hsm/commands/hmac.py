"""HMAC keys."""

import hashlib

from cryptography.hazmat.primitives import constant_time
from yubihsm.defs import CAPABILITY, COMMAND, ERROR, OBJECT, ORIGIN

from lab.hsm import keys
from lab.hsm.commands.call import Call, Command
from lab.hsm.objects import StoredObject
from lab.hsm.wire import DeviceError


def _put(call: Call) -> bytes:
    return call.add(OBJECT.HMAC_KEY, ORIGIN.IMPORTED, keys.imported)


def _generate(call: Call) -> bytes:
    return call.add(OBJECT.HMAC_KEY, ORIGIN.GENERATED, keys.generated)


def _sign(call: Call) -> bytes:
    return _mac(*call.use(OBJECT.HMAC_KEY, CAPABILITY.SIGN_HMAC))


def _verify(call: Call) -> bytes:
    key, rest = call.use(OBJECT.HMAC_KEY, CAPABILITY.VERIFY_HMAC)
    length = key.algorithm.to_hash_algorithm().digest_size
    if len(rest) < length:
        raise DeviceError(ERROR.WRONG_LENGTH)
    return bytes([constant_time.bytes_eq(_mac(key, rest[length:]), rest[:length])])


def _mac(key: StoredObject, data: bytes) -> bytes:
    """By the padded keys, as RFC 2104 defines it: the key itself is not kept."""
    name = key.algorithm.to_hash_algorithm().name
    middle = len(key.payload) // 2
    inner = hashlib.new(name, key.payload[:middle] + data).digest()
    return hashlib.new(name, key.payload[middle:] + inner).digest()


COMMANDS = {
    COMMAND.PUT_HMAC_KEY: Command(CAPABILITY.PUT_HMAC_KEY, _put),
    COMMAND.GENERATE_HMAC_KEY: Command(CAPABILITY.GENERATE_HMAC_KEY, _generate),
    COMMAND.SIGN_HMAC: Command(CAPABILITY.SIGN_HMAC, _sign),
    COMMAND.VERIFY_HMAC: Command(CAPABILITY.VERIFY_HMAC, _verify),
}
