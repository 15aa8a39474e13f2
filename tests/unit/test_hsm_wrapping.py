"""Objects that leave one simulated YubiHSM 2 under a wrap key and come into another one."""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from yubihsm.defs import ALGORITHM, CAPABILITY, ERROR, OBJECT, ORIGIN
from yubihsm.exceptions import YubiHsmDeviceError
from yubihsm.objects import AsymmetricKey, AuthenticationKey, HmacKey, Opaque, WrapKey

from tests.hsm import EVERYWHERE, Owner, owned

MOVES = CAPABILITY.EXPORT_WRAPPED | CAPABILITY.IMPORT_WRAPPED
OUT = CAPABILITY.EXPORTABLE_UNDER_WRAP
MESSAGE = b"what is to be signed"
SECRETS = {size: secrets.token_bytes(size) for size in (16, 24, 32)}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owner]:
    with owned(tmp_path_factory.mktemp("first")) as one:
        yield one


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owner]:
    with owned(tmp_path_factory.mktemp("second")) as one:
        yield one


def wrap_key(
    owner: Owner, capabilities: int = MOVES, delegated: int = CAPABILITY.ALL, secret: bytes = SECRETS[32]
) -> WrapKey:
    algorithm = ALGORITHM[f"AES{len(secret) * 8}_CCM_WRAP"]
    wanted = CAPABILITY(capabilities), algorithm, CAPABILITY(delegated)
    return WrapKey.put(owner.session, 0, "wrap", EVERYWHERE, *wanted, secret)


def code(told: pytest.ExceptionInfo[YubiHsmDeviceError]) -> ERROR:
    return told.value.code


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_a_key_is_the_same_one_in_another_device(first: Owner, second: Owner, bits: int) -> None:
    made = AsymmetricKey.generate(first.session, 0, "kept", 6, CAPABILITY.SIGN_ECDSA | OUT, ALGORITHM.EC_P384)
    public = made.get_public_key()
    wrapped = wrap_key(first, secret=SECRETS[bits // 8]).export_wrapped(made)
    come = wrap_key(second, secret=SECRETS[bits // 8]).import_wrapped(wrapped)
    assert isinstance(come, AsymmetricKey)
    public.verify(come.sign_ecdsa(MESSAGE), MESSAGE, ec.ECDSA(hashes.SHA256()))
    there, here = made.get_info(), come.get_info()
    assert here.origin == ORIGIN.GENERATED | ORIGIN.IMPORTED_WRAPPED
    same = ("id", "capabilities", "domains", "algorithm", "label", "size")
    assert [getattr(here, name) for name in same] == [getattr(there, name) for name in same]


def test_every_type_of_object_moves(first: Owner, second: Owner) -> None:
    session, none = first.session, CAPABILITY.NONE
    out, into = wrap_key(first), wrap_key(second)
    rsa = AsymmetricKey.generate(session, 0, "", 1, CAPABILITY.SIGN_PKCS | OUT, ALGORITHM.RSA_2048)
    edwards = AsymmetricKey.generate(session, 0, "", 1, CAPABILITY.SIGN_EDDSA | OUT, ALGORITHM.EC_ED25519)
    mac = HmacKey.put(session, 0, "", 1, CAPABILITY.SIGN_HMAC | OUT, b"secret")
    data = Opaque.put(session, 0, "", 1, OUT, ALGORITHM.OPAQUE_DATA, b"data")
    wrap = WrapKey.put(session, 0, "", 1, MOVES | OUT, ALGORITHM.AES128_CCM_WRAP, CAPABILITY.SIGN_PSS, bytes(16))
    key = AuthenticationKey.put_derived(session, 0, "", 1, OUT, none, "moved")
    public, ed_public, made = rsa.get_public_key(), edwards.get_public_key(), mac.sign_hmac(MESSAGE)
    come: dict[Any, Any] = {
        one: into.import_wrapped(out.export_wrapped(one)) for one in (rsa, edwards, mac, data, wrap, key)
    }
    public.verify(come[rsa].sign_pkcs1v1_5(MESSAGE), MESSAGE, padding.PKCS1v15(), hashes.SHA256())
    ed_public.verify(come[edwards].sign_eddsa(MESSAGE), MESSAGE)
    assert come[mac].sign_hmac(MESSAGE) == made
    assert come[data].get() == b"data"
    assert come[wrap].get_info().delegated_capabilities == CAPABILITY.SIGN_PSS
    second.login(key.id, "moved").close()


def test_an_ed25519_key_leaves_with_its_seed_when_that_is_asked_for(first: Owner, second: Owner) -> None:
    made = AsymmetricKey.generate(first.session, 0, "", 1, CAPABILITY.SIGN_EDDSA | OUT, ALGORITHM.EC_ED25519)
    out, into = wrap_key(first), wrap_key(second)
    sizes = {}
    for seed in (False, True):
        come: Any = into.import_wrapped(out.export_wrapped(made, seed))
        made.get_public_key().verify(come.sign_eddsa(MESSAGE), MESSAGE)
        sizes[seed] = come.get_info().size
        come.delete()
    assert sizes == {False: 96, True: 128}


def test_what_is_not_exportable_stays(first: Owner) -> None:
    made = AsymmetricKey.generate(first.session, 0, "", 1, CAPABILITY.SIGN_ECDSA, ALGORITHM.EC_P256)
    with pytest.raises(YubiHsmDeviceError) as told:
        wrap_key(first).export_wrapped(made)
    assert code(told) == ERROR.INSUFFICIENT_PERMISSIONS


def test_a_wrap_key_moves_only_what_it_may(first: Owner, second: Owner) -> None:
    made = AsymmetricKey.generate(first.session, 0, "", 1, CAPABILITY.SIGN_ECDSA | OUT, ALGORITHM.EC_P256)
    wrapped = wrap_key(first).export_wrapped(made)
    for capabilities, delegated in (
        (CAPABILITY.IMPORT_WRAPPED, CAPABILITY.ALL),
        (CAPABILITY.EXPORT_WRAPPED, CAPABILITY.SIGN_ECDSA),
    ):
        with pytest.raises(YubiHsmDeviceError) as told:
            wrap_key(first, capabilities, delegated).export_wrapped(made)
        assert code(told) == ERROR.INSUFFICIENT_PERMISSIONS
    for capabilities, delegated in (
        (CAPABILITY.EXPORT_WRAPPED, CAPABILITY.ALL),
        (CAPABILITY.IMPORT_WRAPPED, CAPABILITY.SIGN_ECDSA),
    ):
        with pytest.raises(YubiHsmDeviceError) as told:
            wrap_key(second, capabilities, delegated).import_wrapped(wrapped)
        assert code(told) == ERROR.INSUFFICIENT_PERMISSIONS


def test_what_was_altered_or_is_of_another_key_does_not_come_in(first: Owner, second: Owner) -> None:
    made = AsymmetricKey.generate(first.session, 0, "", 1, CAPABILITY.SIGN_ECDSA | OUT, ALGORITHM.EC_P256)
    wrapped = wrap_key(first).export_wrapped(made)
    for blob, secret in (
        (wrapped[:-1] + bytes([wrapped[-1] ^ 1]), SECRETS[32]),
        (wrapped, bytes(32)),
        (wrapped, SECRETS[16]),
    ):
        with pytest.raises(YubiHsmDeviceError) as told:
            wrap_key(second, secret=secret).import_wrapped(blob)
        assert code(told) == ERROR.INVALID_DATA
    assert not second.session.list_objects(object_id=made.id, object_type=OBJECT.ASYMMETRIC_KEY)


def test_nothing_is_written_over(first: Owner) -> None:
    made = AsymmetricKey.generate(first.session, 0, "", 1, CAPABILITY.SIGN_ECDSA | OUT, ALGORITHM.EC_P256)
    key = wrap_key(first)
    with pytest.raises(YubiHsmDeviceError) as told:
        key.import_wrapped(key.export_wrapped(made))
    assert code(told) == ERROR.OBJECT_EXISTS
