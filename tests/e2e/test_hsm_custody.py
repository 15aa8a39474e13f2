"""Custody of the logs of two simulated devices: drained, accounted for, and carried away."""

import subprocess

import pytest
from yubihsm.defs import ERROR
from yubihsm.exceptions import YubiHsmDeviceError

from roles.signing.tools.custody.verifying import MISCOUNTED
from roles.signing.tools.errors import INCIDENT
from tests.hsm_changes import (
    broken,
    freed,
    reset,
    unlogged_boot,
)
from tests.hsm_site import SERIALS, Site


def test_each_entry_of_both_devices_is_committed_and_its_slot_free(hsm: Site) -> None:
    hsm.primary.sign(5)
    hsm.backup.sign(1)
    assert hsm.mainstay("drain").code == 0
    for name, times in (("primary", 5), ("backup", 1)):
        lines = hsm.entries(name)
        assert [one["entry"] for one in lines] == list(range(1, len(lines) + 1))
        signed = [one for one in lines if one["command"] == "sign-ecdsa"]
        assert [(one["session_key"], one["target_key"], one["result"]) for one in signed] == [
            ("0x0001", "0x0101", "done")
        ] * times
        assert lines[-1]["entry"] < hsm.devices[name].numbers[0]


def test_a_full_log_under_forced_audit_is_drained(hsm: Site) -> None:
    hsm.primary.fault("full_log")
    with pytest.raises(YubiHsmDeviceError) as refused:
        hsm.primary.sign()
    assert refused.value.code == ERROR.LOG_FULL
    done = hsm.mainstay("drain", "--json")
    assert done.code == INCIDENT, done
    assert done.told["devices"][0]["incidents"] == [
        {"kind": "unlogged-logins", "told": "1 times, without the drain's own"}
    ]
    hsm.primary.sign()


def test_a_full_log_that_nobody_else_logged_in_to_is_no_incident(hsm: Site) -> None:
    hsm.primary.fault("full_log")
    assert hsm.mainstay("drain").code == 0
    assert hsm.mainstay("verify").code == 0


INCIDENTS = {
    "gap": freed,
    "broken": broken,
    "reset": reset,
    "unlogged-boots": unlogged_boot,
}


@pytest.mark.parametrize("kind", INCIDENTS)
def test_an_incident_is_told_recorded_and_stays_until_somebody_vouches_for_it(hsm: Site, kind: str) -> None:
    INCIDENTS[kind](hsm)
    done = hsm.mainstay("drain", "--json")
    assert done.code == INCIDENT, done
    assert [one["kind"] for one in done.told["devices"][0]["incidents"]] == [kind]
    assert "INCIDENT" in done.said
    assert [one["incident"] for one in hsm.entries() if "incident" in one] == [kind]
    assert hsm.mainstay("drain").code == 0
    verified = hsm.mainstay("verify", "--json")
    assert verified.code == INCIDENT
    assert [one["kind"] for one in verified.told["logs"][0]["incidents"]] == [kind]
    assert hsm.mainstay("accept", "primary", "--why", "a test").code == 0
    assert hsm.mainstay("verify").code == 0
    assert hsm.mainstay("drain").code == 0


def test_custody_that_begins_late_is_an_incident(hsm: Site) -> None:
    subprocess.run(["rm", "-rf", hsm.log], check=True)
    subprocess.run(["git", "init", "-q", hsm.log], check=True)
    done = hsm.mainstay("drain", "--json")
    assert [one["kind"] for one in done.told["devices"][0]["incidents"]] == ["late"]


def test_without_a_repository_nothing_is_drained(hsm: Site) -> None:
    """It may be a disk that is not mounted."""
    hsm.log.rename(hsm.folder / "elsewhere")
    before = hsm.primary.numbers
    assert hsm.mainstay("drain").code == 1
    assert hsm.primary.numbers == before


def rewritten(one: Site) -> None:
    path = sorted((one.log / str(SERIALS["primary"])).iterdir())[-1]
    path.write_text(path.read_text().replace("0x00ad", "0x0001"))
    one.git("commit", "-qam", "tidy")


def amended(one: Site) -> None:
    """The same in history alone: the newest commit has all as it was."""
    path = sorted((one.log / str(SERIALS["primary"])).iterdir())[-1]
    right = path.read_text()
    path.write_text(right[:-100])
    one.git("commit", "-qam", "less")
    path.write_text(right)
    one.git("commit", "-qam", "and back")


def taken_out(one: Site) -> None:
    """One entry, and all digests as they were; as the only commit."""
    path = sorted((one.log / str(SERIALS["primary"])).iterdir())[-1]
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:20], *lines[21:]]))
    one.git("checkout", "-q", "--orphan", "fresh")
    one.git("commit", "-qam", "all of it")


def removed(one: Site) -> None:
    one.git("rm", "-rq", str(SERIALS["backup"]))
    one.git("commit", "-qm", "no longer needed")


def behind(one: Site) -> None:
    """The last drains taken away; what was pushed still has them."""
    copy = one.folder / "copy.git"
    subprocess.run(["git", "clone", "-q", "--bare", one.log, copy], check=True)
    one.git("remote", "add", "origin", str(copy))
    one.git("fetch", "-q", "origin")
    one.git("reset", "-q", "--hard", "HEAD~1")


def uncommitted(one: Site) -> None:
    path = sorted((one.log / str(SERIALS["primary"])).iterdir())[-1]
    path.write_text(path.read_text() + "{}\n")


TAMPERING = {
    "changes lines": rewritten,
    "that were there": amended,
    "no incident was recorded": taken_out,
    "removes 999000002/": removed,
    "has commits that this history lacks": behind,
    "in no commit": uncommitted,
}


@pytest.mark.parametrize("told", TAMPERING)
def test_what_was_done_to_the_logs_is_found(hsm: Site, told: str) -> None:
    for one in hsm.devices.values():
        one.device.unplug()
    assert hsm.mainstay("verify").code == 0
    TAMPERING[told](hsm)
    found = hsm.mainstay("verify")
    assert found.code == INCIDENT
    assert told in found.out


def test_signatures_are_those_of_a_release_or_it_is_told(hsm: Site) -> None:
    before = hsm.git("rev-parse", "HEAD").strip()
    hsm.primary.sign(3)
    hsm.primary.sign(2, key=0x0102)
    assert hsm.mainstay("drain").code == 0
    expect = ["--since", before, "--expect", "sign-ecdsa@0x0101=3"]
    right = hsm.mainstay("verify", *expect, "--expect", "sign-ecdsa@0x0102=2")
    assert right.code == 0, right
    unexpected = hsm.mainstay("verify", *expect, "--json")
    assert (unexpected.code, unexpected.told["miscounted"]) == (
        MISCOUNTED,
        ["sign-ecdsa by 0x0102: 0 expected, 2 in the logs"],
    )
    assert hsm.mainstay("verify", *expect, "--expect", "sign-ecdsa@0x0102=3").code == MISCOUNTED
    assert hsm.mainstay("verify", "--expect", "sign-ecdsa=3").code == 2
    assert hsm.mainstay("verify", "--since", "nothing").code == 1


def test_it_is_pushed_and_never_by_force(hsm: Site) -> None:
    remote = hsm.folder / "remote.git"
    subprocess.run(["git", "clone", "-q", "--bare", hsm.log, remote], check=True)
    hsm.git("remote", "add", "origin", str(remote))
    hsm.primary.sign()
    done = hsm.mainstay("drain", "--json")
    assert (done.code, done.told["pushed"]) == (0, True)
    there = subprocess.run(["git", "-C", remote, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert there.stdout == hsm.git("rev-parse", "HEAD")
    other = hsm.folder / "other"
    subprocess.run(["git", "clone", "-q", remote, other], check=True)
    config = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(["git", "-C", other, *config, "commit", "-q", "--allow-empty", "-m", "mine"], check=True)
    subprocess.run(["git", "-C", other, "push", "-q"], check=True)
    hsm.primary.sign()
    refused = hsm.mainstay("drain", "--json")
    assert refused.code == 3
    assert "not pushed" in refused.said
    assert len(hsm.primary.numbers) < 5


def test_a_bundle_carries_all_of_it(hsm: Site) -> None:
    hsm.primary.sign()
    bundle = hsm.folder / "medium" / "hsm-log.bundle"
    bundle.parent.mkdir()
    assert hsm.mainstay("drain", "--bundle", str(bundle)).code == 0
    copy = hsm.folder / "copy"
    subprocess.run(["git", "clone", "-q", bundle, copy], check=True)
    hsm.log.rename(hsm.folder / "away")
    told = hsm.mainstay("verify", "--json", "--repository", str(copy))
    assert (told.code, told.told["logs"][0]["signatures"]) == (0, {"sign-ecdsa@0x0101": 1})
