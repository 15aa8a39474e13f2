"""State as code and custody of logs, on two simulated devices at once: as an admin calls `mainstay hsm`."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from yubihsm.defs import ALGORITHM, AUDIT, CAPABILITY, COMMAND, ERROR, OBJECT
from yubihsm.exceptions import YubiHsmDeviceError
from yubihsm.objects import AsymmetricKey, AuthenticationKey, Opaque

from cloud.converge import REPOSITORY
from roles.signing.tools.custody.entries import INCIDENT, Entry
from roles.signing.tools.custody.verifying import MISCOUNTED
from roles.signing.tools.state.auditing import WRONG
from roles.signing.tools.state.planning import DIFFERS
from tests.hsm_site import ADMIN, FACTORY, PASSWORDS, SERIALS, Site, site

EXPORTABLE = CAPABILITY.SIGN_ECDSA | CAPABILITY.EXPORTABLE_UNDER_WRAP


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a site that is as declared."""
    folder = tmp_path_factory.mktemp("made")
    with site(folder) as one:
        one.make()
    return folder


@pytest.fixture
def hsm(made: Path, tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path, like=made) as one:
        yield one


def objects(one: Site, device: str = "primary") -> set[tuple[str, int]]:
    with one.devices[device].session(ADMIN, PASSWORDS["admin"]) as opened:
        return {(each.object_type.name, each.id) for each in opened.list_objects()}


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


# What an audit finds


def put(one: Site, number: int = 0x0400, capabilities: int = EXPORTABLE, device: str = "primary") -> None:
    """An object that nobody declared."""
    with one.devices[device].session(ADMIN, PASSWORDS["admin"]) as opened:
        AsymmetricKey.generate(opened, number, "extra", 1 << 2, CAPABILITY(capabilities), ALGORITHM.EC_P256)


def again(one: Site, device: str, domains: int, capabilities: int) -> None:
    """The key 0x0101, made anew otherwise."""
    one.delete(device, OBJECT.ASYMMETRIC_KEY, 0x0101)
    with one.devices[device].session(ADMIN, PASSWORDS["admin"]) as opened:
        AsymmetricKey.generate(opened, 0x0101, "releasekey", domains, CAPABILITY(capabilities), ALGORITHM.EC_P256)


def delegated(one: Site) -> None:
    """The key for signing, which may now make others."""
    one.delete("primary", OBJECT.AUTHENTICATION_KEY, 0x0001)
    with one.primary.session(ADMIN, PASSWORDS["admin"]) as opened:
        more = CAPABILITY.SIGN_ECDSA
        AuthenticationKey.put_derived(opened, 1, "signing", 0b1100, CAPABILITY.SIGN_ECDSA, more, PASSWORDS["signing"])


def default(one: Site) -> None:
    one.delete("primary", OBJECT.AUTHENTICATION_KEY, 0x0001)
    with one.primary.session(ADMIN, PASSWORDS["admin"]) as opened:
        AuthenticationKey.put_derived(opened, 1, "signing", 0b1100, CAPABILITY.SIGN_ECDSA, CAPABILITY.NONE, "password")


def option(one: Site, force: AUDIT = AUDIT.ON, off: COMMAND | None = None) -> None:
    with one.primary.session(ADMIN, PASSWORDS["admin"]) as opened:
        opened.set_force_audit(force)
        if off:
            opened.set_command_audit({off: AUDIT.OFF})


def wrapped(name: str, content: str) -> Callable[[Site], object]:
    return lambda one: (one.keys / name).write_text(content)


def cut(one: Site) -> None:
    path = one.keys / "0x0101-asymmetric-key.yhw"
    path.write_text(path.read_text().strip()[:-8])


def other_certificate(one: Site) -> None:
    """On the device and in the folder: a certificate of the other key."""
    one.delete("primary", OBJECT.OPAQUE, 0x0101)
    with one.primary.session(ADMIN, PASSWORDS["admin"]) as opened:
        wrong = Opaque(opened, 0x0102).get()
        Opaque.put(opened, 0x0101, "releasekey", 1 << 2, CAPABILITY.NONE, ALGORITHM.OPAQUE_X509_CERTIFICATE, wrong)


FINDINGS: dict[str, tuple[Callable[[Site], object], str]] = {
    "an extra object": (put, "asymmetric-key 0x0400 extra: is not declared"),
    "an extra object on the backup": (lambda one: put(one, device="backup"), "backup: asymmetric-key 0x0400 extra"),
    "a capability": (lambda one: again(one, "primary", 4, EXPORTABLE | CAPABILITY.SIGN_PSS), "too many: sign-pss"),
    "a domain": (lambda one: again(one, "primary", 0b1100, EXPORTABLE), "domains too many: 4"),
    "a delegated capability": (delegated, "delegated capabilities too many: sign-ecdsa"),
    "the default password": (default, "opens with the password that devices leave the factory with"),
    "forced audit": (lambda one: option(one, AUDIT.OFF), "forced audit: off"),
    "command audit": (lambda one: option(one, off=COMMAND.SIGN_ECDSA), "off in place of on: sign-ecdsa"),
    "firmware": (lambda one: one.primary.fault("firmware", version="2.3.1"), "firmware 2.3.1, older than 2.4.0"),
    "a log nearly full": (lambda one: one.primary.fault("full_log"), "log: nearly full: 0 slots are free"),
    "a wrapped file of no key": (wrapped("0x0999-asymmetric-key.yhw", "AAAA"), "no declared key has this id"),
    "a wrapped file that is cut": (cut, "it is cut, or of another key"),
    "no base64": (wrapped("0x0101-asymmetric-key.yhw", "<html>"), "is not base64"),
    "a file of another name": (wrapped("0x0101.yhw", "AAAA"), "neither a wrapped key nor a certificate"),
    "no wrapped file": (lambda one: (one.keys / "0x0101-asymmetric-key.yhw").unlink(), "the device is all that has it"),
    "another key on the backup": (lambda one: again(one, "backup", 4, EXPORTABLE), "another key than on primary"),
    "a certificate of another key": (other_certificate, "its public key is not that of the key with its id"),
    "another certificate on the backup": (other_certificate, "another certificate than on primary"),
    "a certificate in the folder": (lambda one: one.certify(0x0101), "is another certificate than that on primary"),
    "an expired certificate": (lambda one: one.certify(0x0101, days=-2), "expired on"),
    "a certificate that ends soon": (lambda one: one.certify(0x0101, days=60), "in 59 days"),
}


@pytest.mark.parametrize("what", FINDINGS)
def test_an_audit_finds(hsm: Site, what: str) -> None:
    change, told = FINDINGS[what]
    change(hsm)
    found = hsm.mainstay("audit", "--json")
    assert found.code == WRONG, found
    texts = [f"{one['about']}: {one['told']}" for one in found.told["findings"]]
    assert [text for text in texts if told in text], texts


def test_an_audit_that_does_not_see_all_domains_says_so(hsm: Site) -> None:
    hsm.change('"sign-pkcs", "exportable', '"sign-pkcs", "get-option", "get-opaque", "exportable')
    assert hsm.mainstay("plan").code == DIFFERS


# Getting to the devices


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


# Custody


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


def freed(one: Site) -> None:
    """Somebody reads the log and frees it without custody."""
    one.primary.sign()
    with one.primary.session(0x0002, PASSWORDS["audit"]) as opened:
        opened.set_log_index(opened.get_log_entries().entries[-1].number)


def broken(one: Site) -> None:
    one.primary.sign()
    log = one.primary.device._state.log
    log.entries[-1] = log.entries[-1][:-1] + bytes([log.entries[-1][-1] ^ 1])
    log.last = log.entries[-1]


def reset(one: Site) -> None:
    """It has the reader again, as after a restore."""
    with one.primary.session(ADMIN, PASSWORDS["admin"]) as opened:
        opened.reset_device()
    with one.primary.session(FACTORY, "password") as opened:
        bits = CAPABILITY.GET_LOG_ENTRIES, CAPABILITY.NONE
        AuthenticationKey.put_derived(opened, 0x0002, "audit", 0xFFFF, *bits, PASSWORDS["audit"])


def unlogged_boot(one: Site) -> None:
    one.primary.fault("full_log")
    one.primary.device.unplug()
    one.primary.device.plug()


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


# verify needs no device


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


# Leaving the machine


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


# Around each call


def signing(one: Site, times: int) -> list[str]:
    """A program that signs, as yubihsm-shell does."""
    code = (
        "import sys; from yubihsm import YubiHsm; from yubihsm.objects import AsymmetricKey\n"
        "with YubiHsm.connect(sys.argv[1]) as hsm, hsm.create_session_derived(1, sys.argv[2]) as opened:\n"
        "    [AsymmetricKey(opened, 0x0101).sign_ecdsa(b'x') for _ in range(int(sys.argv[3]))]\n"
    )
    return ["--", ".venv/bin/python", "-c", code, one.primary.url, PASSWORDS["signing"], str(times)]


def test_a_command_runs_with_room_and_its_entries_are_in_custody_afterwards(hsm: Site) -> None:
    for _ in range(3):
        done = hsm.mainstay("run", *signing(hsm, 25))
        assert done.code == 0, done
    verified = hsm.mainstay("verify", "--json")
    assert verified.told["logs"][0]["signatures"] == {"sign-ecdsa@0x0101": 75}


def test_where_the_log_has_not_room_it_is_drained_before(hsm: Site) -> None:
    hsm.primary.fault("full_log")
    assert hsm.mainstay("run", *signing(hsm, 25)).code == 0
    assert hsm.mainstay("verify", "--json").told["logs"][0]["signatures"] == {"sign-ecdsa@0x0101": 25}


def test_the_exit_code_is_the_commands_and_the_log_is_drained_all_the_same(hsm: Site) -> None:
    hsm.primary.sign()
    assert hsm.mainstay("run", "--", "sh", "-c", "exit 7").code == 7
    assert hsm.mainstay("verify", "--json").told["logs"][0]["signatures"] == {"sign-ecdsa@0x0101": 1}
    assert hsm.mainstay("run", "--", "no-such-program").code == 2


def test_unplugged_by_the_command_its_entries_come_with_the_next_drain(hsm: Site) -> None:
    hsm.primary.fault("unplug", command="SIGN_ECDSA", when="after")
    done = hsm.mainstay("run", *signing(hsm, 1))
    assert done.code == 1
    assert "the log was not drained after it" in done.said
    hsm.primary.device.undo_faults()
    assert hsm.mainstay("drain").code == 0
    assert hsm.mainstay("verify", "--json").told["logs"][0]["signatures"] == {"sign-ecdsa@0x0101": 1}


def test_no_password_reaches_the_command(hsm: Site) -> None:
    """Neither by a descriptor nor by its environment; nor does any stand on a command line."""
    read, write = os.pipe()
    os.write(write, PASSWORDS["audit"].encode())
    os.close(write)
    look = "cat /proc/self/environ /proc/$PPID/environ /proc/$PPID/cmdline | tr '\\0' ' '; ls -l /proc/self/fd | wc -l"
    words = ["hsm", "run", "--file", str(hsm.file), "--password-fd", str(read), "--", "sh", "-c", look]
    done = hsm.program(*words, pass_fds=(read,))
    os.close(read)
    assert done.code == 0, done
    assert PASSWORDS["audit"] not in done.out + done.said
    assert done.out.split()[-1] == "5"


def test_around_a_call_nothing_is_loaded_that_takes_long(hsm: Site) -> None:
    code = (
        "import sys; from roles.signing.tools.custody.__main__ import main\n"
        "code = main()\n"
        "print(code, {'typer', 'pydantic', 'pyinfra', 'paramiko', 'gevent'} & set(sys.modules))\n"
    )
    hsm.primary.sign()
    done = hsm.program(*hsm.words("run", "--", "true")[2:], before=("-c", code))
    assert (done.code, done.out) == (0, "0 set()\n"), done
    assert hsm.mainstay("verify", "--json").told["logs"][0]["signatures"] == {"sign-ecdsa@0x0101": 1}


def test_the_script_for_scripts_ends_as_the_command_does(hsm: Site) -> None:
    words = hsm.words("run")[2:]
    script = str(REPOSITORY / "bin/hsm-run")

    def ended(*more: str) -> tuple[int, str]:
        done = subprocess.run([script, *words, *more], capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    assert ended("--", "sh", "-c", "exit 7")[0] == 7
    assert ended("--device", "spare", "--", "true")[0] == 2
    freed(hsm)
    code, told = ended("--", "true")
    assert (code, "INCIDENT" in told) == (INCIDENT, True)
    hsm.primary.fault("unplug")
    assert ended("--", "true")[0] == 3
