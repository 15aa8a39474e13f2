"""Sessions of the simulated YubiHSM 2, whose other side is Yubico's own library."""

import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from yubihsm.core import AuthSession
from yubihsm.defs import CAPABILITY, COMMAND, ERROR
from yubihsm.exceptions import YubiHsmAuthenticationError, YubiHsmDeviceError, YubiHsmInvalidResponseError
from yubihsm.objects import AuthenticationKey

from lab.hsm import wire
from lab.hsm.session import TIMEOUT_S
from tests.hsm import Owner, owned


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    with owned(tmp_path) as one:
        yield one


def refused(code: ERROR, told: pytest.ExceptionInfo[YubiHsmDeviceError]) -> bool:
    return told.value.code == code


def echo(session: AuthSession) -> bytes:
    return bytes(session.send_secure_cmd(COMMAND.ECHO, b"hello"))


def test_a_wrong_password_opens_nothing(owner: Owner) -> None:
    with pytest.raises(YubiHsmAuthenticationError):
        owner.login(password="guessed")


def test_a_host_without_the_key_is_refused_by_the_device_itself(owner: Owner) -> None:
    answer = owner.device.transceive(wire.frame(COMMAND.CREATE_SESSION, b"\0\1" + bytes(8)))
    proof = wire.frame(COMMAND.AUTHENTICATE_SESSION, answer[3:4] + bytes(16))
    assert owner.device.transceive(proof) == wire.error(ERROR.AUTHENTICATION_FAILED)
    assert owner.device.transceive(proof) == wire.error(ERROR.INVALID_SESSION)


def test_there_is_no_session_of_a_key_that_there_is_not(owner: Owner) -> None:
    with pytest.raises(YubiHsmDeviceError) as told:
        owner.login(key=77)
    assert refused(ERROR.OBJECT_NOT_FOUND, told)


def test_sixteen_sessions_are_open_at_once_and_no_more_until_one_is_forgotten(owner: Owner) -> None:
    others = [owner.login() for _ in range(15)]
    with pytest.raises(YubiHsmDeviceError) as told:
        owner.login()
    assert refused(ERROR.SESSIONS_FULL, told)
    owner.clock.now += TIMEOUT_S - 1
    assert [echo(session) for session in others] == [b"hello"] * len(others)
    owner.clock.now += 1
    assert echo(owner.login()) == b"hello"


def test_a_session_ends_when_nothing_is_asked_of_it(owner: Owner) -> None:
    owner.clock.now += TIMEOUT_S
    with pytest.raises(YubiHsmDeviceError) as told:
        echo(owner.session)
    assert refused(ERROR.INVALID_SESSION, told)


def test_a_closed_session_is_closed(owner: Owner) -> None:
    session = owner.login()
    number = session.sid
    session.close()
    answer = owner.device.transceive(wire.frame(COMMAND.SESSION_MESSAGE, bytes([number or 0]) + bytes(24)))
    assert answer == wire.error(ERROR.INVALID_SESSION)


def test_a_message_is_taken_once_and_only_as_it_was_sent(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []
    transceive = owner.device.transceive

    def noted(raw: bytes) -> bytes:
        sent.append(raw)
        return transceive(raw)

    monkeypatch.setattr(owner.device, "transceive", noted)
    assert echo(owner.session) == b"hello"
    assert transceive(sent[-1]) == wire.error(ERROR.AUTHENTICATION_FAILED)
    other = owner.login()
    monkeypatch.setattr(owner.device, "transceive", lambda raw: transceive(raw[:10] + bytes([raw[10] ^ 1]) + raw[11:]))
    with pytest.raises(YubiHsmDeviceError) as told:
        echo(other)
    assert refused(ERROR.AUTHENTICATION_FAILED, told)


def test_a_host_sees_that_a_reply_was_altered(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    transceive = owner.device.transceive
    monkeypatch.setattr(owner.device, "transceive", lambda raw: transceive(raw)[:-1] + b"\0")
    with pytest.raises(YubiHsmInvalidResponseError):
        [echo(owner.session) for _ in range(2)]


def test_a_public_key_opens_a_session_and_another_one_does_not(owner: Owner) -> None:
    right, wrong = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    none = CAPABILITY.NONE
    key = AuthenticationKey.put_public_key(owner.session, 0, "", 1, none, none, right.public_key())
    assert echo(owner.host.create_session_asymmetric(key.id, right)) == b"hello"
    with pytest.raises(YubiHsmAuthenticationError):
        owner.host.create_session_asymmetric(key.id, wrong)
    with pytest.raises(YubiHsmAuthenticationError):
        owner.host.create_session_asymmetric(key.id, right, wrong.public_key())


def test_a_key_changes_its_own_password_and_no_other(owner: Owner) -> None:
    session = owner.other(CAPABILITY.CHANGE_AUTHENTICATION_KEY)
    number = next(one.id for one in owner.session.list_objects(label="other"))
    with pytest.raises(YubiHsmDeviceError) as told:
        AuthenticationKey(session, 1).change_password("mine")
    assert refused(ERROR.INVALID_ID, told)
    AuthenticationKey(session, number).change_password("new")
    with pytest.raises(YubiHsmAuthenticationError):
        owner.login(number, "other")
    assert echo(owner.login(number, "new")) == b"hello"


def test_whatever_comes_is_answered_and_nothing_breaks(owner: Owner) -> None:
    chance = random.Random(2)
    codes = [*(int(command) for command in COMMAND), 0x02, 0x80, 0xFF]
    for _ in range(400):
        data = chance.randbytes(chance.choice((0, 1, 2, 3, 9, 10, 17, 40, 60, 200)))
        length = len(data) if chance.random() < 0.8 else chance.randrange(65536)
        frame = bytes([chance.choice(codes)]) + length.to_bytes(2, "big") + data
        assert len(owner.device.transceive(frame)) >= 3
    assert owner.device.transceive(b"") == wire.error(ERROR.WRONG_LENGTH)
    assert owner.device.transceive(bytes(4000)) == wire.error(ERROR.WRONG_LENGTH)
    owner.clock.now += TIMEOUT_S
    session = owner.login()
    inside = [command for command in COMMAND if command not in (COMMAND.CLOSE_SESSION, COMMAND.RESET_DEVICE)]
    for _ in range(400):
        data = chance.randbytes(chance.choice((0, 1, 2, 3, 5, 11, 53, 61, 93, 300)))
        with suppress(YubiHsmDeviceError):
            session.send_secure_cmd(chance.choice(inside), data)
    assert echo(session) == b"hello"
