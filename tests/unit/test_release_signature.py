"""A package's signature is judged as OpenSSL judges it, and stricter where phones are."""

import hashlib
import struct
import subprocess
import zipfile
from pathlib import Path

import pytest

from lab import release_build
from roles.release.tools import signature
from roles.release.tools.problems import Damaged
from tests.unit.releases import NEW


@pytest.fixture(scope="module", params=[0, 2048], ids=["EC", "RSA"])
def keys(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    release_build.signer(folder, "panther", rsa_bits=request.param)
    return folder


def openssl(*words: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["openssl", "cms", *words], capture_output=True, check=False)


def test_openssl_verifies_what_is_verified_here(keys: Path, tmp_path: Path) -> None:
    by = release_build.signer(keys, "panther")
    package = release_build.ota(tmp_path, "panther", NEW, by, 30_000)
    with zipfile.ZipFile(package) as opened:
        comment = opened.comment
    signed = package.read_bytes()[: -len(comment) - 2]
    (tmp_path / "signed").write_bytes(signed)
    (tmp_path / "block").write_bytes(signature.block(comment))
    words = ("-verify", "-binary", "-noverify", "-inform", "DER", "-in", tmp_path / "block", "-out", "/dev/null")
    assert openssl(*words, "-content", tmp_path / "signed").returncode == 0
    signature.verify(comment, hashlib.sha256(signed).digest(), by.certificate)

    (tmp_path / "signed").write_bytes(signed[:-1] + b"x")
    assert openssl(*words, "-content", tmp_path / "signed").returncode != 0
    with pytest.raises(Damaged, match="found one that is not of these bytes"):
        signature.verify(comment, hashlib.sha256(signed[:-1] + b"x").digest(), by.certificate)


def comment_of(block: bytes) -> bytes:
    return block + struct.pack("<3H", len(block) + 6, 0xFFFF, len(block) + 6)


def signed_by_openssl(keys: Path, folder: Path, *options: str) -> bytes:
    (folder / "data").write_bytes(b"bytes that are signed")
    certificate, key = keys / "release-certificates/panther.x509.pem", keys / "release-keys/panther.pem"
    words = ("-sign", "-binary", "-outform", "DER", "-in", folder / "data", "-out", folder / "block")
    done = openssl(*words, "-signer", certificate, "-inkey", key, *options)
    assert done.returncode == 0, done.stderr
    return comment_of((folder / "block").read_bytes())


DIGEST = hashlib.sha256(b"bytes that are signed").digest()


def test_what_openssl_signs_is_verified(keys: Path, tmp_path: Path) -> None:
    comment = signed_by_openssl(keys, tmp_path, "-noattr", "-md", "sha256")
    signature.verify(comment, DIGEST, release_build.signer(keys, "panther").certificate)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param(("-noattr", "-md", "sha1"), "found a digest by SHA-1; expected SHA-256", id="SHA-1"),
        pytest.param(("-noattr", "-md", "sha512"), "found a digest by SHA-512; expected SHA-256", id="SHA-512"),
        pytest.param(("-md", "sha256"), "found signed attributes; expected none", id="attributes"),
        pytest.param(("-noattr", "-md", "sha256", "-nodetach"), "found content of its own", id="content"),
        pytest.param(("-noattr", "-md", "sha256", "-nocerts"), "found no certificate", id="no certificate"),
        pytest.param(
            ("-noattr", "-md", "sha256", "-keyid"), "a signer that its first certificate is not of", id="key id"
        ),
    ],
)
def test_what_openssl_takes_and_phones_do_not_is_refused(
    keys: Path, tmp_path: Path, options: tuple[str, ...], expected: str
) -> None:
    comment = signed_by_openssl(keys, tmp_path, *options)
    with pytest.raises(Damaged, match=expected):
        signature.verify(comment, DIGEST, release_build.signer(keys, "panther").certificate)


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        pytest.param(b"", "found none; expected a package signed as a whole", id="no comment"),
        pytest.param(b"hi", "found a comment of 2 bytes", id="a short one"),
        pytest.param(b"just a comment", "in the middle of the footer; expected 0xffff", id="no footer"),
        pytest.param(
            b"x" + struct.pack("<3H", 7, 0xFFFF, 9), "found a footer for a comment of 9 bytes; expected 7", id="size"
        ),
        pytest.param(b"x" + struct.pack("<3H", 8, 0xFFFF, 7), "found a begin 8 bytes before the end", id="before it"),
        pytest.param(b"x" + struct.pack("<3H", 6, 0xFFFF, 7), "found a begin 6 bytes before the end", id="nothing"),
        pytest.param(b"x" + struct.pack("<3H", 7, 0xFFFF, 7), "a value that is cut", id="no DER"),
    ],
)
def test_a_footer_that_a_recovery_would_not_take_is_refused(comment: bytes, expected: str) -> None:
    with pytest.raises(Damaged, match=expected):
        signature.parse(signature.block(comment))


def test_keys_that_are_too_weak_are_no_certificate(tmp_path: Path) -> None:
    release_build.signer(tmp_path, "old", rsa_bits=1024)
    found = signature.certificate(tmp_path / "release-certificates", "old")
    assert "another kind of key; expected RSA of at least 2048 bits, or EC on P-256" in str(found)
