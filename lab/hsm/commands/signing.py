"""Asymmetric keys: making them, signing with them, and vouching for them."""

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo, Prehashed
from yubihsm.defs import ALGORITHM, CAPABILITY, COMMAND, ERROR, OBJECT, ORIGIN

from lab.hsm import attestation, ed25519, keys
from lab.hsm.commands.call import Call, Command
from lab.hsm.objects import StoredObject
from lab.hsm.wire import DeviceError, head

HASHES: dict[int, hashes.HashAlgorithm] = {
    one.digest_size: one
    for one in (hashes.SHA1(), hashes.SHA224(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512())  # noqa: S303
}
"""By the length of a digest: what a host sends tells no more."""
MASKS: dict[int, hashes.HashAlgorithm] = {
    ALGORITHM.RSA_MGF1_SHA1: hashes.SHA1(),  # noqa: S303
    ALGORITHM.RSA_MGF1_SHA256: hashes.SHA256(),
    ALGORITHM.RSA_MGF1_SHA384: hashes.SHA384(),
    ALGORITHM.RSA_MGF1_SHA512: hashes.SHA512(),
}
KEY = OBJECT.ASYMMETRIC_KEY


def _put(call: Call) -> bytes:
    return call.add(KEY, ORIGIN.IMPORTED, keys.imported)


def _generate(call: Call) -> bytes:
    return call.add(KEY, ORIGIN.GENERATED, keys.generated)


def _public(call: Call) -> bytes:
    """A type may follow the id: only asymmetric keys have a public key here."""
    call.target, rest = call.head("H")
    kind = rest[0] if len(rest) == 1 else KEY
    if len(rest) > 1 or kind != KEY:
        raise DeviceError(ERROR.INVALID_DATA)
    key = call.find(KEY, call.target)
    return bytes([key.algorithm]) + keys.public(key.algorithm, key.payload)


def _sign_pkcs1(call: Call) -> bytes:
    """A digest, or what a host has put into a DigestInfo by itself."""
    key, data = call.use(KEY, CAPABILITY.SIGN_PKCS)
    private = _rsa(key)
    hashed: Prehashed | NoDigestInfo = Prehashed(HASHES[len(data)]) if len(data) in HASHES else NoDigestInfo()
    try:
        return private.sign(data, padding.PKCS1v15(), hashed)
    except ValueError as error:
        raise DeviceError(ERROR.INVALID_DATA) from error


def _sign_pss(call: Call) -> bytes:
    key, rest = call.use(KEY, CAPABILITY.SIGN_PSS)
    mask, salt_bytes, digest = head("BH", rest)
    private = _rsa(key)
    if mask not in MASKS or len(digest) not in HASHES:
        raise DeviceError(ERROR.INVALID_DATA)
    try:
        return private.sign(digest, padding.PSS(padding.MGF1(MASKS[mask]), salt_bytes), Prehashed(HASHES[len(digest)]))
    except ValueError as error:
        raise DeviceError(ERROR.INVALID_DATA) from error


def _sign_ecdsa(call: Call) -> bytes:
    """Of a digest, which yubihsm_pkcs11 fills up with zeros in front to the length of the curve."""
    key, data = call.use(KEY, CAPABILITY.SIGN_ECDSA)
    digest = data
    while len(digest) not in HASHES and digest.startswith(b"\0"):
        digest = digest[1:]
    private = keys.private(key.algorithm, key.payload) if key.algorithm != ALGORITHM.EC_ED25519 else None
    if not isinstance(private, ec.EllipticCurvePrivateKey) or len(digest) not in HASHES:
        raise DeviceError(ERROR.INVALID_DATA)
    return private.sign(digest, ec.ECDSA(Prehashed(HASHES[len(digest)])))


def _sign_eddsa(call: Call) -> bytes:
    key, message = call.use(KEY, CAPABILITY.SIGN_EDDSA)
    if key.algorithm != ALGORITHM.EC_ED25519:
        raise DeviceError(ERROR.INVALID_DATA)
    return ed25519.sign(key.payload, message)


def _attest(call: Call) -> bytes:
    """By the device's own key when the attesting key is 0, else by one that has a certificate under its own id."""
    call.target, call.second = call.fields("HH")
    attested, state = call.find(KEY, call.target), call.state
    if call.second:
        attesting = call.find(KEY, call.second, CAPABILITY.SIGN_ATTESTATION_CERTIFICATE)
        certificate = call.find(OBJECT.OPAQUE, call.second).payload
        algorithm, payload = attesting.algorithm, attesting.payload
    else:
        certificate, algorithm, payload = state.certificate, ALGORITHM.EC_P256, state.attestation_key
    if algorithm == ALGORITHM.EC_ED25519:
        raise DeviceError(ERROR.INVALID_DATA)
    try:
        issuer = x509.load_der_x509_certificate(certificate)
        return attestation.of_key(attested, keys.private(algorithm, payload), issuer, call.serial, call.firmware)
    except ValueError as error:
        raise DeviceError(ERROR.INVALID_DATA) from error


def _rsa(key: StoredObject) -> rsa.RSAPrivateKey:
    private = keys.private(key.algorithm, key.payload) if key.algorithm != ALGORITHM.EC_ED25519 else None
    if not isinstance(private, rsa.RSAPrivateKey):
        raise DeviceError(ERROR.INVALID_DATA)
    return private


COMMANDS = {
    COMMAND.PUT_ASYMMETRIC_KEY: Command(CAPABILITY.PUT_ASYMMETRIC, _put),
    COMMAND.GENERATE_ASYMMETRIC_KEY: Command(CAPABILITY.GENERATE_ASYMMETRIC_KEY, _generate),
    COMMAND.GET_PUBLIC_KEY: Command(CAPABILITY.NONE, _public),
    COMMAND.SIGN_PKCS1: Command(CAPABILITY.SIGN_PKCS, _sign_pkcs1),
    COMMAND.SIGN_PSS: Command(CAPABILITY.SIGN_PSS, _sign_pss),
    COMMAND.SIGN_ECDSA: Command(CAPABILITY.SIGN_ECDSA, _sign_ecdsa),
    COMMAND.SIGN_EDDSA: Command(CAPABILITY.SIGN_EDDSA, _sign_eddsa),
    COMMAND.SIGN_ATTESTATION_CERTIFICATE: Command(CAPABILITY.SIGN_ATTESTATION_CERTIFICATE, _attest),
}
