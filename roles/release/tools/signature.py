"""The signature of a whole OTA package, verified as phones do before they install it.

Format: that of AOSP's SignApk, as bootable/recovery's verifier and android.os.RecoverySystem read it. The zip's comment
is anything, then CMS SignedData in DER, then a footer of three little-endian 16-bit numbers: how far before the end of
the file the SignedData begins, 0xffff, the size of the comment. Signed is the file up to the length of its comment,
with one signer, no signed attributes, and the signer's certificate enclosed.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from roles.release.tools import der
from roles.release.tools.problems import Damaged, Problem
from roles.release.tools.zips import Directory

CERTIFICATES = "release-certificates"
"""Folder of a site's files: DEVICE.x509.pem, what phones of that model trust."""
FOOTER = struct.Struct("<3H")
LENGTH_BYTES = 2
"""Of the comment's length, the last bytes of the end record: not signed, as they change when the zip is signed."""
CERTIFICATE_BYTES = 64 << 10
RSA_BITS = 2048
DIGESTS = {
    "608648016503040201": "SHA-256",
    "2b0e03021a": "SHA-1",
    "608648016503040202": "SHA-384",
    "608648016503040203": "SHA-512",
}
BY_RSA = ("2a864886f70d010101", "2a864886f70d01010b")
"""rsaEncryption, sha256WithRSAEncryption."""
BY_EC = ("2a8648ce3d040302",)
"""ecdsa-with-SHA256."""
SIGNED_DATA, DATA = "2a864886f70d010702", "2a864886f70d010701"
Key = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


@dataclass(frozen=True)
class Signed:
    """What a SignedData says: algorithms by their OIDs in hexadecimal."""

    digest: str
    algorithm: str
    signature: bytes
    certificate: bytes
    """DER of the one that its signer is named by."""


def signed_bytes(directory: Directory) -> int:
    """How much of a package is signed: all but its comment and that one's length."""
    return directory.end + 22 - LENGTH_BYTES


def block(comment: bytes) -> bytes:
    """The SignedData in a zip's comment. Raises Damaged."""
    if not comment:
        raise Damaged("signature", "none", "a package signed as a whole")
    if len(comment) < FOOTER.size:
        raise Damaged("signature", f"a comment of {len(comment)} bytes", "one that ends in a footer of 6 bytes")
    start, mark, size = FOOTER.unpack(comment[-FOOTER.size :])
    if mark != 0xFFFF:
        raise Damaged("signature", f"{mark:#06x} in the middle of the footer", "0xffff: it is not signed")
    if size != len(comment):
        raise Damaged("signature", f"a footer for a comment of {size:,} bytes", f"{len(comment):,}")
    if not FOOTER.size < start <= size:
        raise Damaged("signature", f"a begin {start:,} bytes before the end", f"{FOOTER.size + 1} to {size:,}")
    return comment[-start : -FOOTER.size]


def parse(data: bytes) -> Signed:
    """Raises Damaged."""
    outer = der.only(data, "the signature").parts("the signature")
    if len(outer) != 2 or outer[0].content.hex() != SIGNED_DATA:
        raise Damaged("signature", "no SignedData", "CMS SignedData")
    fields = der.only(outer[1].is_(0xA0, "its content").content, "its content").parts("SignedData")
    if len(fields) < 4:
        raise Damaged("signature", f"{len(fields)} fields of SignedData", "4 or more")
    content = fields[2].parts("what is signed")
    if len(content) != 1 or content[0].content.hex() != DATA:
        raise Damaged("signature", "content of its own", "none: it is of the package")
    if fields[3].tag != 0xA0:
        raise Damaged("signature", "no certificate", "that of its signer: phones look at it first")
    certificates = fields[3].parts("certificates", 0xA0)
    signers = fields[-1].parts("signers", der.SET)
    if len(signers) != 1 or not certificates:
        raise Damaged(
            "signature", f"{len(signers)} signers, {len(certificates)} certificates", "one, and its certificate"
        )
    signer = signers[0].parts("its signer")
    if len(signer) < 5:
        raise Damaged("signature", f"{len(signer)} fields of its signer", "5")
    if signer[3].tag == 0xA0:
        raise Damaged("signature", "signed attributes", "none: a recovery does not read them")
    if signer[1].content != _name_of(certificates[0]):
        raise Damaged("signature", "a signer that its first certificate is not of", "issuer and serial number of it")
    digest, algorithm = (signer[at].parts("an algorithm")[:1] for at in (2, 3))
    if not digest or not algorithm:
        raise Damaged("signature", "no algorithm", "SHA-256 with RSA or EC")
    return Signed(
        digest[0].is_(der.OID, "a digest").content.hex(),
        algorithm[0].is_(der.OID, "an algorithm").content.hex(),
        signer[4].is_(der.OCTETS, "the signature itself").content,
        certificates[0].whole,
    )


def _name_of(certificate: der.Value) -> bytes:
    """Issuer and serial number, as a signer is named by them."""
    parts = certificate.parts("a certificate")
    fields = parts[0].parts("a certificate") if parts else []
    fields = fields[1:] if fields and fields[0].tag == 0xA0 else fields
    if len(fields) < 3:
        raise Damaged("signature", "a certificate that is none", "X.509")
    return fields[2].whole + fields[0].whole


def verify(comment: bytes, digest: bytes, certificate: x509.Certificate) -> None:
    """A package's comment is a signature, by that certificate's key, of what has that SHA-256, or Damaged is raised."""
    signed = parse(block(comment))
    named = DIGESTS.get(signed.digest, signed.digest)
    if named != "SHA-256":
        raise Damaged("signature", f"a digest by {named}", "SHA-256")
    key = _key(certificate)
    try:
        enclosed = x509.load_der_x509_certificate(signed.certificate).public_key()
        same = _public(enclosed) == _public(key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Damaged("signature", f"a certificate that cannot be read: {error}", "the device's own") from None
    if not same:
        raise Damaged("signature", "the certificate of another key", "the device's release certificate")
    if signed.algorithm not in (BY_RSA if isinstance(key, rsa.RSAPublicKey) else BY_EC):
        raise Damaged("signature", f"algorithm {signed.algorithm}", "SHA-256 with the certificate's kind of key")
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signed.signature, digest, padding.PKCS1v15(), Prehashed(SHA256()))
        else:
            key.verify(signed.signature, digest, ec.ECDSA(Prehashed(SHA256())))
    except InvalidSignature:
        raise Damaged("signature", "one that is not of these bytes", "one that verifies: phones refuse it") from None


def _public(key: object) -> bytes:
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise Damaged("signature", "a key that is neither RSA nor EC", "one of these")
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _key(certificate: x509.Certificate) -> Key:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= RSA_BITS:
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise Damaged("certificate", "another kind of key", f"RSA of at least {RSA_BITS} bits, or EC on P-256")


def certificate(folder: Path, device: str) -> x509.Certificate | Problem:
    """That which the phones of a model trust, or why there is none."""
    path = folder / f"{device}.x509.pem"
    hint = "the device's release certificate: put the public one of its signing key there"
    try:
        with path.open("rb") as file:
            text = file.read(CERTIFICATE_BYTES + 1)
        if len(text) > CERTIFICATE_BYTES:
            return Problem(str(path), "certificate", f"more than {CERTIFICATE_BYTES:,} bytes", hint)
        found = x509.load_pem_x509_certificate(text)
        _key(found)
    except OSError as error:
        return Problem(str(path), "certificate", (error.strerror or "cannot be read").lower(), hint)
    except (ValueError, UnsupportedAlgorithm):
        return Problem(str(path), "certificate", "no X.509 certificate in PEM", hint)
    except Damaged as error:
        return error.of(str(path))
    return found


def certificates(folder: Path, devices: set[str]) -> Mapping[str, x509.Certificate | Problem]:
    """Of each device."""
    return {device: certificate(folder, device) for device in sorted(devices)}
