"""Certificates in which the device vouches for itself, and for a key that it holds.

Subject and extensions: https://docs.yubico.com/hardware/oid/oid-product-arc.html (YubiHSM OIDs)
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from yubihsm.defs import ALGORITHM

from lab.hsm import keys
from lab.hsm.objects import StoredObject

ARC = "1.3.6.1.4.1.41482.4"
INTEGER, BIT_STRING, OCTET_STRING, UTF8_STRING = 0x02, 0x03, 0x04, 0x0C
BEGIN, END = datetime(2017, 1, 1, tzinfo=UTC), datetime(2071, 10, 5, tzinfo=UTC)
"""Of the device's own certificate."""
SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def of_device(key: bytes, serial: int, firmware: Sequence[int]) -> bytes:
    """The device's own certificate, in DER, signed by itself: no maker stands behind a simulator."""
    private = keys.private(ALGORITHM.EC_P256, key)
    name = _name(f"SIMULATED YubiHSM Attestation ({serial})")
    return _signed(private, private.public_key(), name, name, (BEGIN, END), _of_device(serial, firmware))


def of_key(
    attested: StoredObject, attesting: SigningKey, certificate: x509.Certificate, serial: int, firmware: Sequence[int]
) -> bytes:
    """A certificate of a stored key, in DER. certificate: that of the attesting key."""
    if attested.algorithm == ALGORITHM.EC_ED25519:
        public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | Ed25519PublicKey = Ed25519PublicKey.from_public_bytes(
            keys.public(attested.algorithm, attested.payload)
        )
    else:
        public = keys.private(attested.algorithm, attested.payload).public_key()
    validity = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    extensions = {
        **_of_device(serial, firmware),
        3: _der(BIT_STRING, bytes([0, attested.origin])),
        4: _der(BIT_STRING, b"\0" + attested.domains.to_bytes(2, "big")),
        5: _der(BIT_STRING, b"\0" + attested.capabilities.to_bytes(8, "big")),
        6: _integer(attested.id),
        9: _der(UTF8_STRING, attested.label.rstrip(b"\0")),
    }
    subject = _name(f"YubiHSM Attestation id:0x{attested.id:04x}")
    return _signed(attesting, public, subject, certificate.subject, validity, extensions)


def _of_device(serial: int, firmware: Sequence[int]) -> dict[int, bytes]:
    return {1: _der(OCTET_STRING, bytes(firmware)), 2: _integer(serial)}


def _signed(
    key: SigningKey,
    public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | Ed25519PublicKey,
    subject: x509.Name,
    issuer: x509.Name,
    validity: tuple[datetime, datetime],
    extensions: dict[int, bytes],
) -> bytes:
    builder = x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number(), *validity)
    for arc, value in extensions.items():
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(f"{ARC}.{arc}"), value)
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _integer(number: int) -> bytes:
    return _der(INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _der(tag: int, value: bytes) -> bytes:
    """Of values shorter than 128 bytes."""
    return bytes([tag, len(value)]) + value
