"""What a session of the simulated YubiHSM 2 may do: by its key's capabilities, delegated capabilities and domains."""

from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from yubihsm.core import AuthSession
from yubihsm.defs import ALGORITHM, AUDIT, CAPABILITY, COMMAND, ERROR, OBJECT
from yubihsm.exceptions import YubiHsmDeviceError
from yubihsm.objects import AsymmetricKey, AuthenticationKey, HmacKey, Opaque, WrapKey, YhsmObject

from tests.hsm import EVERYWHERE, Owner, owned

NONE, P256, DATA = CAPABILITY.NONE, ALGORITHM.EC_P256, ALGORITHM.OPAQUE_DATA
CCM = ALGORITHM.AES256_CCM_WRAP
NUMBER = 0x0700


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owner]:
    with owned(tmp_path_factory.mktemp("hsm")) as one:
        yield one


def refusal(ask: Callable[..., object], *arguments: object) -> ERROR:
    with pytest.raises(YubiHsmDeviceError) as told:
        ask(*arguments)
    return told.value.code


COMMANDS: dict[str, tuple[CAPABILITY, Callable[[AuthSession], object]]] = {
    "put opaque": (CAPABILITY.PUT_OPAQUE, lambda one: Opaque.put(one, 0, "", 1, NONE, DATA, b"x")),
    "get opaque": (CAPABILITY.GET_OPAQUE, lambda one: Opaque(one, NUMBER).get()),
    "put authentication key": (
        CAPABILITY.PUT_AUTHENTICATION_KEY,
        lambda one: AuthenticationKey.put(one, 0, "", 1, NONE, NONE, bytes(16), bytes(16)),
    ),
    "put asymmetric key": (
        CAPABILITY.PUT_ASYMMETRIC,
        lambda one: AsymmetricKey.put(one, 0, "", 1, NONE, ec.generate_private_key(ec.SECP256R1())),
    ),
    "generate asymmetric key": (
        CAPABILITY.GENERATE_ASYMMETRIC_KEY,
        lambda one: AsymmetricKey.generate(one, 0, "", 1, NONE, P256),
    ),
    "sign by ECDSA": (CAPABILITY.SIGN_ECDSA, lambda one: AsymmetricKey(one, NUMBER).sign_ecdsa(b"")),
    "sign by EdDSA": (CAPABILITY.SIGN_EDDSA, lambda one: AsymmetricKey(one, NUMBER + 1).sign_eddsa(b"")),
    "sign by PKCS1": (CAPABILITY.SIGN_PKCS, lambda one: AsymmetricKey(one, NUMBER + 2).sign_pkcs1v1_5(b"")),
    "sign by PSS": (CAPABILITY.SIGN_PSS, lambda one: AsymmetricKey(one, NUMBER + 2).sign_pss(b"", 32)),
    "attest": (CAPABILITY.SIGN_ATTESTATION_CERTIFICATE, lambda one: AsymmetricKey(one, NUMBER).attest()),
    "put wrap key": (CAPABILITY.PUT_WRAP_KEY, lambda one: WrapKey.put(one, 0, "", 1, NONE, CCM, NONE, bytes(32))),
    "generate wrap key": (CAPABILITY.GENERATE_WRAP_KEY, lambda one: WrapKey.generate(one, 0, "", 1, NONE, CCM, NONE)),
    "export": (
        CAPABILITY.EXPORT_WRAPPED,
        lambda one: WrapKey(one, NUMBER).export_wrapped(AsymmetricKey(one, NUMBER)),
    ),
    "put HMAC key": (CAPABILITY.PUT_HMAC_KEY, lambda one: HmacKey.put(one, 0, "", 1, NONE, b"x")),
    "generate HMAC key": (CAPABILITY.GENERATE_HMAC_KEY, lambda one: HmacKey.generate(one, 0, "", 1, NONE)),
    "sign by HMAC": (CAPABILITY.SIGN_HMAC, lambda one: HmacKey(one, NUMBER).sign_hmac(b"")),
    "verify by HMAC": (CAPABILITY.VERIFY_HMAC, lambda one: HmacKey(one, NUMBER).verify_hmac(bytes(32), b"")),
    "read the log": (CAPABILITY.GET_LOG_ENTRIES, lambda one: one.get_log_entries()),
    "get option": (CAPABILITY.GET_OPTION, lambda one: one.get_force_audit()),
    "set option": (CAPABILITY.SET_OPTION, lambda one: one.set_force_audit(AUDIT.OFF)),
    "get random bytes": (CAPABILITY.GET_PSEUDO_RANDOM, lambda one: one.get_pseudo_random(8)),
    "delete": (CAPABILITY.DELETE_OPAQUE, lambda one: one.get_object(NUMBER + 1, OBJECT.OPAQUE).delete()),
}
"""Each with the one capability that its session needs."""


@pytest.fixture(scope="module")
def objects(owner: Owner) -> None:
    every, session = CAPABILITY.ALL, owner.session
    AsymmetricKey.generate(session, NUMBER, "", EVERYWHERE, every, P256)
    AsymmetricKey.generate(session, NUMBER + 1, "", EVERYWHERE, every, ALGORITHM.EC_ED25519)
    AsymmetricKey.put(session, NUMBER + 2, "", EVERYWHERE, every, rsa.generate_private_key(65537, 2048))
    WrapKey.put(session, NUMBER, "", EVERYWHERE, every, CCM, every, bytes(32))
    HmacKey.put(session, NUMBER, "", EVERYWHERE, every, b"key")
    for number in (NUMBER, NUMBER + 1):
        Opaque.put(session, number, "", EVERYWHERE, every, DATA, b"data")


@pytest.mark.usefixtures("objects")
def test_each_command_needs_its_capability_and_no_other(owner: Owner) -> None:
    for name, (capability, ask) in COMMANDS.items():
        with owner.other(CAPABILITY.ALL & ~capability, CAPABILITY.ALL) as without:
            assert refusal(ask, without) == ERROR.INSUFFICIENT_PERMISSIONS, name
        with owner.other(capability) as with_it:
            ask(with_it)


def test_only_who_may_resets_the_device(owner: Owner) -> None:
    with owner.other(CAPABILITY.ALL & ~CAPABILITY.RESET_DEVICE, CAPABILITY.ALL) as session:
        assert refusal(session.reset_device) == ERROR.INSUFFICIENT_PERMISSIONS
    assert len(owner.session.list_objects()) > 1


def test_a_key_must_have_the_capability_too(owner: Owner) -> None:
    key = AsymmetricKey.generate(owner.session, 0, "", 1, CAPABILITY.SIGN_PKCS, P256)
    assert refusal(key.sign_ecdsa, b"") == ERROR.INSUFFICIENT_PERMISSIONS


def test_nobody_gives_away_more_than_was_delegated_to_him(owner: Owner) -> None:
    makes = CAPABILITY.GENERATE_ASYMMETRIC_KEY | CAPABILITY.PUT_AUTHENTICATION_KEY
    session = owner.other(makes, CAPABILITY.SIGN_ECDSA | CAPABILITY.GET_OPAQUE)
    AsymmetricKey.generate(session, 0, "", 1, CAPABILITY.SIGN_ECDSA, P256)
    told = refusal(AsymmetricKey.generate, session, 0, "", 1, CAPABILITY.SIGN_PKCS, P256)
    assert told == ERROR.INSUFFICIENT_PERMISSIONS
    keys = bytes(16), bytes(16)
    for capabilities, delegated in ((CAPABILITY.GET_OPTION, NONE), (NONE, CAPABILITY.GET_OPTION)):
        told = refusal(AuthenticationKey.put, session, 0, "", 1, capabilities, delegated, *keys)
        assert told == ERROR.INSUFFICIENT_PERMISSIONS
    AuthenticationKey.put(session, 0, "", 1, CAPABILITY.GET_OPAQUE, NONE, *keys)


def test_objects_of_other_domains_are_not_there(owner: Owner) -> None:
    one, two = 1 << 2, 1 << 3
    session = owner.other(CAPABILITY.ALL, CAPABILITY.ALL, domains=one)
    theirs = AsymmetricKey.generate(owner.session, 0, "", two, CAPABILITY.SIGN_ECDSA, P256)
    both = AsymmetricKey.generate(owner.session, 0, "", one | two, CAPABILITY.SIGN_ECDSA, P256)
    both.with_session(session).sign_ecdsa(b"")
    hidden: YhsmObject = theirs.with_session(session)
    for ask in (hidden.get_info, hidden.delete, lambda: AsymmetricKey(session, theirs.id).sign_ecdsa(b"")):
        assert refusal(ask) == ERROR.OBJECT_NOT_FOUND
    listed = {found.id for found in session.list_objects(object_type=OBJECT.ASYMMETRIC_KEY)}
    assert both.id in listed
    assert theirs.id not in listed
    assert theirs.get_info().domains == two


def test_what_a_session_makes_is_in_its_own_domains_only(owner: Owner) -> None:
    one = 1 << 4
    session = owner.other(CAPABILITY.ALL, CAPABILITY.ALL, domains=one)
    made = AsymmetricKey.generate(session, 0, "", EVERYWHERE, NONE, P256)
    assert made.get_info().domains == one
    assert refusal(AsymmetricKey.generate, session, 0, "", one << 1, NONE, P256) == ERROR.INVALID_DATA


def test_capabilities_that_the_device_does_not_know_are_dropped(owner: Owner) -> None:
    head = bytes(2) + bytes(40) + b"\0\1" + b"\xff" * 8 + bytes([P256])
    number = int.from_bytes(owner.session.send_secure_cmd(COMMAND.GENERATE_ASYMMETRIC_KEY, head), "big")
    assert AsymmetricKey(owner.session, number).get_info().capabilities == CAPABILITY.ALL
