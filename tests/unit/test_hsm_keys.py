"""Keys of the simulated YubiHSM 2: each kind made and imported by Yubico's library, and what it signs verified."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from yubihsm.defs import ALGORITHM, CAPABILITY, COMMAND, ERROR, OBJECT, ORIGIN
from yubihsm.exceptions import YubiHsmDeviceError
from yubihsm.objects import AsymmetricKey, AttestationExtensions, HmacKey, KeyAttestationExtensions, Opaque

from lab.hsm import ed25519 as expanded
from lab.hsm.objects import EC
from lab.hsm.storage import SERIALS
from tests.hsm import EVERYWHERE, Owner, owned

ALL_SIGNING = CAPABILITY.SIGN_PKCS | CAPABILITY.SIGN_PSS | CAPABILITY.SIGN_ECDSA | CAPABILITY.SIGN_EDDSA
MESSAGE = b"what is to be signed"
HASHES = (hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512())


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owner]:
    with owned(tmp_path_factory.mktemp("hsm")) as one:
        yield one


def generated(owner: Owner, algorithm: ALGORITHM) -> AsymmetricKey:
    return AsymmetricKey.generate(owner.session, 0, "made", EVERYWHERE, ALL_SIGNING, algorithm)


def put(owner: Owner, key: Any, number: int = 0) -> AsymmetricKey:
    return AsymmetricKey.put(owner.session, number, "put", EVERYWHERE, ALL_SIGNING, key)


@pytest.mark.parametrize("algorithm", EC, ids=lambda one: one.name)
def test_a_curve_s_key_signs_digests_of_every_length(owner: Owner, algorithm: ALGORITHM) -> None:
    private = ec.generate_private_key(algorithm.to_curve())
    for key in (generated(owner, algorithm), put(owner, private)):
        for one in HASHES:
            key.get_public_key().verify(key.sign_ecdsa(MESSAGE, one), MESSAGE, ec.ECDSA(one))
    assert key.get_public_key() == private.public_key()
    assert key.get_info().size == 3 * ((private.key_size + 7) // 8)


@pytest.mark.parametrize(
    "bits", [2048, pytest.param(3072, marks=pytest.mark.full), pytest.param(4096, marks=pytest.mark.full)]
)
def test_an_rsa_key_signs_by_pkcs1_and_pss(owner: Owner, bits: int) -> None:
    private = rsa.generate_private_key(65537, bits)
    for key in (generated(owner, ALGORITHM[f"RSA_{bits}"]), put(owner, private)):
        public = key.get_public_key()
        assert public.key_size == bits
        for one in HASHES:
            public.verify(key.sign_pkcs1v1_5(MESSAGE, one), MESSAGE, padding.PKCS1v15(), one)
            for salt in (0, one.digest_size):
                signature = key.sign_pss(MESSAGE, salt, one, hashes.SHA256())
                public.verify(signature, MESSAGE, padding.PSS(padding.MGF1(hashes.SHA256()), salt), one)
        assert key.get_info().size == bits // 16 * 7
    assert key.get_public_key() == private.public_key()


def test_an_ed25519_key_signs_as_the_library_does(owner: Owner) -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    key = put(owner, private)
    for message in (b"", MESSAGE, bytes(2000)):
        assert key.sign_eddsa(message) == private.sign(message)
    made = generated(owner, ALGORITHM.EC_ED25519)
    made.get_public_key().verify(made.sign_eddsa(MESSAGE), MESSAGE)


def test_an_expanded_key_signs_rfc_8032_s_second_message() -> None:
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    signature = (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert expanded.sign(expanded.expand(seed), b"\x72").hex() == signature


def test_a_key_signs_only_by_its_own_algorithm(owner: Owner) -> None:
    for algorithm, wrong in ((ALGORITHM.EC_P256, "pkcs1v1_5"), (ALGORITHM.EC_ED25519, "ecdsa")):
        with pytest.raises(YubiHsmDeviceError) as told:
            getattr(generated(owner, algorithm), f"sign_{wrong}")(MESSAGE)
        assert told.value.code == ERROR.INVALID_DATA


def test_what_is_no_key_is_no_object(owner: Owner) -> None:
    before = owner.session.list_objects()
    head = bytes(2) + b"bad".ljust(40, b"\0") + b"\0\1" + bytes(8)
    for algorithm, raw, code in (
        (ALGORITHM.RSA_2048, bytes(256), ERROR.INVALID_DATA),
        (ALGORITHM.RSA_2048, bytes(8), ERROR.WRONG_LENGTH),
        (ALGORITHM.EC_P256, bytes(32), ERROR.INVALID_DATA),
        (ALGORITHM.EC_P256, b"\xff" * 32, ERROR.INVALID_DATA),
        (ALGORITHM.HMAC_SHA256, bytes(32), ERROR.INVALID_DATA),
        (0xFE, b"", ERROR.INVALID_DATA),
    ):
        with pytest.raises(YubiHsmDeviceError) as told:
            owner.session.send_secure_cmd(COMMAND.PUT_ASYMMETRIC_KEY, head + bytes([algorithm]) + raw)
        assert told.value.code == code
    assert [one.id for one in owner.session.list_objects()] == [one.id for one in before]


def test_an_object_is_known_by_id_and_type_and_its_successors_are_counted(owner: Owner) -> None:
    number = 0x0A0A
    data = b"an opaque object has the id of a key"
    Opaque.put(owner.session, number, "", 1, CAPABILITY.NONE, ALGORITHM.OPAQUE_DATA, data)
    for sequence in range(3):
        key = put(owner, ec.generate_private_key(ec.SECP256R1()), number)
        info = key.get_info()
        assert (info.id, info.sequence, info.origin, info.label) == (number, sequence, ORIGIN.IMPORTED, "put")
        with pytest.raises(YubiHsmDeviceError) as told:
            put(owner, ec.generate_private_key(ec.SECP256R1()), number)
        assert told.value.code == ERROR.OBJECT_EXISTS
        key.delete()
    assert Opaque(owner.session, number).get() == data
    with pytest.raises(YubiHsmDeviceError) as told:
        put(owner, ec.generate_private_key(ec.SECP256R1()), 0xFFFF)
    assert told.value.code == ERROR.INVALID_ID


def test_objects_are_found_by_each_of_their_traits(owner: Owner) -> None:
    wanted = AsymmetricKey.generate(owner.session, 0, "sought", 1 << 7, CAPABILITY.SIGN_ECDSA, ALGORITHM.EC_P384)
    traits: tuple[dict[str, Any], ...] = (
        {"object_id": wanted.id},
        {"label": "sought"},
        {"label": "sought", "object_type": OBJECT.ASYMMETRIC_KEY, "domains": 3 << 7, "algorithm": ALGORITHM.EC_P384},
        {"label": "sought", "capabilities": CAPABILITY.SIGN_ECDSA | CAPABILITY.SIGN_HMAC},
    )
    for trait in traits:
        assert [one.id for one in owner.session.list_objects(**trait)] == [wanted.id]
    for trait in ({"domains": 1}, {"algorithm": ALGORITHM.EC_P256}, {"capabilities": CAPABILITY.SIGN_HMAC}):
        assert owner.session.list_objects(label="sought", **trait) == []


def test_hmac_keys_make_rfc_4231_s_first_mac(owner: Owner) -> None:
    both = CAPABILITY.SIGN_HMAC | CAPABILITY.VERIFY_HMAC
    key = HmacKey.put(owner.session, 0, "", 1, both, b"\x0b" * 20, ALGORITHM.HMAC_SHA256)
    mac = bytes.fromhex("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7")
    assert key.sign_hmac(b"Hi There") == mac
    assert key.verify_hmac(mac, b"Hi There")
    assert not key.verify_hmac(mac, b"Hi there")
    made = HmacKey.generate(owner.session, 0, "", 1, both, ALGORITHM.HMAC_SHA512)
    assert made.verify_hmac(made.sign_hmac(b""), b"")


def test_the_device_vouches_for_a_key_that_it_made(owner: Owner) -> None:
    issuer = Opaque(owner.session, 0).get_certificate()
    assert "SIMULATED" in issuer.subject.rfc4514_string()
    key = generated(owner, ALGORITHM.EC_P256)
    certificate = key.attest()
    certificate.verify_directly_issued_by(issuer)
    assert certificate.public_key() == key.get_public_key()
    told = AttestationExtensions.parse(certificate)
    assert isinstance(told, KeyAttestationExtensions)
    assert (told.object_id, told.origin, told.label, told.domains) == (key.id, ORIGIN.GENERATED, "made", EVERYWHERE)
    assert (told.capabilities, told.firmware_version, told.serial) == (ALL_SIGNING, (2, 4, 0), owner.device.serial)
    assert told.serial in SERIALS


def test_a_key_with_a_certificate_vouches_for_another(owner: Owner) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    vouching = AsymmetricKey.put(owner.session, 0, "", 1, CAPABILITY.SIGN_ATTESTATION_CERTIFICATE, private)
    attested = generated(owner, ALGORITHM.EC_ED25519)
    with pytest.raises(YubiHsmDeviceError) as told:
        attested.attest(vouching.id)
    assert told.value.code == ERROR.OBJECT_NOT_FOUND
    issuer = generated(owner, ALGORITHM.EC_P256).attest()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "vouching")])
    own = (
        x509.CertificateBuilder(name, name, private.public_key(), 1)
        .not_valid_before(issuer.not_valid_before_utc)
        .not_valid_after(issuer.not_valid_after_utc)
        .sign(private, hashes.SHA256())
    )
    vouching.put_certificate("", 1, CAPABILITY.NONE, own)
    attested.attest(vouching.id).verify_directly_issued_by(own)
    assert vouching.get_certificate() == own


def test_what_the_device_has_room_for_is_all_it_takes(tmp_path: Path) -> None:
    with owned(tmp_path) as owner:
        pages, fitting = 20, (1024 - 1) // 20
        full = bytes(pages * 126)
        for _ in range(fitting):
            Opaque.put(owner.session, 0, "", 1, CAPABILITY.NONE, ALGORITHM.OPAQUE_DATA, full)
        with pytest.raises(YubiHsmDeviceError) as told:
            Opaque.put(owner.session, 0, "", 1, CAPABILITY.NONE, ALGORITHM.OPAQUE_DATA, full)
        assert told.value.code == ERROR.STORAGE_FAILED
        told_free = owner.session.send_secure_cmd(COMMAND.GET_STORAGE_INFO)
        free = [int.from_bytes(told_free[at : at + 2], "big") for at in range(0, 10, 2)]
        assert free == [256, 255 - fitting, 1024, 1023 - pages * fitting, 126]
