"""Faults of the simulated YubiHSM 2, as a host meets them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError
from yubihsm.defs import ALGORITHM, AUDIT, CAPABILITY, COMMAND, ERROR
from yubihsm.exceptions import YubiHsmDeviceError, YubiHsmInvalidResponseError
from yubihsm.objects import AsymmetricKey

from lab.hsm.device import Unplugged
from lab.hsm.faults import Fault
from lab.hsm.log import SLOTS
from lab.hsm.storage import SERIALS
from tests.hsm import EVERYWHERE, Owner, owned

NUMBER = 7


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    with owned(tmp_path) as one:
        yield one


def happens(owner: Owner, **fault: object) -> None:
    owner.device.bring_about(Fault.model_validate(fault))


def generate(owner: Owner) -> None:
    AsymmetricKey.generate(owner.session, NUMBER, "", EVERYWHERE, CAPABILITY.NONE, ALGORITHM.EC_P256)


def there(owner: Owner) -> bool:
    owner.device.undo_faults()
    owner.session = owner.login()
    return bool(owner.session.list_objects(object_id=NUMBER))


def test_a_device_that_is_pulled_out_is_gone_until_it_is_plugged_in(owner: Owner) -> None:
    happens(owner, kind="unplug")
    with pytest.raises(Unplugged):
        owner.session.list_objects()
    with pytest.raises(Unplugged):
        owner.login()
    assert not there(owner)
    assert [entry.command for entry in owner.session.get_log_entries().entries[1:]] == [0, 0]


@pytest.mark.parametrize(("when", "done"), [("before", False), ("after", True)])
def test_in_the_midst_of_a_command_it_is_done_or_not(owner: Owner, when: str, done: bool) -> None:
    happens(owner, kind="unplug", command="GENERATE_ASYMMETRIC_KEY", when=when)
    owner.session.list_objects()
    with pytest.raises(Unplugged):
        generate(owner)
    assert there(owner) is done


def test_no_session_outlives_a_loss_of_power(owner: Owner) -> None:
    happens(owner, kind="unplug")
    owner.device.undo_faults()
    with pytest.raises(YubiHsmDeviceError) as told:
        owner.session.list_objects()
    assert told.value.code == ERROR.INVALID_SESSION


def test_a_corrupt_reply_is_noticed_and_only_as_many_are(owner: Owner) -> None:
    happens(owner, kind="corrupt", command="LIST_OBJECTS", times=2)
    for _ in range(2):
        owner.session = owner.login()
        with pytest.raises(YubiHsmInvalidResponseError):
            owner.session.list_objects()
    owner.session = owner.login()
    assert owner.session.list_objects()


def test_the_log_is_full_at_once_and_its_chain_holds(owner: Owner) -> None:
    owner.session.set_force_audit(AUDIT.ON)
    first = owner.session.get_log_entries().entries[-1]
    happens(owner, kind="full_log")
    assert owner.host.get_device_info().log_used == SLOTS
    with pytest.raises(YubiHsmDeviceError) as told:
        generate(owner)
    assert told.value.code == ERROR.LOG_FULL
    last = owner.session.get_log_entries().entries[-1]
    owner.session.set_log_index(first.number)
    assert owner.session.get_log_entries(first).entries[-1] == last
    generate(owner)


def test_a_device_of_another_firmware_or_serial_number_is_told_apart(owner: Owner) -> None:
    own = owner.device.serial
    happens(owner, kind="firmware", version="2.3.1")
    happens(owner, kind="serial", serial=SERIALS.stop - 2)
    told = owner.host.get_device_info()
    assert (told.version, told.serial, told.part_number) == ((2, 3, 1), SERIALS.stop - 2, None)
    owner.device.undo_faults()
    told = owner.host.get_device_info()
    assert (told.version, told.serial, told.part_number) == ((2, 4, 0), own, "SIMULATOR")


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "fire"},
        {"kind": "unplug", "command": "SIGN"},
        {"kind": "corrupt", "times": 0},
        {"kind": "serial", "serial": 7550001},
        {"kind": "firmware", "version": "new"},
        {"kind": "unplug", "if": "tired"},
        {"kind": "corrupt", "command": COMMAND.ECHO},
    ],
    ids=str,
)
def test_what_is_no_fault_is_refused(fault: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Fault.model_validate(fault)
