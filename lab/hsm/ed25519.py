"""Ed25519 (RFC 8032) by an expanded key: the device and yubihsm-wrap keep no seed, and libraries sign by nothing else.

Slow and not constant-time, as fits keys that protect nothing.
"""

import hashlib

from cryptography.hazmat.primitives.asymmetric import ed25519

PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
Point = tuple[int, int, int, int]
"""x, y, z and t of extended coordinates: x/z, y/z, and xy = zt."""

_D = -121665 * pow(121666, -1, PRIME) % PRIME
_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
_Y = 4 * pow(5, -1, PRIME) % PRIME
BASE: Point = (_X, _Y, 1, _X * _Y % PRIME)


def expand(seed: bytes) -> bytes:
    """As yubihsm-wrap has a key: scalar (32 bytes, big-endian), prefix (32), public key (32)."""
    hashed = bytearray(hashlib.sha512(seed).digest())
    hashed[0] &= 248
    hashed[31] = hashed[31] & 127 | 64
    public = ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return bytes(hashed[31::-1] + hashed[32:]) + public


def sign(expanded: bytes, message: bytes) -> bytes:
    scalar, prefix, public = int.from_bytes(expanded[:32], "big"), expanded[32:64], expanded[64:96]
    nonce = _hash(prefix + message)
    commitment = _encoded(_times(nonce, BASE))
    answer = (nonce + _hash(commitment + public + message) * scalar) % ORDER
    return commitment + answer.to_bytes(32, "little")


def _hash(data: bytes) -> int:
    return int.from_bytes(hashlib.sha512(data).digest(), "little") % ORDER


def _add(p: Point, q: Point) -> Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % PRIME, (p[1] + p[0]) * (q[1] + q[0]) % PRIME
    c, d = 2 * p[3] * q[3] * _D % PRIME, 2 * p[2] * q[2] % PRIME
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % PRIME, g * h % PRIME, f * g % PRIME, e * h % PRIME


def _times(scalar: int, point: Point) -> Point:
    total: Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = _add(total, point)
        point = _add(point, point)
        scalar >>= 1
    return total


def _encoded(point: Point) -> bytes:
    inverse = pow(point[2], -1, PRIME)
    x, y = point[0] * inverse % PRIME, point[1] * inverse % PRIME
    return (y | (x & 1) << 255).to_bytes(32, "little")
