"""The audit log of the simulated YubiHSM 2, drained and verified by Yubico's library."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from yubihsm.core import LogEntry
from yubihsm.defs import ALGORITHM, AUDIT, CAPABILITY, COMMAND, ERROR
from yubihsm.exceptions import YubiHsmDeviceError
from yubihsm.objects import AsymmetricKey, WrapKey

from lab.hsm.log import SLOTS, AuditLog
from tests.hsm import Owner, owned

NO_ID = 0xFFFF


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    with owned(tmp_path) as one:
        yield one


def entries(owner: Owner) -> Sequence[LogEntry]:
    return owner.session.get_log_entries().entries


def commands(owner: Owner) -> list[int]:
    return [int(entry.command) for entry in entries(owner)]


def echo(owner: Owner, times: int = 1) -> None:
    for _ in range(times):
        owner.session.send_secure_cmd(COMMAND.ECHO, b"")


def refusal(owner: Owner, command: COMMAND, data: bytes = b"") -> ERROR:
    with pytest.raises(YubiHsmDeviceError) as told:
        owner.session.send_secure_cmd(command, data)
    return told.value.code


def full(owner: Owner) -> None:
    """Under forced audit."""
    owner.audit(COMMAND.ECHO, COMMAND.CREATE_SESSION, COMMAND.AUTHENTICATE_SESSION, COMMAND.SET_LOG_INDEX)
    owner.session.set_force_audit(AUDIT.ON)
    echo(owner, SLOTS - owner.host.get_device_info().log_used)


def test_the_chain_is_that_of_a_real_device() -> None:
    """Two entries that an owner published, read from a device after its factory reset: the boot follows from the first
    one by the digest that he shows."""
    told = AuditLog.new()
    told.last = bytes.fromhex("0001" + "ff" * 14 + "33012657537e4842f57fa6ed3b09b25b")
    told.boot()
    assert told.last[-16:].hex() == "fc153091560e18bca82621522c85bdba"
    assert told.last[:-16].hex() == "00020000" + "00ffff" + "00" * 9


def test_a_new_device_has_logged_its_reset_and_its_boot_and_logs_nothing_unasked(owner: Owner) -> None:
    first, boot = entries(owner)
    assert first.data == b"\0\1" + b"\xff" * 14
    assert (boot.number, boot.command, boot.session_key, boot.tick) == (2, 0, NO_ID, 0)
    assert boot.validate(first)
    assert set(owner.session.get_command_audit().values()) == {AUDIT.OFF}


def test_an_entry_tells_who_did_what_to_which_object_and_how_it_went(owner: Owner) -> None:
    owner.audit(
        *(COMMAND.CREATE_SESSION, COMMAND.AUTHENTICATE_SESSION, COMMAND.GENERATE_ASYMMETRIC_KEY),
        *(COMMAND.SIGN_ECDSA, COMMAND.EXPORT_WRAPPED),
    )
    owner.clock.now += 2.5
    session = owner.login()
    exportable = CAPABILITY.SIGN_ECDSA | CAPABILITY.EXPORTABLE_UNDER_WRAP
    key = AsymmetricKey.generate(session, 0, "", 1, exportable, ALGORITHM.EC_P256)
    every = CAPABILITY.ALL
    wrap = WrapKey.put(session, 0, "", 1, every, ALGORITHM.AES128_CCM_WRAP, every, bytes(16))
    key.sign_ecdsa(b"")
    wrap.export_wrapped(key)
    with pytest.raises(YubiHsmDeviceError):
        AsymmetricKey(session, 9).sign_ecdsa(b"")
    told = [
        (one.command, one.length, one.session_key, one.target_key, one.second_key, one.result, one.tick)
        for one in entries(owner)[2:]
    ]
    tick = 2500
    assert told == [
        (COMMAND.CREATE_SESSION, 10, NO_ID, 1, NO_ID, 0x83, tick),
        (COMMAND.AUTHENTICATE_SESSION, 17, NO_ID, 1, NO_ID, 0x84, tick),
        (COMMAND.GENERATE_ASYMMETRIC_KEY, 53, 1, key.id, NO_ID, 0xC6, tick),
        (COMMAND.SIGN_ECDSA, 34, 1, key.id, NO_ID, 0xD6, tick),
        (COMMAND.EXPORT_WRAPPED, 5, 1, wrap.id, key.id, 0xCA, tick),
        (COMMAND.SIGN_ECDSA, 34, 1, 9, NO_ID, ERROR.OBJECT_NOT_FOUND, tick),
    ]


def test_a_failed_login_is_logged(owner: Owner) -> None:
    owner.audit(COMMAND.CREATE_SESSION, COMMAND.AUTHENTICATE_SESSION)
    answer = owner.host.send_cmd(COMMAND.CREATE_SESSION, b"\0\1" + bytes(8))
    with pytest.raises(YubiHsmDeviceError):
        owner.host.send_cmd(COMMAND.AUTHENTICATE_SESSION, answer[:1] + bytes(16))
    assert [(one.target_key, one.result) for one in entries(owner)[2:]] == [
        (1, 0x83),
        (1, ERROR.AUTHENTICATION_FAILED),
    ]


def test_a_full_log_goes_round_unless_audit_is_forced(owner: Owner) -> None:
    owner.audit(COMMAND.ECHO)
    echo(owner, SLOTS + 5)
    told = entries(owner)
    assert len(told) == SLOTS == owner.host.get_device_info().log_used
    assert told[0].number == 2 + 5 + 1
    assert all(after.validate(before) for before, after in pairwise(told))


def test_under_forced_audit_a_full_log_lets_only_its_draining_pass(owner: Owner) -> None:
    full(owner)
    assert owner.host.get_device_info().log_used == SLOTS
    for command, data in (
        (COMMAND.ECHO, b""),
        (COMMAND.GET_PSEUDO_RANDOM, b"\0\1"),
        (COMMAND.SET_OPTION, b"\1\0\1\0"),
        (COMMAND.CLOSE_SESSION, b""),
    ):
        assert refusal(owner, command, data) == ERROR.LOG_FULL
    auditor = owner.login()
    boots, logins, told = auditor.get_log_entries()
    assert (boots, logins, len(told)) == (0, 1, SLOTS)
    auditor.set_log_index(told[-1].number)
    assert commands(owner) == [COMMAND.SET_LOG_INDEX]
    assert auditor.get_log_entries(told[-1])[:2] == (0, 0)
    echo(owner)


def test_boots_that_there_was_no_room_for_are_counted(owner: Owner) -> None:
    full(owner)
    for _ in range(3):
        owner.device.unplug()
        owner.device.plug()
    owner.session = owner.login()
    assert owner.session.get_log_entries()[:2] == (3, 1)
    last = entries(owner)[-1]
    owner.session.set_log_index(last.number)
    owner.device.unplug()
    owner.device.plug()
    owner.session = owner.login()
    boots, logins, told = owner.session.get_log_entries(last)
    assert (boots, logins) == (0, 0)
    assert [one.command for one in told] == [
        *(COMMAND.SET_LOG_INDEX, 0),
        *(COMMAND.CREATE_SESSION, COMMAND.AUTHENTICATE_SESSION),
    ]


def test_some_entries_are_freed_and_the_rest_stays(owner: Owner) -> None:
    owner.audit(COMMAND.ECHO)
    echo(owner, 4)
    owner.session.set_log_index(4)
    assert [one.number for one in entries(owner)] == [5, 6]
    assert refusal(owner, COMMAND.SET_LOG_INDEX, b"\0\4") == ERROR.INVALID_DATA
    assert refusal(owner, COMMAND.SET_LOG_INDEX, b"\0\7") == ERROR.INVALID_DATA


def test_a_log_that_logs_its_own_reading_locks_its_owner_out(owner: Owner) -> None:
    owner.audit(COMMAND.GET_LOG_ENTRIES)
    full(owner)
    assert refusal(owner, COMMAND.GET_LOG_ENTRIES) == ERROR.LOG_FULL


def test_what_is_fixed_stays_until_a_factory_reset(owner: Owner) -> None:
    owner.audit(COMMAND.ECHO, to=AUDIT.FIXED)
    owner.session.set_force_audit(AUDIT.FIXED)
    for option in (b"\1\0\1\0", b"\1\0\1\1", b"\3\0\2\1\0", b"\3\0\2\1\1", b"\3\0\1\1", b"\5\0\1\0", b"\1\0\1\7"):
        assert refusal(owner, COMMAND.SET_OPTION, option) == ERROR.INVALID_DATA
    assert owner.session.get_force_audit() == AUDIT.FIXED
    assert owner.session.get_command_audit()[COMMAND.ECHO] == AUDIT.FIXED
    owner.session.reset_device()
    owner.reconnect()
    assert owner.session.get_force_audit() == AUDIT.OFF
    assert owner.session.get_command_audit()[COMMAND.ECHO] == AUDIT.OFF
