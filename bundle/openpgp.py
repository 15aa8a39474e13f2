"""The site's key as apt, sqv and gpgv take it: an OpenPGP certificate and detached signatures, Ed25519 alone.

RFC 4880, and RFC 9580 section 5.5.5.5 for the algorithm (22, EdDSALegacy: what gpgv 2.2 and sqv 1.3 both know). Pure.
No library that is kept makes the same bytes for the same input, or takes a key that is never on disk: gpg wants a
folder and an agent, Sequoia salts what it signs. What is written here is judged by gpgv, sqv and apt in the tests.

A keyring is trusted as the file that it is: the signatures that a certificate bears on itself are not looked at.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

EDDSA, SHA512 = b"\x16", b"\x0a"
CURVE = bytes.fromhex("09 2b06010401da470f01")
"""Ed25519's OID, with its length."""
SIGNATURE, PUBLIC_KEY, USER_ID = 2, 6, 13
OF_DOCUMENT, OF_USER_ID = b"\x00", b"\x13"
CREATED, KEY_FLAGS, ISSUER, FINGERPRINT = 2, 27, 16, 33
MAY_CERTIFY_AND_SIGN = b"\x03"


class NotSignedBy(Exception):
    """A signature is not that of a key; says why."""


class UnknownSigner(NotSignedBy):
    """The key is none of the keyring's."""


@dataclass(frozen=True)
class Key:
    """The public half."""

    public: bytes
    created: int
    """Unix seconds; part of what the fingerprint is of."""

    @property
    def body(self) -> bytes:
        """RFC 4880 section 5.5.2."""
        return b"\x04" + _four(self.created) + EDDSA + CURVE + _mpi(b"\x40" + self.public)

    @property
    def fingerprint(self) -> str:
        """As gpg and sqv print it."""
        return hashlib.sha1(self._hashed, usedforsecurity=False).hexdigest().upper()

    @property
    def _hashed(self) -> bytes:
        return b"\x99" + len(self.body).to_bytes(2, "big") + self.body


def certificate(secret: Ed25519PrivateKey, created: int, user_id: str) -> bytes:
    """The public key with its name, signed by itself; what a keyring is made of."""
    key = Key(secret.public_key().public_bytes_raw(), created)
    name = user_id.encode()
    flags = _subpacket(KEY_FLAGS, MAY_CERTIFY_AND_SIGN)
    signed = key._hashed + b"\xb4" + _four(len(name)) + name
    signature = _signature(secret, key, OF_USER_ID, signed, created, flags)
    return _packet(PUBLIC_KEY, key.body) + _packet(USER_ID, name) + signature


def sign(secret: Ed25519PrivateKey, key: Key, data: bytes, when: int) -> bytes:
    """A detached signature. when: in Unix seconds. The same input makes the same bytes (RFC 8032)."""
    return _signature(secret, key, OF_DOCUMENT, data, when)


def armored(signature: bytes) -> bytes:
    """As text, which apt wants it in. Without a checksum (RFC 9580 section 6.1)."""
    lines = base64.encodebytes(signature).decode()
    return f"-----BEGIN PGP SIGNATURE-----\n\n{lines}-----END PGP SIGNATURE-----\n".encode()


def keyring(content: bytes) -> list[Key]:
    """The keys of a file of certificates. Raises ValueError for what is none, or of another kind of key."""
    found = []
    for tag, body in _packets(content):
        if tag == PUBLIC_KEY:
            key = Key(body[-32:], int.from_bytes(body[1:5], "big"))
            if key.body != body:
                raise ValueError("holds a key that is not Ed25519")
            found.append(key)
    if not found:
        raise ValueError("holds no key")
    return found


def verify(keys: Sequence[Key], signature: bytes, data: bytes) -> Key:
    """Who of them signed data. Takes exactly what `sign` makes, and nothing else. Raises NotSignedBy."""
    try:
        [(_, body)] = _packets(signature)
    except ValueError:
        raise NotSignedBy("is no signature") from None
    hashed = body[: 6 + int.from_bytes(body[4:6], "big")]
    fingerprint, when = hashed[-20:].hex().upper(), int.from_bytes(hashed[8:12], "big")
    key = next((one for one in keys if one.fingerprint == fingerprint), None)
    if key is None:
        known = ", ".join(one.fingerprint for one in keys)
        raise UnknownSigner(f"is of the key {fingerprint}, which is not known here; known: {known}")
    digest = _digest(data, _hashed_part(key, OF_DOCUMENT, when))
    number = b"".join(_numbers(body[len(hashed) + len(_unhashed(key)) + 2 :]))
    if signature != _of_number(key, OF_DOCUMENT, when, b"", digest, number):
        raise NotSignedBy("is no signature of the kind that is made here")
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(number, digest)
    except InvalidSignature:
        raise NotSignedBy(f"of the key {fingerprint} is of something else") from None
    return key


def _signature(secret: Ed25519PrivateKey, key: Key, kind: bytes, signed: bytes, when: int, flags: bytes = b"") -> bytes:
    digest = _digest(signed, _hashed_part(key, kind, when, flags))
    return _of_number(key, kind, when, flags, digest, secret.sign(digest))


def _of_number(key: Key, kind: bytes, when: int, flags: bytes, digest: bytes, number: bytes) -> bytes:
    """The packet of a signature of 64 bytes (RFC 4880 section 5.2.3)."""
    begins = _hashed_part(key, kind, when, flags) + _unhashed(key) + digest[:2]
    return _packet(SIGNATURE, begins + _mpi(number[:32]) + _mpi(number[32:]))


def _hashed_part(key: Key, kind: bytes, when: int, flags: bytes = b"") -> bytes:
    """RFC 4880 section 5.2.3; the fingerprint comes last."""
    parts = _subpacket(CREATED, _four(when)) + flags
    parts += _subpacket(FINGERPRINT, b"\x04" + bytes.fromhex(key.fingerprint))
    return b"\x04" + kind + EDDSA + SHA512 + len(parts).to_bytes(2, "big") + parts


def _unhashed(key: Key) -> bytes:
    part = _subpacket(ISSUER, bytes.fromhex(key.fingerprint)[-8:])
    return len(part).to_bytes(2, "big") + part


def _digest(signed: bytes, hashed: bytes) -> bytes:
    return hashlib.sha512(signed + hashed + b"\x04\xff" + _four(len(hashed))).digest()


def _subpacket(kind: int, content: bytes) -> bytes:
    return bytes([len(content) + 1, kind]) + content


def _packet(tag: int, body: bytes) -> bytes:
    """With the new kind of header, and a body of less than 192 bytes (RFC 4880 section 4.2.2.1)."""
    assert len(body) < 192, "a name must be short"
    return bytes([0xC0 | tag, len(body)]) + body


def _packets(content: bytes) -> Iterator[tuple[int, bytes]]:
    while content:
        if len(content) < 2 or content[0] < 0xC0 or content[1] >= 192 or len(content) < 2 + content[1]:
            raise ValueError("is not what `mainstay bundle key` writes")
        yield content[0] & 0x3F, content[2 : 2 + content[1]]
        content = content[2 + content[1] :]


def _mpi(number: bytes) -> bytes:
    """A big number with its length in bits, without leading zeros (RFC 4880 section 3.2)."""
    value = int.from_bytes(number, "big")
    return value.bit_length().to_bytes(2, "big") + value.to_bytes((value.bit_length() + 7) // 8, "big")


def _numbers(content: bytes) -> Iterator[bytes]:
    """Each number, as the 32 bytes it is of."""
    while content:
        size = (int.from_bytes(content[:2], "big") + 7) // 8
        yield content[2 : 2 + size].rjust(32, b"\0")
        content = content[2 + size :]


def _four(number: int) -> bytes:
    return number.to_bytes(4, "big")
