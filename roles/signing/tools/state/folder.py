"""The folder of wrapped keys and certificates, as the signing scripts know it: `0x0101-asymmetric-key.yhw`, in base64,
and `0x0101.x509.pem`.

What is wrapped is nonce (13 bytes), ciphertext, tag (16), and the ciphertext is as long as what it hides: 59 bytes of
algorithm of the wrap key, capabilities, id, length, domains, type, algorithm, sequence, origin and label (40), then the
key. So a file's length tells whether it can be that key; whether it is, only a device that has the wrap key can tell.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from pathlib import Path

from cryptography import x509
from yubihsm.defs import ALGORITHM

from inventories.files import replace
from roles.signing.tools.custody.git import sync_folder
from roles.signing.tools.errors import HsmError

NONCE_BYTES, HEADER_BYTES, TAG_BYTES = 13, 59, 16
NAME = re.compile(r"(?:0x)?([0-9a-fA-F]{4})(-asymmetric-key\.yhw|\.x509\.pem)")
WRAPPED, CERTIFICATE = "-asymmetric-key.yhw", ".x509.pem"


class Folder:
    """wrapped, certificates: files by the id of their key. others: what has no name of these."""

    def __init__(self, path: Path) -> None:
        """Raises HsmError where one key has two files."""
        self.path = path
        self.wrapped: dict[int, Path] = {}
        self.certificates: dict[int, Path] = {}
        self.others: list[Path] = []
        for one in sorted(path.iterdir()) if path.is_dir() else []:
            match = NAME.fullmatch(one.name)
            if not match:
                self.others += [] if one.name.startswith(".") else [one]
                continue
            kind = self.wrapped if match[2] == WRAPPED else self.certificates
            number = int(match[1], 16)
            if number in kind:
                raise HsmError(f"{one} and {kind[number].name} are of one key: keep one of them")
            kind[number] = one

    def write(self, number: int, blob: bytes) -> Path:
        """A wrapped key; it is on the disk when this returns. Raises OSError."""
        path = self.path / f"{number:#06x}{WRAPPED}"
        replace(path, base64.b64encode(blob) + b"\n", 0o600)
        sync_folder(self.path)
        self.wrapped[number] = path
        return path


def blob(path: Path) -> bytes:
    """Raises ValueError where it is not base64, OSError."""
    try:
        return base64.b64decode(b"".join(path.read_bytes().split()), validate=True)
    except binascii.Error as error:
        raise ValueError(f"is not base64: {error}") from None


def lengths(algorithm: int) -> tuple[int, ...]:
    """Bytes that a wrapped key of this algorithm may have; Ed25519 is exported with its seed or without."""
    around = NONCE_BYTES + HEADER_BYTES + TAG_BYTES
    if algorithm == ALGORITHM.EC_ED25519:
        return around + 96, around + 128
    known: Mapping[int, int] = {ALGORITHM.RSA_2048: 896, ALGORITHM.RSA_3072: 1344, ALGORITHM.RSA_4096: 1792}
    if algorithm in known:
        return (around + known[algorithm],)
    return (around + 3 * ((ALGORITHM(algorithm).to_curve().key_size + 7) // 8),)


def problem(path: Path, algorithm: int) -> str:
    """Why a file cannot be a wrapped key of this algorithm; empty where it can."""
    try:
        found = len(blob(path))
    except (ValueError, OSError) as error:
        return str(error)
    if found in lengths(algorithm):
        return ""
    wanted = " or ".join(str(one) for one in lengths(algorithm))
    return f"holds {found} bytes, and a wrapped key of its algorithm has {wanted}: it is cut, or of another key"


def certificate(path: Path) -> x509.Certificate:
    """Raises ValueError where it is none, OSError."""
    return x509.load_pem_x509_certificate(path.read_bytes())
