"""What is between a declaration and devices, in words, and which of it is for a person; without a device."""

import base64
from pathlib import Path

import pytest
from yubihsm.defs import AUDIT, COMMAND, OBJECT

from roles.signing.tools.state import loading, planning, words
from roles.signing.tools.state.folder import Folder, lengths
from roles.signing.tools.state.loading import Declared
from roles.signing.tools.state.objects import Described, Object, differences
from roles.signing.tools.state.planning import Step
from roles.signing.tools.state.reading import Found
from tests.hsm_site import DECLARATION

FULL = DECLARATION.format(primary="http://127.0.0.1:12345", backup="http://127.0.0.1:12346")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "keys").mkdir()
    (tmp_path / "hsm.toml").write_text(FULL.replace("certificate = true\n", ""))
    return tmp_path / "hsm.toml"


def found(declared: Declared, device: int) -> Found:
    """A device that is as declared."""
    audits = {int(code): words.AUDITS[declared.file.audit.of(name)] for name, code in words.COMMANDS.items()}
    objects = {
        where: Object(one, public=b"key %d" % one.id if one.type == OBJECT.ASYMMETRIC_KEY else b"")
        for where, one in planning.everything(declared).items()
    }
    return Found(declared.custody.devices[device], (2, 4, 0), 60, 0xFFFF, objects, AUDIT.ON, audits)


def wrapped(folder: Path, number: int, algorithm: int) -> None:
    path = folder / f"{number:#06x}-asymmetric-key.yhw"
    path.write_bytes(base64.b64encode(bytes(lengths(algorithm)[0])))


def steps(path: Path, *devices: Found) -> tuple[Step, ...]:
    declared = loading.load(path)
    return planning.plan(declared, devices, Folder(declared.folder), lambda name: name).steps


def both(declared: Declared) -> tuple[Found, Found]:
    return found(declared, 0), found(declared, 1)


def without(one: Found, kind: OBJECT, number: int) -> Found:
    return one._replace(objects={where: there for where, there in one.objects.items() if where != (kind, number)})


def all_wrapped(declared: Declared) -> None:
    for one in declared.keys().values():
        wrapped(declared.folder, one.id, one.algorithm)


def test_nothing_differs(path: Path) -> None:
    declared = loading.load(path)
    all_wrapped(declared)
    assert steps(path, *both(declared)) == ()


def test_what_has_no_file_is_exported(path: Path) -> None:
    declared = loading.load(path)
    told = steps(path, *both(declared))
    assert [one.words for one in told] == [
        ("+ exported by primary to 0x0101-asymmetric-key.yhw",),
        ("+ exported by primary to 0x0102-asymmetric-key.yhw",),
    ]
    assert all(one.do for one in told)


def test_a_file_is_imported_and_a_cut_one_is_for_a_person(path: Path) -> None:
    declared = loading.load(path)
    all_wrapped(declared)
    devices = found(declared, 0), without(found(declared, 1), OBJECT.ASYMMETRIC_KEY, 0x0101)
    (one,) = steps(path, *devices)
    assert (one.words, one.do is None) == (("+ imported on backup from 0x0101-asymmetric-key.yhw",), False)
    (declared.folder / "0x0101-asymmetric-key.yhw").write_text("AAAA")
    (one,) = steps(path, *devices)
    assert one.do is None
    assert "bring the right file back" in one.words[0]


def test_a_certificate_in_the_folder_forbids_another_key(path: Path) -> None:
    declared = loading.load(path)
    wrapped(declared.folder, 0x0102, declared.keys()["platform"].algorithm)
    devices = [without(one, OBJECT.ASYMMETRIC_KEY, 0x0101) for one in both(declared)]
    (one,) = steps(path, *devices)
    assert one.words[0] == "+ generated on primary"
    (declared.folder / "0x0101.x509.pem").write_text("")
    (one,) = steps(path, *devices)
    assert one.do is None
    assert "it was made before" in one.words[0]


def test_a_key_that_may_stay_on_disk_needs_its_file_alone(path: Path) -> None:
    path.write_text(path.read_text().replace("id = 0x0102", "on_device = false\nid = 0x0102"))
    declared = loading.load(path)
    wrapped(declared.folder, 0x0101, declared.keys()["releasekey"].algorithm)
    devices = [without(one, OBJECT.ASYMMETRIC_KEY, 0x0102) for one in both(declared)]
    (one,) = steps(path, *devices)
    assert (one.words, one.do) == (("~ is not on a device, and has no wrapped file: bring the file back",), None)
    all_wrapped(declared)
    assert steps(path, *devices) == ()
    assert steps(path, *both(declared)) == ()


def test_what_is_fixed_is_for_a_person(path: Path) -> None:
    declared = loading.load(path)
    all_wrapped(declared)
    right = found(declared, 0)
    stuck = right._replace(force=AUDIT.FIXED, commands={**right.commands, COMMAND.ECHO: AUDIT.FIXED})
    told = steps(path, stuck, found(declared, 1))
    assert [one.do for one in told] == [None, None]
    assert all("a factory reset alone changes that" in one.words[0] for one in told)


def test_what_is_logged_less_is_set(path: Path) -> None:
    declared = loading.load(path)
    all_wrapped(declared)
    right = found(declared, 0)
    less = right._replace(force=AUDIT.OFF, commands={**right.commands, COMMAND.SIGN_PKCS1: AUDIT.OFF})
    told = steps(path, less, found(declared, 1))
    assert [one.words for one in told] == [("~ off in place of on: sign-pkcs1",), ("~ off in place of on",)]
    assert all(one.do for one in told)


def test_another_key_on_the_backup_is_told(path: Path) -> None:
    declared = loading.load(path)
    all_wrapped(declared)
    where = OBJECT.ASYMMETRIC_KEY, 0x0101
    right = found(declared, 1)
    other = right._replace(objects={**right.objects, where: right.objects[where]._replace(public=b"another")})
    (one,) = steps(path, found(declared, 0), other)
    assert one.do is None
    assert "another key than on primary" in one.words[0]


def test_differences_are_told_by_how_much() -> None:
    declared = Described(OBJECT.AUTHENTICATION_KEY, 1, "signing", 0, 0b1100, 1 << 5, 0)
    there = declared._replace(label="sign", domains=0b0110, capabilities=1 << 6, delegated=1 << 60)
    assert list(differences(declared, there)) == [
        "label 'sign' in place of 'signing'",
        "domains too many: 2",
        "domains that are missing: 4",
        "capabilities too many: sign-pss",
        "capabilities that are missing: sign-pkcs",
        "delegated capabilities too many: 0x1000000000000000",
    ]
