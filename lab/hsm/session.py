"""Sessions: the device's side of mutual authentication and encrypted messages, after GlobalPlatform's SCP03 and SCP11.

Every message from the host is authenticated by a MAC chained to the one before, and encrypted with a counter's IV; the
reply is under the same IV, with a MAC of its own.
"""

import secrets
import time
from collections.abc import Callable

from cryptography.hazmat.primitives import cmac, constant_time, hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from yubihsm.defs import ALGORITHM, COMMAND, ERROR

from lab.hsm import keys
from lab.hsm.objects import StoredObject
from lab.hsm.wire import DeviceError, fields, frame, reply

MAX_SESSIONS = 16
TIMEOUT_S = 30
"""Without a message."""
BLOCK, MAC_BYTES, CHALLENGE_BYTES = 16, 8, 8
DEVICE_CRYPTOGRAM, HOST_CRYPTOGRAM, FOR_ENCRYPTION, FOR_MAC, FOR_REPLY_MAC = 0, 1, 4, 6, 7
"""What SCP03 derives, by its constants."""
SHARED_INFO = b"\x3c\x88\x10"
"""Of SCP11: usage, type and length of the keys."""
POINT_BYTES = 65


class Session:
    """One host's. key: the authentication key, as it was when the session began."""

    def __init__(self, number: int, key: StoredObject) -> None:
        self.number, self.key = number, key
        self.authenticated = False
        self.used = 0.0
        self._context = self._encryption = self._mac = self._reply_mac = b""
        self._chain = bytes(BLOCK)
        self._counter = 1

    def challenge(self, host: bytes) -> bytes:
        """Answers a host's challenge by another one and a proof that the device has the key."""
        if len(host) != CHALLENGE_BYTES:
            raise DeviceError(ERROR.WRONG_LENGTH)
        card = secrets.token_bytes(CHALLENGE_BYTES)
        self._context = host + card
        encryption, mac = self.key.payload[:BLOCK], self.key.payload[BLOCK:]
        self._encryption = _derived(encryption, FOR_ENCRYPTION, self._context)
        self._mac = _derived(mac, FOR_MAC, self._context)
        self._reply_mac = _derived(mac, FOR_REPLY_MAC, self._context)
        return card + _derived(self._mac, DEVICE_CRYPTOGRAM, self._context)[:MAC_BYTES]

    def agree(self, host: bytes, identity: bytes) -> bytes:
        """Answers a host's ephemeral public key by another one and a receipt; the host is known by what it does next.

        identity: the device's own key.
        """
        curve = ec.SECP256R1()
        ephemeral = ec.generate_private_key(curve)
        static = keys.private(ALGORITHM.EC_P256, identity)
        try:
            host_ephemeral = ec.EllipticCurvePublicKey.from_encoded_point(curve, host)
            host_static = ec.EllipticCurvePublicKey.from_encoded_point(curve, b"\4" + self.key.payload)
        except ValueError as error:
            raise DeviceError(ERROR.INVALID_DATA) from error
        assert isinstance(static, ec.EllipticCurvePrivateKey)
        secret = ephemeral.exchange(ec.ECDH(), host_ephemeral) + static.exchange(ec.ECDH(), host_static)
        derived = X963KDF(hashes.SHA256(), 4 * BLOCK, SHARED_INFO).derive(secret)
        receipt, self._encryption, self._mac, self._reply_mac = (derived[at : at + BLOCK] for at in range(0, 64, BLOCK))
        own = ephemeral.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        self._chain = _mac(receipt, own + host)
        self.authenticated = True
        return own + self._chain

    def authenticate(self, data: bytes) -> None:
        """Takes the host's proof. Raises DeviceError."""
        _, cryptogram, mac = fields(f"B{MAC_BYTES}s{MAC_BYTES}s", data)
        wanted = _derived(self._mac, HOST_CRYPTOGRAM, self._context)[:MAC_BYTES]
        chain = _mac(self._mac, self._chain + frame(COMMAND.AUTHENTICATE_SESSION, data)[:-MAC_BYTES])
        right = constant_time.bytes_eq(cryptogram, wanted) and constant_time.bytes_eq(mac, chain[:MAC_BYTES])
        if self.authenticated or not right:
            raise DeviceError(ERROR.AUTHENTICATION_FAILED)
        self._chain, self.authenticated = chain, True

    def opened(self, data: bytes) -> bytes:
        """The frame in a session message. Raises DeviceError."""
        encrypted, mac = data[1:-MAC_BYTES], data[-MAC_BYTES:]
        if not encrypted or len(encrypted) % BLOCK:
            raise DeviceError(ERROR.WRONG_LENGTH)
        chain = _mac(self._mac, self._chain + frame(COMMAND.SESSION_MESSAGE, data)[:-MAC_BYTES])
        if not self.authenticated or not constant_time.bytes_eq(mac, chain[:MAC_BYTES]):
            raise DeviceError(ERROR.AUTHENTICATION_FAILED)
        self._chain = chain
        decryptor = self._cipher().decryptor()
        return _unpadded(decryptor.update(encrypted) + decryptor.finalize())

    def sealed(self, inner: bytes) -> bytes:
        """The reply to the message that was opened last."""
        padded = inner + b"\x80"
        encryptor = self._cipher().encryptor()
        encrypted = encryptor.update(padded + bytes(-len(padded) % BLOCK)) + encryptor.finalize()
        whole = reply(COMMAND.SESSION_MESSAGE, bytes([self.number]) + encrypted + bytes(MAC_BYTES))
        self._counter += 1
        return whole[:-MAC_BYTES] + _mac(self._reply_mac, self._chain + whole[:-MAC_BYTES])[:MAC_BYTES]

    def _cipher(self) -> Cipher[modes.CBC]:
        key = algorithms.AES(self._encryption)
        iv = Cipher(key, modes.ECB()).encryptor().update(self._counter.to_bytes(BLOCK, "big"))  # noqa: S305
        return Cipher(key, modes.CBC(iv))


class Sessions:
    """Those that are open. clock: seconds, of which only differences count."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[int, Session] = {}

    def create(self, key: StoredObject) -> Session:
        """Raises DeviceError when all are in use."""
        for number, session in list(self._open.items()):
            if self._clock() - session.used >= TIMEOUT_S:
                self.close(number)
        free = next((number for number in range(MAX_SESSIONS) if number not in self._open), None)
        if free is None:
            raise DeviceError(ERROR.SESSIONS_FULL)
        session = self._open[free] = Session(free, key)
        session.used = self._clock()
        return session

    def of(self, data: bytes) -> Session:
        """That which a message is for, by the message's first byte. Raises DeviceError."""
        session = self._open.get(data[0]) if data else None
        if session is None or self._clock() - session.used >= TIMEOUT_S:
            raise DeviceError(ERROR.INVALID_SESSION)
        session.used = self._clock()
        return session

    def close(self, number: int) -> None:
        self._open.pop(number, None)

    def clear(self) -> None:
        self._open.clear()


def _mac(key: bytes, data: bytes) -> bytes:
    maker = cmac.CMAC(algorithms.AES(key))
    maker.update(data)
    return maker.finalize()


def _derived(key: bytes, constant: int, context: bytes) -> bytes:
    """SCP03's KDF: NIST SP 800-108 in counter mode, one block; the length that it states is that of what is used."""
    bits = 8 * (MAC_BYTES if constant in (DEVICE_CRYPTOGRAM, HOST_CRYPTOGRAM) else BLOCK)
    return _mac(key, bytes(11) + bytes([constant, 0]) + bits.to_bytes(2, "big") + b"\1" + context)


def _unpadded(data: bytes) -> bytes:
    stripped = data.rstrip(b"\0")
    if not stripped.endswith(b"\x80"):
        raise DeviceError(ERROR.INVALID_DATA)
    return stripped[:-1]
