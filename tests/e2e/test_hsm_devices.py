"""How `mainstay hsm` gets to its devices: the right ones, with passwords, while one is gone or spoils a reply."""

import os
import subprocess
from pathlib import Path

import pytest
from yubihsm.defs import OBJECT

from roles.signing.tools.custody.entries import Entry
from tests.hsm_site import PASSWORDS, Site


def test_the_serial_is_seen_before_anything_is_asked(hsm: Site) -> None:
    """The two devices change places."""
    hsm.change("999000001", "999000003")
    before = hsm.primary.numbers
    done = hsm.mainstay("apply", "--yes")
    assert done.code == 1
    assert "is the device 999000001" in done.said
    told = [entry.name for entry in _commands(hsm, len(before))]
    assert set(told) <= {"device-info"}


def _commands(one: Site, skip: int) -> list[Entry]:
    return [Entry.parse(raw) for raw in one.primary.device._state.log.entries[skip:]]


@pytest.mark.parametrize("command", ["plan", "audit", "apply"])
def test_a_malformed_declaration_sends_nothing(hsm: Site, command: str) -> None:
    hsm.change('"sign-ecdsa", "exportable-under-wrap"]\nwrap_key', '"sign-everything"]\nwrap_key')
    before = hsm.primary.numbers
    done = hsm.program(*hsm.words(command))
    assert done.code == 2
    assert "hsm.toml: classes.exportable.capabilities.0: 'sign-everything' is no capability" in done.said
    assert hsm.primary.numbers == before


def test_a_wrong_password_is_tried_once(hsm: Site) -> None:
    (hsm.folder / "audit").write_text("wrong\n")
    before = len(hsm.primary.numbers)
    done = hsm.mainstay("drain")
    assert done.code == 1
    assert "wrong password of 0x0002. It was tried once; the device locks nothing" in done.said
    assert [entry.name for entry in _commands(hsm, before)].count("create-session") == 1
    assert hsm.backup.numbers


def test_a_password_file_that_others_can_read_is_refused(hsm: Site) -> None:
    (hsm.folder / "audit").chmod(0o644)
    done = hsm.mainstay("drain")
    assert done.code == 1
    assert "others may read it" in done.said


def test_a_password_comes_from_a_credential_or_is_asked_for(hsm: Site, tmp_path: Path) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "hsm-audit").write_text(PASSWORDS["audit"])
    (folder / "hsm-audit").chmod(0o400)
    words = ("hsm", "drain", "--file", str(hsm.file))
    assert hsm.program(*words, env={**os.environ, "CREDENTIALS_DIRECTORY": str(folder)}).code == 0
    nobody = hsm.program(*words, stdin=subprocess.DEVNULL)
    assert (nobody.code, "there is no terminal to ask on" in nobody.said) == (1, True)


def test_unplugged_it_says_so_and_the_next_run_ends_well(hsm: Site) -> None:
    hsm.delete("backup", OBJECT.OPAQUE, 0x0101)
    hsm.delete("backup", OBJECT.ASYMMETRIC_KEY, 0x0101)
    hsm.backup.fault("unplug", command="IMPORT_WRAPPED", when="after")
    done = hsm.mainstay("apply", "--yes")
    assert done.code == 3
    assert "no answer by" in done.said
    assert "the same command goes on" in done.said
    hsm.backup.device.undo_faults()
    assert hsm.mainstay("apply", "--yes").code == 0
    assert hsm.mainstay("drain").code == 0
    assert hsm.mainstay("audit").code == 0
    assert hsm.mainstay("drain").code == 0
    assert hsm.mainstay("verify").code == 0


def test_a_reply_that_was_spoilt_is_told(hsm: Site) -> None:
    hsm.primary.fault("corrupt", command="GET_LOG_ENTRIES")
    done = hsm.mainstay("drain")
    assert done.code == 1
    assert "none of its protocol" in done.said
    assert hsm.mainstay("drain").code == 0
    assert hsm.mainstay("verify").code == 0


def test_a_device_that_is_not_there_does_not_hold_up_the_other(hsm: Site) -> None:
    hsm.primary.sign()
    hsm.primary.fault("unplug")
    done = hsm.mainstay("drain", "--json")
    assert (done.code, [one["name"] for one in done.told["devices"]]) == (3, ["backup"])
    hsm.primary.device.undo_faults()
    assert hsm.mainstay("drain").code == 0
