"""State as code, on two simulated devices at once: as an admin calls `mainstay hsm plan` and `apply`."""

import shutil
from pathlib import Path

import pytest
from yubihsm.defs import OBJECT

from roles.signing.tools.state.planning import DIFFERS
from tests.hsm_changes import (
    objects,
)
from tests.hsm_site import FACTORY, Site, site


def test_from_the_factory_to_what_is_declared_and_then_nothing_differs(tmp_path: Path) -> None:
    with site(tmp_path) as one:
        new = one.mainstay("plan", *one.from_factory()[:-1])
        assert new.code == DIFFERS
        assert "generated on primary" in new.out
        assert "imported on backup" in new.out
        one.make()
        assert one.mainstay("plan").code == 0
        assert one.mainstay("drain").code == 0
        assert one.mainstay("audit").code == 0
        again = one.mainstay("apply", "--yes", "--json")
        assert (again.code, again.told["differences"]) == (0, [])
        assert objects(one) == objects(one, "backup")
        for number in (0x0101, 0x0102):
            assert (one.keys / f"{number:#06x}-asymmetric-key.yhw").stat().st_mode & 0o777 == 0o600


def test_a_lost_backup_is_made_again_from_the_folder(hsm: Site) -> None:
    for number in (0x0101, 0x0102):
        hsm.delete("backup", OBJECT.OPAQUE, number)
        hsm.delete("backup", OBJECT.ASYMMETRIC_KEY, number)
    told = hsm.mainstay("plan")
    assert told.code == DIFFERS
    assert "imported on backup from 0x0101-asymmetric-key.yhw" in told.out
    assert hsm.mainstay("apply", "--yes").code == 0
    assert hsm.mainstay("drain").code == 0
    assert hsm.mainstay("audit").code == 0


def test_a_key_that_was_there_before_is_never_generated_anew(hsm: Site) -> None:
    for name in hsm.devices:
        hsm.delete(name, OBJECT.ASYMMETRIC_KEY, 0x0101)
    (hsm.keys / "0x0101-asymmetric-key.yhw").rename(hsm.folder / "lost.yhw")
    done = hsm.mainstay("apply", "--yes")
    assert done.code == DIFFERS
    assert "bring its wrapped file back" in done.out
    assert ("ASYMMETRIC_KEY", 0x0101) not in objects(hsm)


def test_of_one_device_alone_no_key_is_generated(tmp_path: Path) -> None:
    """The other one may have it."""
    with site(tmp_path) as one:
        done = one.mainstay("apply", *one.from_factory("--device", "backup"))
        assert done.code == DIFFERS
        assert "look at all of them" in done.out
        with one.backup.session(FACTORY, "password") as opened:
            assert not opened.list_objects(object_type=OBJECT.ASYMMETRIC_KEY)


def test_nothing_is_replaced(hsm: Site) -> None:
    hsm.change("domains = [3]\n", "domains = [4]\n")
    before = objects(hsm)
    done = hsm.mainstay("apply", "--yes")
    assert done.code == DIFFERS
    for each in hsm.devices.values():
        named = f"-C {each.url} --authkey 0x00ad"
        assert f"yubihsm-shell {named} -a delete-object -i 0x0101 -t asymmetric-key" in done.out
    assert objects(hsm) == before


def test_a_key_that_may_changes_its_password_on_both_devices(hsm: Site) -> None:
    (hsm.folder / "new").write_text("another password\n")
    (hsm.folder / "new").chmod(0o600)
    words = ("hsm", "password", "admin", "--file", str(hsm.file))
    old, new = f"--password-file=admin={hsm.folder / 'admin'}", f"--password-file=admin.new={hsm.folder / 'new'}"
    hsm.backup.fault("unplug")
    assert hsm.program(*words, old, new).code == 3
    hsm.backup.device.undo_faults()
    done = hsm.program(*words, old, new)
    assert (done.code, "backup: admin has another password" in done.out) == (0, True), done
    assert hsm.mainstay("plan").code == 1
    shutil.copy(hsm.folder / "new", hsm.folder / "admin")
    assert hsm.mainstay("plan").code == 0


def test_a_key_that_may_not_change_itself_keeps_its_password(hsm: Site) -> None:
    words = ("hsm", "password", "audit", "--file", str(hsm.file))
    options = (f"--password-file=audit={hsm.folder / 'audit'}", f"--password-file=audit.new={hsm.folder / 'admin'}")
    done = hsm.program(*words, *options)
    assert (done.code, "has not the capability" in done.said) == (1, True), done
    assert hsm.mainstay("drain").code == 0


def test_the_password_of_the_factory_is_refused_for_a_new_key(hsm: Site) -> None:
    hsm.delete("primary", OBJECT.AUTHENTICATION_KEY, 0x0001)
    (hsm.folder / "signing").write_text("password\n")
    done = hsm.mainstay("apply", "--yes")
    assert done.code == 1
    assert "take another" in done.said
    assert ("AUTHENTICATION_KEY", 1) not in objects(hsm)


def test_nobody_to_ask_changes_nothing(hsm: Site) -> None:
    hsm.delete("backup", OBJECT.OPAQUE, 0x0101)
    assert hsm.mainstay("apply").code == 2
    assert ("OPAQUE", 0x0101) not in objects(hsm, "backup")


def test_a_session_that_the_device_ended_while_people_thought_is_opened_again(
    hsm: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    hsm.delete("backup", OBJECT.OPAQUE, 0x0101)

    def think(command: str, sure: bool) -> None:
        for one in hsm.devices.values():
            one.device._sessions.clear()

    monkeypatch.setattr("cli.hsm.planning.agreed", think)
    assert hsm.mainstay("apply").code == 0


def test_more_is_read_than_the_log_has_slots(hsm: Site) -> None:
    """Under forced audit: 40 keys are 80 entries and more."""
    declared = "".join(f'[keys.more-{number}]\nid = {number}\nclass = "plain"\n' for number in range(0x0300, 0x0328))
    plain = '[classes.plain]\nalgorithm = "ecp256"\ndomains = [4]\ncapabilities = ["sign-ecdsa"]\ngenerate = true\n'
    text = f"{hsm.file.read_text()}\n{plain}{declared}"
    hsm.file.write_text(text[: text.index("[devices.backup]")] + text[text.index("[log]") :])
    assert hsm.mainstay("apply", "--yes").code == 0
    assert hsm.mainstay("drain").code == 0
    assert hsm.mainstay("audit").code == 0
    assert hsm.mainstay("drain").code == 0
    verified = hsm.mainstay("verify", "--json")
    assert (verified.code, verified.told["logs"][0]["entries"] > 200) == (0, True)
