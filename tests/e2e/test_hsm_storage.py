"""What the simulated YubiHSM 2 remembers, whatever becomes of its process."""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from yubihsm.core import YubiHsm
from yubihsm.defs import ALGORITHM, AUDIT, CAPABILITY, COMMAND, ERROR, OBJECT
from yubihsm.exceptions import YubiHsmConnectionError, YubiHsmDeviceError
from yubihsm.objects import AsymmetricKey, Opaque

from lab.engine import EngineError, LabConfig
from lab.hsm import service
from lab.hsm.storage import FILE, SERIALS, StateError, Storage
from tests.hsm import EVERYWHERE, Owner, free_port, owned
from tests.waiting import listens, until

KILLS = 4


def names(owner: Owner) -> set[tuple[int, int]]:
    return {(one.object_type, one.id) for one in owner.session.list_objects()}


def test_all_is_there_again_after_a_loss_of_power(tmp_path: Path) -> None:
    with owned(tmp_path, SERIALS.start + 7) as owner:
        key = AsymmetricKey.generate(owner.session, 5, "kept", EVERYWHERE, CAPABILITY.SIGN_ECDSA, ALGORITHM.EC_P256)
        public = key.get_public_key()
        owner.audit(COMMAND.ECHO)
        owner.session.set_force_audit(AUDIT.FIXED)
        owner.session.send_secure_cmd(COMMAND.ECHO)
        before = owner.session.get_log_entries().entries
    with owned(tmp_path) as owner:
        assert owner.device.serial == SERIALS.start + 7
        assert AsymmetricKey(owner.session, 5).get_public_key() == public
        assert owner.session.get_force_audit() == AUDIT.FIXED
        after = owner.session.get_log_entries().entries
        assert after[:-1] == before
        assert after[-1].command == 0
        assert after[-1].validate(before[-1])


def test_a_factory_reset_leaves_the_default_key_and_the_device_s_own(tmp_path: Path) -> None:
    with owned(tmp_path) as owner:
        own = owner.host.get_device_public_key(), Opaque(owner.session, 0).get_certificate(), owner.device.serial
        AsymmetricKey.generate(owner.session, 5, "", EVERYWHERE, CAPABILITY.SIGN_ECDSA, ALGORITHM.EC_P256)
        owner.session.get_object(1, OBJECT.AUTHENTICATION_KEY).delete()
        owner.session.reset_device()
        owner.reconnect()
        assert names(owner) == {(OBJECT.AUTHENTICATION_KEY, 1)}
        assert len(owner.session.get_log_entries().entries) == 2
        info = owner.session.get_object(1, OBJECT.AUTHENTICATION_KEY).get_info()
        assert (info.size, info.sequence, info.domains) == (40, 0, EVERYWHERE)
        assert info.capabilities == info.delegated_capabilities == CAPABILITY.ALL
        assert info.label == "DEFAULT AUTHKEY CHANGE THIS ASAP"
        again = owner.host.get_device_public_key(), Opaque(owner.session, 0).get_certificate(), owner.device.serial
        assert again == own


def test_one_simulator_at_a_time_uses_a_state(tmp_path: Path) -> None:
    with owned(tmp_path), pytest.raises(StateError, match="another simulator uses it"):
        Storage(tmp_path)


def test_a_state_is_of_one_device(tmp_path: Path) -> None:
    with owned(tmp_path, SERIALS.start):
        pass
    with pytest.raises(StateError, match=f"of the device {SERIALS.start}"):
        Owner(tmp_path, SERIALS.start + 1)


def test_what_cannot_be_stored_is_refused_and_has_not_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with owned(tmp_path) as owner:
        before = names(owner)

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as disk:
            disk.setattr("lab.hsm.storage.replace", full)
            with pytest.raises(YubiHsmDeviceError) as told:
                Opaque.put(owner.session, 0, "", 1, CAPABILITY.NONE, ALGORITHM.OPAQUE_DATA, b"x")
        assert told.value.code == ERROR.STORAGE_FAILED
        assert names(owner) == before


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[LabConfig]:
    """Whose devices end with it."""
    config = LabConfig("hsm", 0, tmp_path)
    yield config
    service.stop_all(config)


def test_a_kill_at_any_moment_loses_nothing_that_was_answered(lab: LabConfig) -> None:
    """It stores object after object, logs that, and is killed in the midst of it, over and over."""
    chance, port, folder = random.Random(11), free_port(), service.of_lab(lab, "primary")
    acknowledged: dict[int, bytes] = {}
    for _ in range(KILLS):
        url = service.start(folder, port)
        killer = threading.Thread(
            target=kill_in_the_midst, args=(folder, acknowledged, len(acknowledged) + 3, chance.random())
        )
        killer.start()
        with pytest.raises(YubiHsmConnectionError):
            keep_storing(url, acknowledged)
        killer.join()
    with YubiHsm.connect(service.start(folder, port)) as host:
        session = host.create_session_derived(1, "password")
        there = {one.id for one in session.list_objects(object_type=OBJECT.OPAQUE)}
        assert {number: Opaque(session, number).get() for number in acknowledged} == acknowledged
        # Of the one that a kill came in the midst of nobody can say.
        assert len(there) <= len(acknowledged) + KILLS
        told = session.get_log_entries().entries
    assert all(after.validate(before) for before, after in pairwise(told))
    assert told[-1].command == 0
    assert not list((folder / service.MEMORY).glob(f".{FILE}*"))
    service.stop_all(lab)
    until("its port is free", lambda: not listens(port))


def keep_storing(url: str, acknowledged: dict[int, bytes]) -> None:
    session = YubiHsm.connect(url).create_session_derived(1, "password")
    session.set_command_audit({COMMAND.PUT_OPAQUE: AUDIT.ON})
    while True:
        data = os.urandom(100)
        stored = Opaque.put(session, 0, "", 1, CAPABILITY.NONE, ALGORITHM.OPAQUE_DATA, data)
        acknowledged[stored.id] = data


def kill_in_the_midst(folder: Path, acknowledged: dict[int, bytes], enough: int, moment: float) -> None:
    """Once it has stored enough, within what it takes to store another one or two."""
    pid = int((folder / service.PID).read_text())
    while len(acknowledged) < enough:
        time.sleep(0.001)
    time.sleep(moment * 0.05)
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"serial": 7550001}, "may be the serial number of a real device"),
        ({"address": "0.0.0.0"}, "no address of loopback or of a lab"),
    ],
)
def test_a_device_that_cannot_start_says_why(lab: LabConfig, options: dict[str, Any], why: str) -> None:
    with pytest.raises(EngineError, match=why):
        service.start(service.of_lab(lab, "primary"), free_port(), **options)
