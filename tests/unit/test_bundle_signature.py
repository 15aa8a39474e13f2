"""Signatures of bundles, as those judge them who made the format."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bundle import openpgp
from bundle.openpgp import Key, NotSignedBy, UnknownSigner

SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
CREATED, WHEN = 1_700_000_000, 1_700_000_100
DATA = b"0123  name\n"


def key(secret: Ed25519PrivateKey) -> Key:
    [found] = openpgp.keyring(openpgp.certificate(secret, CREATED, "Bundles of the site x"))
    return found


def gpgv(folder: Path, data: bytes) -> int:
    (folder / "keyring.pgp").write_bytes(openpgp.certificate(SECRET, CREATED, "Bundles of the site x"))
    (folder / "signature").write_bytes(openpgp.sign(SECRET, key(SECRET), DATA, WHEN))
    (folder / "data").write_bytes(data)
    words = ["gpgv", "--keyring", str(folder / "keyring.pgp"), str(folder / "signature"), str(folder / "data")]
    return subprocess.run(words, capture_output=True, check=False).returncode


def test_gpgv_takes_what_is_signed_and_nothing_else(tmp_path: Path) -> None:
    assert gpgv(tmp_path, DATA) == 0
    assert gpgv(tmp_path, DATA + b"x") == 1


def test_signing_again_makes_the_same_bytes() -> None:
    assert openpgp.sign(SECRET, key(SECRET), DATA, WHEN) == openpgp.sign(SECRET, key(SECRET), DATA, WHEN)


def test_a_signature_of_a_known_key_is_known_by_it() -> None:
    made = openpgp.sign(SECRET, key(SECRET), DATA, WHEN)
    assert openpgp.verify([key(OTHER), key(SECRET)], made, DATA) == key(SECRET)


@pytest.mark.parametrize("number", range(40))
def test_numbers_that_begin_with_zeros_are_right(number: int) -> None:
    data = number.to_bytes(4, "big")
    assert openpgp.verify([key(SECRET)], openpgp.sign(SECRET, key(SECRET), data, WHEN), data) == key(SECRET)


def test_no_bit_of_a_signature_can_be_another() -> None:
    made = openpgp.sign(SECRET, key(SECRET), DATA, WHEN)
    for place in range(len(made) * 8):
        changed = bytearray(made)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises(NotSignedBy):
            openpgp.verify([key(SECRET)], bytes(changed), DATA)


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        b"\xc2",
        b"text",
        openpgp.sign(SECRET, key(SECRET), DATA, WHEN)[:-1],
        openpgp.sign(SECRET, key(SECRET), DATA, WHEN) * 2,
        openpgp.certificate(SECRET, CREATED, "x"),
    ],
)
def test_what_is_no_signature_is_refused(signature: bytes) -> None:
    with pytest.raises(NotSignedBy):
        openpgp.verify([key(SECRET)], signature, DATA)


def test_an_unknown_signer_is_named() -> None:
    with pytest.raises(UnknownSigner, match=key(OTHER).fingerprint):
        openpgp.verify([key(SECRET)], openpgp.sign(OTHER, key(OTHER), DATA, WHEN), DATA)


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PGP", b"\xc6\x05\x04aaaa", b"\x99" * 60])
def test_what_is_no_keyring_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"holds|is not"):
        openpgp.keyring(content)
