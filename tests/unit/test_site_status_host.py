"""What a host says of itself, and what of it needs a person."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from doctor.hosts import Clock
from status import on_host
from status.host import Said, judge
from tests.unit.test_status import NOW

WELL = json.loads(Path(__file__).with_name("host_said.json").read_text())


def said(**changes: Any) -> Said:
    return Said.model_validate(WELL | {"time": NOW * 3600} | changes)


RIGHT = Clock(0, 0.5, 1)


def kinds(told: Said, clock: Clock = RIGHT, *, reboots: bool = True) -> list[tuple[str, str]]:
    return [
        (one.kind, one.severity.value) for one in judge("web-1", told, clock, reboots=reboots, admins=["lab"], base="")
    ]


def test_a_host_that_is_well_has_no_finding() -> None:
    assert kinds(said(booted=0, updates={"security": [], "as_of": NOW * 3600, "ran": NOW * 3600})) == []


def disk(free: int, inodes_free: int) -> dict[str, Any]:
    return {"mount": "/", "size": 100, "free": free, "inodes": 100, "inodes_free": inodes_free}


NOON = NOW * 3600
"""When the host was asked; Unix seconds, as those below."""
KERNEL = {"running": "6.12.9", "installed": {"6.12.9": 0, "6.12.10": NOON - 3 * 86400}, "own": True}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"units": {"failed": ["a.service"], "stopped": []}}, ("failed units", "critical")),
        ({"units": {"failed": [], "stopped": ["nginx.service"]}}, ("stopped units", "critical")),
        ({"disks": [disk(9, 50)]}, ("disk full", "warning")),
        ({"disks": [disk(2, 50)]}, ("disk full", "critical")),
        ({"disks": [disk(50, 2)]}, ("inodes used up", "critical")),
        ({"reboot_required": NOON - 2 * 86400}, ("reboot due", "warning")),
        ({"kernel": KERNEL}, ("reboot due", "warning")),
        ({"updates": {"security": ["x"], "as_of": NOON - 7200, "ran": NOON - 3600}}, ("updates wait", "warning")),
        ({"updates": {"security": ["x"], "as_of": NOON, "ran": NOON - 2 * 86400}}, ("updates wait", "warning")),
        ({"updates": {"security": [], "as_of": NOON - 3 * 86400, "ran": NOON}}, ("updates unknown", "warning")),
        ({"units": None}, ("not seen", "unseen")),
        ({"people": ["bob", "lab"]}, ("strangers", "critical")),
        ({"people": None}, ("not seen", "unseen")),
    ],
)
def test_what_needs_a_person_on_a_host(changes: dict[str, Any], found: tuple[str, str]) -> None:
    well = {"booted": 0, "updates": {"security": [], "as_of": NOON, "ran": NOON}}
    assert kinds(said(**well | changes)) == [found]


@pytest.mark.parametrize(
    "changes",
    [
        {"updates": {"security": ["x"], "as_of": NOON, "ran": NOON - 3600}},
        {"booted": NOON - 3600, "updates": {"security": ["x"], "as_of": None, "ran": None}},
        {"reboot_required": NOON - 3600},
        {"kernel": KERNEL | {"own": False}},
        {"disks": [disk(11, 11) | {"inodes": 0}]},
    ],
)
def test_what_a_host_does_by_itself_needs_nobody(changes: dict[str, Any]) -> None:
    well = {"booted": 0, "updates": {"security": [], "as_of": NOON, "ran": NOON}}
    assert kinds(said(**well | changes)) == []


def test_a_reboot_that_nobody_does_and_a_clock_that_is_wrong_are_told() -> None:
    well = said(booted=0, updates={"security": [], "as_of": NOON, "ran": NOON}, reboot_required=NOON - 60)
    assert kinds(well, reboots=False) == [("reboot due", "warning")]
    assert kinds(well, Clock(0, 4000, 1)) == [("clock", "warning")]


@pytest.mark.parametrize("bad", [{"time": "x"}, {"disks": [{"mount": "/"}]}, {"debian": "x" * 2000}, {"time": -1}])
def test_what_is_no_answer_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        said(**bad)


def test_the_program_tells_of_the_machine_it_runs_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    apt = "Inst linux (6.12 Debian-Security:13/stable-security [amd64])\nInst vim [1] (2 Debian:13.2/stable [amd64])"
    units = "Id=a.service\nActiveState=failed\n\nId=b.service\nActiveState=active"
    monkeypatch.setattr(on_host, "APT", ("echo", apt))
    monkeypatch.setattr(on_host, "SHOW", ("echo", units))
    on_host.main()
    told = Said.model_validate_json(capsys.readouterr().out)
    assert told.updates
    assert told.updates.security == ("linux",)
    assert told.units
    assert told.units.failed == ("a.service",)
    assert told.disks
    assert "/" in [one.mount for one in told.disks]
    assert told.kernel
    assert told.kernel.running
    assert told.people is not None
    assert "root" not in told.people
    assert abs(told.time - time.time()) < 60


def test_what_the_program_cannot_get_is_told_as_such(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(on_host, "APT", ("false",))
    monkeypatch.setattr(on_host, "SHOW", ("no-such-program",))
    on_host.main()
    told = Said.model_validate_json(capsys.readouterr().out)
    assert (told.updates, told.units) == (None, None)


@pytest.mark.parametrize(
    ("unit", "stopped"),
    [
        ({}, True),
        ({"ActiveState": "active"}, False),
        ({"UnitFileState": "disabled"}, False),
        ({"Type": "oneshot"}, False),
        ({"ConditionResult": "no"}, False),
        ({"Id": "cloud-init-main.service"}, False),
    ],
)
def test_a_unit_is_stopped_that_should_run(unit: dict[str, str], stopped: bool) -> None:
    well = {"ActiveState": "inactive", "UnitFileState": "enabled", "Type": "simple", "ConditionResult": "yes"}
    assert on_host.is_stopped(well | unit) is stopped
