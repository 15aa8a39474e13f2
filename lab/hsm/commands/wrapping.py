"""Wrap keys: under one of them objects leave a device, and come into another that has it.

What is wrapped, as yubihsm-wrap 2.6 writes it: algorithm of the wrap key, capabilities, id, length of what follows the
label, domains, type, algorithm, sequence, origin, label, delegated capabilities of types that have them, payload. It is
encrypted by AES-CCM: nonce (13 bytes), ciphertext, tag (16).
"""

import secrets
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from yubihsm.defs import ALGORITHM, CAPABILITY, COMMAND, ERROR, OBJECT, ORIGIN

from lab.hsm import keys
from lab.hsm.commands.call import Call, Command, known
from lab.hsm.objects import ALGORITHMS, DELEGATING, EVERYTHING, LABEL_LENGTH, StoredObject
from lab.hsm.wire import DeviceError, head

NONCE_BYTES, TAG_BYTES = 13, 16
HEADER = f"BQHHHBBBB{LABEL_LENGTH}s"


def _put(call: Call) -> bytes:
    return call.add(OBJECT.WRAP_KEY, ORIGIN.IMPORTED, keys.imported)


def _generate(call: Call) -> bytes:
    return call.add(OBJECT.WRAP_KEY, ORIGIN.GENERATED, keys.generated)


def _export(call: Call) -> bytes:
    """A byte at the end asks for the seed of an Ed25519 key, too."""
    call.target, kind, call.second, rest = call.head("HBH")
    if rest not in (b"", b"\0", b"\1"):
        raise DeviceError(ERROR.INVALID_DATA)
    wrap_key = call.find(OBJECT.WRAP_KEY, call.target, CAPABILITY.EXPORT_WRAPPED)
    wrapped = call.find(kind, call.second, CAPABILITY.EXPORTABLE_UNDER_WRAP)
    if wrapped.capabilities & ~wrap_key.delegated:
        raise DeviceError(ERROR.INSUFFICIENT_PERMISSIONS)
    body = wrapped.payload
    if wrapped.algorithm == ALGORITHM.EC_ED25519 and rest != b"\1":
        body = body[: keys.EXPANDED_BYTES]
    if wrapped.type in DELEGATING:
        body = wrapped.delegated.to_bytes(8, "big") + body
    header = struct.pack(
        f"!{HEADER}",
        *(wrap_key.algorithm, wrapped.capabilities, wrapped.id, len(body), wrapped.domains, wrapped.type),
        *(wrapped.algorithm, wrapped.sequence, wrapped.origin, wrapped.label),
    )
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESCCM(wrap_key.payload, TAG_BYTES).encrypt(nonce, header + body, None)


def _import(call: Call) -> bytes:
    call.target, blob = call.head("H")
    wrap_key = call.find(OBJECT.WRAP_KEY, call.target, CAPABILITY.IMPORT_WRAPPED)
    if len(blob) <= NONCE_BYTES + TAG_BYTES:
        raise DeviceError(ERROR.WRONG_LENGTH)
    try:
        plain = AESCCM(wrap_key.payload, TAG_BYTES).decrypt(blob[:NONCE_BYTES], blob[NONCE_BYTES:], None)
    except InvalidTag as error:
        raise DeviceError(ERROR.INVALID_DATA) from error
    new = _unwrapped(plain, wrap_key)
    call.second = new.id
    if new.capabilities & ~wrap_key.delegated:
        raise DeviceError(ERROR.INSUFFICIENT_PERMISSIONS)
    call.state.add(new)
    return bytes([new.type]) + new.id.to_bytes(2, "big")


def _unwrapped(plain: bytes, wrap_key: StoredObject) -> StoredObject:
    wrapped_by, capabilities, number, length, domains, kind, code, _, origin, label, body = head(HEADER, plain)
    if wrapped_by != wrap_key.algorithm or kind not in tuple(ALGORITHMS) or origin not in range(1, 1 << 5):
        raise DeviceError(ERROR.INVALID_DATA)
    if length != len(body):
        raise DeviceError(ERROR.WRONG_LENGTH)
    algorithm, delegated = known(code, OBJECT(kind)), 0
    if kind in DELEGATING:
        delegated, body = head("Q", body)
    keys.check(algorithm, body)
    return StoredObject(
        id=number,
        type=OBJECT(kind),
        algorithm=algorithm,
        label=label,
        domains=domains,
        capabilities=capabilities & EVERYTHING,
        delegated=delegated & EVERYTHING,
        origin=origin | ORIGIN.IMPORTED_WRAPPED,
        payload=body,
    )


COMMANDS = {
    COMMAND.PUT_WRAP_KEY: Command(CAPABILITY.PUT_WRAP_KEY, _put),
    COMMAND.GENERATE_WRAP_KEY: Command(CAPABILITY.GENERATE_WRAP_KEY, _generate),
    COMMAND.EXPORT_WRAPPED: Command(CAPABILITY.EXPORT_WRAPPED, _export),
    COMMAND.IMPORT_WRAPPED: Command(CAPABILITY.IMPORT_WRAPPED, _import),
}
