"""Runbooks of the signing host's HSMs, followed to the letter in a session with two simulated devices."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from yubihsm.defs import AUDIT, CAPABILITY, OBJECT
from yubihsm.exceptions import YubiHsmAuthenticationError, YubiHsmDeviceError
from yubihsm.objects import AsymmetricKey

from roles.signing.tools.state.auditing import WRONG
from tests.hsm_changes import EXPORTABLE, again, cut, default, objects, option, put
from tests.hsm_site import ADMIN, FACTORY, PASSWORDS, READER, Simulated, Site, serving, site
from tests.runbooks.hsm_session import Session
from tests.runbooks.reader import Runbook

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
WELL, KEYS = "All is well again", ("0x0101", "0x0102")
SPARE = 999_000_003
NOTHING_WRONG, WHOLE = "nothing is wrong", "every chain is whole"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a site that is as declared."""
    folder = tmp_path_factory.mktemp("made")
    with site(folder) as one:
        one.make()
    return folder


@pytest.fixture
def session(made: Path, tmp_path: Path) -> Iterator[Session]:
    """All is well afterwards."""
    with site(tmp_path / "site", like=made) as one:
        found = Session(one, tmp_path)
        yield found
        found.must_be_well()


@pytest.fixture
def hsm(session: Session) -> Site:
    return session.site


# Sign a release


def to_be_signed(session: Session, packages: int = 3) -> Path:
    release = session.home / "a release"
    release.mkdir()
    for number in range(packages):
        (release / f"package {number}.zip").write_bytes(bytes([number]) * 1000)
    return release


def names_of_signing(session: Session, release: Path, count: int) -> dict[str, Any]:
    return {
        "device": "primary",
        "release": release,
        "sign": session.sign,
        "expected": f"sign-ecdsa@0x0101={count}",
        "log": session.site.log,
        "out": session.home / "out",
    }


def must_be_signed(hsm: Site, release: Path, device: str = "primary") -> None:
    with hsm.devices[device].session(ADMIN, PASSWORDS["admin"]) as opened:
        public = AsymmetricKey(opened, 0x0101).get_public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    for package in release.glob("*.zip"):
        signature = package.with_suffix(".zip.sig").read_bytes()
        public.verify(signature, package.read_bytes(), ec.ECDSA(hashes.SHA256()))


def test_sign_a_release(session: Session, hsm: Site) -> None:
    release = to_be_signed(session)
    titles = ("Is all well", "Sign", "Count", "Elsewhere")
    said = session.follow("signing-sign-a-release", *titles, **names_of_signing(session, release, 3))
    assert said.count("sign-ecdsa by 0x0101: 3") == 2
    assert said.count(WHOLE) == 3
    must_be_signed(hsm, release)


@pytest.mark.full
def test_a_release_with_another_signature_is_not_counted_as_that(session: Session, hsm: Site) -> None:
    release = to_be_signed(session)
    hsm.primary.sign()
    assert hsm.mainstay("drain").code == 0
    signs = session.sign.read_text()
    session.sign.write_text(f"{signs}{signs.splitlines()[-1]}\n")
    titles = ("Is all well", "Sign", "Count")
    with pytest.raises(AssertionError, match="exit code 55") as told:
        session.follow("signing-sign-a-release", *titles, **names_of_signing(session, release, 3))
    assert "sign-ecdsa by 0x0101: 3 expected, 6 in the logs" in str(told.value)


@pytest.mark.full
def test_nothing_is_signed_while_something_is_wrong(session: Session, hsm: Site) -> None:
    release = to_be_signed(session)
    put(hsm)
    with pytest.raises(AssertionError, match=f"exit code {WRONG}"):
        session.follow("signing-sign-a-release", "Is all well", "Sign", **names_of_signing(session, release, 3))
    assert not [*release.glob("*.sig")]
    hsm.delete("primary", OBJECT.ASYMMETRIC_KEY, 0x0400)


# Log full


def names_of_full(why: str = "a script was refused while the log was full") -> dict[str, Any]:
    return {"device": "primary", "why": why}


def test_a_full_log_that_refused_somebody(session: Session, hsm: Site) -> None:
    hsm.primary.fault("full_log")
    with pytest.raises(YubiHsmDeviceError, match="LOG_FULL"):
        hsm.primary.sign()
    titles = ("Drain it", "An incident is told", WELL)
    said = session.follow("signing-log-full", *titles, **names_of_full())
    assert "INCIDENT, sessions began and there was no slot to log them" in said
    assert "accepted: 1 times, without the drain's own" in said
    assert WHOLE in said
    hsm.primary.sign()


@pytest.mark.full
def test_a_log_that_is_nearly_full(session: Session, hsm: Site) -> None:
    hsm.primary.fault("full_log")
    told = hsm.mainstay("audit")
    assert (told.code, "log: nearly full" in told.out) == (WRONG, True)
    said = session.follow("signing-log-full", "Drain it", WELL, **names_of_full())
    assert "INCIDENT" not in said


# HSM broken


@pytest.fixture
def spare(tmp_path: Path) -> Iterator[Simulated]:
    """A new device, as it left the factory."""
    with serving(tmp_path / "spare", SPARE) as one:
        yield one


def declare(hsm: Site, spare: Simulated, of: str) -> None:
    """It in the place of another one."""
    old = hsm.devices[of]
    before = f'[devices.{of}]\nserial = {old.device.serial}\nconnector = "{old.url}"'
    hsm.change(before, f'[devices.spare]\nserial = {SPARE}\nconnector = "{spare.url}"')


def names_of_broken(session: Session, broken: str, release: Path, new: str) -> dict[str, Any]:
    other = {"primary": "backup", "backup": "primary"}[broken]
    return {
        "broken": broken,
        "other": other,
        "connector": session.site.devices[other].url,
        "new": "spare",
        "new_connector": new,
        "release": release,
        "sign": session.sign,
    }


def test_the_primary_is_broken_and_a_release_cannot_wait(spare: Simulated, session: Session, hsm: Site) -> None:
    release = to_be_signed(session)
    hsm.primary.fault("unplug")
    told = hsm.mainstay("audit")
    assert (told.code, "no answer by" in told.said) == (3, True)
    names = names_of_broken(session, "primary", release, spare.url)
    said = session.follow("signing-hsm-broken", "Look", "A release cannot wait", **names)
    assert "no answer by" in said
    must_be_signed(hsm, release, "backup")
    declare(hsm, spare, "primary")
    said = session.follow("signing-hsm-broken", "Make it", WELL, **names)
    assert "imported on spare from 0x0101-asymmetric-key.yhw" in said
    assert (NOTHING_WRONG in said, WHOLE in said) == (True, True)
    with spare.session(ADMIN, PASSWORDS["admin"]) as opened:
        assert {(each.object_type.name, each.id) for each in opened.list_objects()} == objects(hsm, "backup")


# Host broken


def lost(session: Session, signed_since: int) -> dict[str, Any]:
    """All but the devices, and a medium that is as old as so many signatures; the names of the page."""
    hsm, medium = session.site, session.home / "medium"
    medium.mkdir()
    assert hsm.mainstay("drain", "--bundle", str(medium / "hsm-log.bundle")).code == 0
    shutil.copytree(hsm.keys, medium / "keys")
    if signed_since:
        hsm.primary.sign(signed_since)
        assert hsm.mainstay("drain").code == 0
    shutil.rmtree(hsm.log)
    for path in hsm.keys.iterdir():
        path.unlink()
    assert hsm.mainstay("verify").code == 1
    empty(hsm.log)
    return {"medium": medium, "log": hsm.log, "keys": hsm.keys, "why": "the old host's disk is gone"}


def empty(log: Path) -> None:
    """As a deploy makes it on a new host."""
    subprocess.run(["git", "init", "-q", "-b", "main", log], check=True)


def test_another_host_goes_on_where_the_broken_one_was(session: Session) -> None:
    names = lost(session, 0)
    titles = ("Bring back what is not in the HSMs", "Go on", WELL)
    said = session.follow("signing-host-broken", *titles, device="primary", **names)
    assert "INCIDENT" not in said
    assert NOTHING_WRONG in said


@pytest.mark.full
def test_what_the_broken_host_drained_last_is_gone_and_told(session: Session) -> None:
    names = lost(session, 3)
    titles = ("Bring back what is not in the HSMs", "Go on", "Entries are missing")
    said = session.follow("signing-host-broken", *titles, device="primary", **names)
    assert "INCIDENT, entries were freed that nobody drained" in said
    said = session.follow("signing-host-broken", "Entries are missing", WELL, device="backup", **names)
    assert WHOLE in said


# Drift found


def names_of_drift(hsm: Site, **of: Any) -> dict[str, Any]:
    names = {"id": "0x0400", "type": "asymmetric-key", "file": "none", "connector": hsm.primary.url}
    return {"log": hsm.log, "keys": hsm.keys} | names | of


def drifted(session: Session, told: str, title: str, **of: Any) -> str:
    """What somebody sees who follows the page, once an audit says so."""
    found = session.site.mainstay("audit")
    assert (found.code, told in found.out) == (WRONG, True), found
    titles = ("Look", "Who did it", title, WELL)
    said = session.follow("signing-drift-found", *titles, **names_of_drift(session.site, **of))
    assert told in said
    assert said.rstrip().endswith("only added to them")
    return said


DELETED = "It is there and must not be, or is otherwise"


def test_an_object_that_nobody_declared(session: Session, hsm: Site) -> None:
    put(hsm)
    said = drifted(session, "asymmetric-key 0x0400 extra: is not declared", DELETED)
    assert '"command": "generate-asymmetric-key"' in said
    assert '"session_key": "0x00ad"' in said
    assert ("ASYMMETRIC_KEY", 0x0400) not in objects(hsm)


@pytest.mark.full
def test_an_object_that_nobody_declared_on_the_backup(session: Session, hsm: Site) -> None:
    put(hsm, device="backup")
    drifted(session, "backup: asymmetric-key 0x0400 extra", DELETED, connector=hsm.backup.url)


@pytest.mark.full
def test_a_key_that_may_do_too_much(session: Session, hsm: Site) -> None:
    again(hsm, "primary", 4, EXPORTABLE | CAPABILITY.SIGN_PSS)
    said = drifted(session, "capabilities too many: sign-pss", DELETED, id="0x0101")
    assert "imported on primary from 0x0101-asymmetric-key.yhw" in said


@pytest.mark.full
def test_a_key_for_signing_with_the_password_of_the_factory(session: Session, hsm: Site) -> None:
    default(hsm)
    of = {"id": "0x0001", "type": "authentication-key"}
    drifted(session, "opens with the password that devices leave the factory with", DELETED, **of)
    hsm.primary.sign()


@pytest.mark.full
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda hsm: option(hsm, AUDIT.OFF), "forced audit: off"),
        (lambda hsm: hsm.delete("backup", OBJECT.OPAQUE, 0x0101), "put in from 0x0101.x509.pem"),
    ],
    ids=["forced audit", "a certificate"],
)
def test_what_is_off_or_missing(session: Session, change: Callable[[Site], object], told: str) -> None:
    change(session.site)
    drifted(session, told, "It is missing, or set otherwise")


@pytest.mark.full
def test_a_wrapped_file_that_was_cut(session: Session, hsm: Site) -> None:
    cut(hsm)
    file = f"{KEYS[0]}-asymmetric-key.yhw"
    drifted(session, "it is cut, or of another key", "A wrapped file is not what it should be", file=file)
    assert (hsm.folder / "keys.aside" / file).exists()


# Rotate a key


def names_of_rotation(session: Session, **of: Any) -> dict[str, Any]:
    hsm = session.site
    return {
        "connectors": f"{hsm.primary.url} {hsm.backup.url}",
        "key": "0x0002",
        "keys": hsm.keys,
        "new": "0x0103",
        "old": KEYS[1],
        "subject": "/CN=platform-2",
        "days": 10000,
        "uri": session.uri(0x0103),
        "module": session.module,
    } | of


@pytest.mark.parametrize(
    ("title", "key"),
    [
        pytest.param("The password of admin", "admin", marks=pytest.mark.full),
        ("The password of audit, or of signing", "audit"),
    ],
    ids=["admin", "audit"],
)
def test_another_password(session: Session, hsm: Site, title: str, key: str) -> None:
    names = names_of_rotation(session)
    session.follow("signing-rotate-a-key", title, made_up={key: f"the second of {key}"}, **names)
    said = session.follow("signing-rotate-a-key", WELL, **names)
    assert NOTHING_WRONG in said
    for one in hsm.devices.values():
        number = {"admin": ADMIN, "audit": READER}[key]
        with pytest.raises(YubiHsmAuthenticationError), one.session(number, PASSWORDS[key]):
            pass


@pytest.mark.full
def test_a_key_of_releases_gets_a_successor(session: Session, hsm: Site) -> None:
    """Which the old one outlives for a while."""
    hsm.file.write_text(f'{hsm.file.read_text()}\n[keys.platform-2]\nid = 0x0103\nclass = "exportable"\n')
    names = names_of_rotation(session)
    said = session.follow("signing-rotate-a-key", "A key of releases", "Its certificate", WELL, **names)
    assert "generated on primary" in said
    assert "put in from 0x0103.x509.pem" in said
    hsm.change('[keys.platform]\nid = 0x0102\nclass = "exportable"\n', "")
    said = session.follow("signing-rotate-a-key", "The old one", WELL, **names)
    assert "all is as it is declared" in said
    assert {number for _, number in objects(hsm)} == {0x0001, 0x0002, 0x00AD, 0x0101, 0x0103, 0x0200}


# New firmware


@pytest.mark.full
def test_new_firmware(spare: Simulated, session: Session, hsm: Site) -> None:
    names: dict[str, Any] = {"old": "backup", "old_connector": hsm.backup.url}
    hsm.backup.fault("firmware", version="2.3.1")
    said = session.follow("signing-new-firmware", "Raise the floor", "Before it goes", **names)
    assert "backup: firmware: firmware 2.3.1, older than 2.4.0: it cannot be upgraded" in said
    declare(hsm, spare, "backup")
    made = names_of_broken(session, "backup", session.home, spare.url)
    said = session.follow("signing-hsm-broken", "Make it", WELL, **made)
    assert NOTHING_WRONG in said
    said = session.follow("signing-new-firmware", "The end of the old one", **names)
    assert str(hsm.backup.device.serial) in said
    with hsm.backup.session(FACTORY, PASSWORDS["factory"]) as opened:
        assert [(one.object_type, one.id) for one in opened.list_objects()] == [(OBJECT.AUTHENTICATION_KEY, FACTORY)]


# A new host


@pytest.mark.full
def test_the_hsms_of_a_new_host(tmp_path: Path) -> None:
    with site(tmp_path / "site") as hsm:
        session = Session(hsm, tmp_path)
        shutil.rmtree(hsm.log)
        empty(hsm.log)
        names: dict[str, Any] = dict.fromkeys(Runbook("signing-new-host").names, "")
        names |= {"connectors": f"{hsm.primary.url} {hsm.backup.url}"}
        said = session.follow("signing-new-host", "Its HSMs", **names)
        assert "and there is no 0x0101.x509.pem: a person has to make one" in said
        for number in (0x0101, 0x0102):
            hsm.certify(number)
        said = session.follow("signing-new-host", "When they have certificates", **names)
        assert (NOTHING_WRONG in said, WHOLE in said) == (True, True)
        session.must_be_well()
        assert objects(hsm) == objects(hsm, "backup")
