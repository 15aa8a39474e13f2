"""A package's signature is judged as OpenSSL judges it, and stricter where phones are."""

import hashlib
import struct
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from lab import release_build
from roles.release.tools import der, signature
from roles.release.tools.problems import Damaged
from tests.unit.releases import NEW


@pytest.fixture(scope="module", params=[0, 2048], ids=["EC", "RSA"])
def keys(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    release_build.signer(folder, "panther", rsa_bits=request.param)
    return folder


@pytest.fixture(scope="module")
def ec(tmp_path_factory: pytest.TempPathFactory) -> release_build.Signer:
    return release_build.signer(tmp_path_factory.mktemp("ec"), "panther")


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


def value(tag: int, *parts: bytes) -> bytes:
    return release_build.der(tag, b"".join(parts))


def signed_data(by: release_build.Signer, change: Callable[[list[bytes], list[bytes]], object]) -> bytes:
    """A signature that is good but for what is changed: in the fields of SignedData, or of its signer."""
    block = release_build.signed_data(DIGEST, by)
    kind, content = der.only(block, "it").parts("it")
    fields = [one.whole for one in der.only(content.content, "it").parts("it")]
    signer = [one.whole for one in der.only(der.only(fields[4], "it").content, "it").parts("it")]
    change(fields, signer)
    signers = value(0x31, value(0x30, *signer), *fields[5:])
    return value(0x30, kind.whole, value(0xA0, value(0x30, *fields[:4], signers)))


def put(at: int, new: bytes, *, in_signer: bool = False) -> Callable[[list[bytes], list[bytes]], object]:
    def work(fields: list[bytes], signer: list[bytes]) -> None:
        (signer if in_signer else fields)[at] = new

    return work


def test_one_that_was_taken_apart_and_put_together_is_good(ec: release_build.Signer) -> None:
    block = signed_data(ec, lambda fields, signer: None)
    signature.verify(comment_of(block), DIGEST, ec.certificate)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(
            put(4, value(0x30), in_signer=True), "found tag 0x30 for the signature itself; expected 0x04", id="tag"
        ),
        pytest.param(
            put(2, value(0x30, *[value(5)] * 65)), "found more than 64 parts in what is signed", id="many parts"
        ),
        pytest.param(put(2, b"\x30\x81\x02\5\0"), "found a length that is not DER's", id="a long length"),
        pytest.param(put(2, b"\x30\x80\0\0"), "found a length that is not DER's", id="an indefinite length"),
        pytest.param(
            lambda fields, _: fields.insert(5, value(0x30)), "found 2 signers, 1 certificates", id="two signers"
        ),
        pytest.param(put(3, value(0xA0)), "found 1 signers, 0 certificates", id="no certificates"),
        pytest.param(
            put(3, value(0xA0, value(0x30, value(0x30)))), "found a certificate that is none", id="certificate"
        ),
        pytest.param(lambda _, signer: signer.pop(), "found 4 fields of its signer", id="no signature"),
        pytest.param(put(3, value(0x30), in_signer=True), "found no algorithm", id="no algorithm"),
        pytest.param(
            put(1, value(0x30, b"\x30\0\2\1\1"), in_signer=True), "not of; expected issuer and serial", id="name"
        ),
        pytest.param(
            put(3, value(0x30, value(6, bytes.fromhex("2a864886f70d010105"))), in_signer=True),
            "found algorithm 2a864886f70d010105; expected SHA-256 with",
            id="sha1WithRSA",
        ),
    ],
)
def test_a_signature_in_another_form_is_refused(
    ec: release_build.Signer, change: Callable[[list[bytes], list[bytes]], object], expected: str
) -> None:
    comment = comment_of(signed_data(ec, change))
    with pytest.raises(Damaged, match=expected):
        signature.verify(comment, DIGEST, ec.certificate)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        pytest.param(b"\x30\5ab", "found a value of 5 bytes where 2 are left", id="cut"),
        pytest.param(b"\x30\0x", "found 1 bytes after the signature", id="bytes after"),
        pytest.param(value(0x30, value(6, b"x"), value(0xA0)), "found no SignedData", id="another thing"),
        pytest.param(
            value(0x30, value(6, bytes.fromhex("2a864886f70d010702")), value(0xA0, value(0x30, value(2)))),
            "found 1 fields of SignedData",
            id="an empty one",
        ),
    ],
)
def test_what_is_no_signature_is_refused(block: bytes, expected: str) -> None:
    with pytest.raises(Damaged, match=expected):
        signature.parse(block)


def test_a_certificate_with_another_kind_of_key_is_no_phones(tmp_path: Path) -> None:
    """Ed25519: nothing of it could be verified."""
    words = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=x"]
    subprocess.run([*words, "-keyout", tmp_path / "key", "-out", tmp_path / "x"], capture_output=True, check=True)
    theirs = x509.load_pem_x509_certificate((tmp_path / "x").read_bytes())
    ours = release_build.signer(tmp_path, "panther")
    block = release_build.signed_data(DIGEST, replace(ours, certificate=theirs))
    with pytest.raises(Damaged, match="found a key that is neither RSA nor EC"):
        signature.verify(comment_of(block), DIGEST, ours.certificate)


def test_a_certificate_is_not_large(tmp_path: Path) -> None:
    (tmp_path / "panther.x509.pem").write_bytes(b"x" * 70_000)
    assert "found more than 65,536 bytes" in str(signature.certificate(tmp_path, "panther"))


def test_keys_that_are_too_weak_are_no_certificate(tmp_path: Path) -> None:
    release_build.signer(tmp_path, "old", rsa_bits=1024)
    found = signature.certificate(tmp_path / "release-certificates", "old")
    assert "another kind of key; expected RSA of at least 2048 bits, or EC on P-256" in str(found)
