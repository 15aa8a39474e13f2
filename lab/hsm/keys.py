"""Keys of each algorithm, in the form in which the device keeps them and wraps them.

Verified against yubihsm-wrap 2.6:
RSA is p, q, d mod p-1, d mod q-1, q^-1 mod p, n; a curve's key is the secret and the public point's x and y; Ed25519 is
lab/hsm/ed25519.py's expanded key, and the seed behind it where it is known; HMAC is the key xor its two pads.
"""

import math
import secrets
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from yubihsm.defs import ALGORITHM, ERROR

from lab.hsm import ed25519
from lab.hsm.objects import EC, RSA
from lab.hsm.wire import DeviceError

EXPONENT = 65537
EXPANDED_BYTES, SEED_BYTES = 96, 32
"""Of Ed25519."""
AUTHENTICATION_BYTES = {ALGORITHM.AES128_YUBICO_AUTHENTICATION: 32, ALGORITHM.EC_P256_YUBICO_AUTHENTICATION: 64}
INNER, OUTER = 0x36, 0x5C
"""The pads of HMAC (RFC 2104)."""


def generate(algorithm: ALGORITHM) -> bytes:
    """A new key."""
    if algorithm in RSA:
        return _rsa(rsa.generate_private_key(EXPONENT, algorithm.to_key_size() * 8))
    if algorithm in EC:
        return _ec(ec.generate_private_key(algorithm.to_curve()))
    if algorithm == ALGORITHM.EC_ED25519:
        return imported(algorithm, secrets.token_bytes(SEED_BYTES))
    return imported(algorithm, secrets.token_bytes(algorithm.to_key_size()))


def generated(algorithm: ALGORITHM, rest: bytes) -> bytes:
    """A new key, which takes no data. Raises DeviceError."""
    _expect(rest, 0)
    return generate(algorithm)


def imported(algorithm: ALGORITHM, raw: bytes) -> bytes:
    """A key as a client puts it: RSA by its primes, a curve's by its secret, Ed25519 by its seed, others as they are.

    Raises DeviceError.
    """
    if algorithm == ALGORITHM.EC_ED25519:
        _expect(raw, SEED_BYTES)
        return ed25519.expand(raw) + raw
    try:
        if algorithm in RSA:
            _expect(raw, algorithm.to_key_size())
            middle = len(raw) // 2
            return _rsa(_from_primes(int.from_bytes(raw[:middle], "big"), int.from_bytes(raw[middle:], "big")))
        if algorithm in EC:
            _expect(raw, _curve_bytes(algorithm))
            return _ec(ec.derive_private_key(int.from_bytes(raw, "big"), algorithm.to_curve()))
    except ValueError as error:
        raise DeviceError(ERROR.INVALID_DATA) from error
    if algorithm in (ALGORITHM.HMAC_SHA1, ALGORITHM.HMAC_SHA256, ALGORITHM.HMAC_SHA384, ALGORITHM.HMAC_SHA512):
        if not 0 < len(raw) <= algorithm.to_key_size():
            raise DeviceError(ERROR.WRONG_LENGTH)
        block = raw.ljust(algorithm.to_key_size(), b"\0")
        return bytes(byte ^ INNER for byte in block) + bytes(byte ^ OUTER for byte in block)
    return _expect(raw, AUTHENTICATION_BYTES.get(algorithm) or algorithm.to_key_size())


def check(algorithm: ALGORITHM, payload: bytes) -> None:
    """Raises DeviceError unless it is a key of that algorithm, as it comes out of a wrap."""
    if algorithm in RSA or algorithm in EC:
        try:
            private(algorithm, payload)
        except ValueError as error:
            raise DeviceError(ERROR.INVALID_DATA) from error
    elif algorithm == ALGORITHM.EC_ED25519:
        if len(payload) not in (EXPANDED_BYTES, EXPANDED_BYTES + SEED_BYTES):
            raise DeviceError(ERROR.WRONG_LENGTH)
    elif algorithm in AUTHENTICATION_BYTES:
        _expect(payload, AUTHENTICATION_BYTES[algorithm])
    elif algorithm not in (ALGORITHM.OPAQUE_DATA, ALGORITHM.OPAQUE_X509_CERTIFICATE):
        doubled = algorithm.name.startswith("HMAC")
        _expect(payload, algorithm.to_key_size() * (2 if doubled else 1))


def public(algorithm: ALGORITHM, payload: bytes) -> bytes:
    """As GET PUBLIC KEY tells it: an RSA modulus, a point's x and y, or Ed25519's own form."""
    if algorithm in RSA:
        return payload[-algorithm.to_key_size() :]
    if algorithm == ALGORITHM.EC_ED25519:
        return payload[64:EXPANDED_BYTES]
    return payload[_curve_bytes(algorithm) :]


@lru_cache(maxsize=64)
def private(algorithm: ALGORITHM, payload: bytes) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    """An RSA key, or one of a curve. Raises ValueError where payload is no such key."""
    if algorithm in RSA:
        half = algorithm.to_key_size() // 2
        primes = (int.from_bytes(payload[half * at : half * (at + 1)], "big") for at in range(2))
        found: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = _from_primes(*primes)
        again = _rsa(found) if isinstance(found, rsa.RSAPrivateKey) else b""
    else:
        secret = payload[: _curve_bytes(algorithm)]
        found = ec.derive_private_key(int.from_bytes(secret, "big"), algorithm.to_curve())
        again = _ec(found)
    if again != payload:
        raise ValueError("the parts of the key do not fit together")
    return found


def _from_primes(p: int, q: int) -> rsa.RSAPrivateKey:
    secret = pow(EXPONENT, -1, math.lcm(p - 1, q - 1)) if p > 1 and q > 1 else 0
    crt = rsa.rsa_crt_dmp1(secret, p), rsa.rsa_crt_dmq1(secret, q), rsa.rsa_crt_iqmp(p, q)
    return rsa.RSAPrivateNumbers(p, q, secret, *crt, rsa.RSAPublicNumbers(EXPONENT, p * q)).private_key()


def _rsa(key: rsa.RSAPrivateKey) -> bytes:
    numbers, size = key.private_numbers(), key.key_size // 8
    halves = (numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)
    return b"".join(half.to_bytes(size // 2, "big") for half in halves) + numbers.public_numbers.n.to_bytes(size, "big")


def _ec(key: ec.EllipticCurvePrivateKey) -> bytes:
    numbers, size = key.private_numbers(), (key.curve.key_size + 7) // 8
    point = numbers.public_numbers
    return b"".join(part.to_bytes(size, "big") for part in (numbers.private_value, point.x, point.y))


def _curve_bytes(algorithm: ALGORITHM) -> int:
    return (algorithm.to_curve().key_size + 7) // 8


def _expect(raw: bytes, length: int) -> bytes:
    if len(raw) != length:
        raise DeviceError(ERROR.WRONG_LENGTH)
    return raw
