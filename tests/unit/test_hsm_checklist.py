"""Checklists by what hsm.toml declares; tests/e2e/test_hsm_ceremonies.py follows them."""

from pathlib import Path

import pytest

from inventories.errors import InputError
from roles.signing.tools.ceremony import kinds
from roles.signing.tools.ceremony.checklist import Checklist
from roles.signing.tools.ceremony.paper import text
from roles.signing.tools.state import loading
from tests.hsm_site import DECLARATION, Site

GOOD = DECLARATION.format(primary="http://127.0.0.1:12345", backup="http://127.0.0.1:12346")


def made(folder: Path, kind: str, *devices: str, old: str = "", new: str = "") -> Checklist:
    assert old in GOOD
    (folder / "hsm.toml").write_text(GOOD.replace(old, new) if old else GOOD)
    return kinds.checklist(loading.load(folder / "hsm.toml"), kind, devices)


def typed(one: Checklist) -> list[str]:
    return [command for step in one.steps for command in step.commands]


@pytest.mark.parametrize("kind", ["new-hsm", "restore"])
@pytest.mark.parametrize(("number", "key"), [("0x00ad", "admin"), ("0x0002", "audit")])
def test_a_key_that_is_needed_early_cannot_have_the_factorys_id(
    tmp_path: Path, kind: str, number: str, key: str
) -> None:
    (tmp_path / "hsm.toml").write_text(GOOD.replace("id = 0x0001", "id = 0x0009").replace(number, "0x0001"))
    with pytest.raises(InputError, match=rf"authentication_keys\.{key}\.id: 0x0001 is the factory's key"):
        kinds.checklist(loading.load(tmp_path / "hsm.toml"), kind, ())


def test_without_shares_the_digits_are_asked_for(tmp_path: Path) -> None:
    one = made(tmp_path, "new-hsm")
    assert not any("hsm shares" in command for command in typed(one))
    assert "for main its hexadecimal digits, twice" in " ".join(text(one).split())
    assert one.people == ("operator", "witness")


def test_each_signature_that_a_key_can_make_is_counted(tmp_path: Path) -> None:
    one = made(tmp_path, "sign", old='"sign-ecdsa", "exportable', new='"sign-pkcs", "exportable')
    (verify,) = (command for command in typed(one) if "--since" in command)
    assert verify == (
        "mainstay hsm verify --since ____ --expect sign-pkcs1@0x0101=____ --expect sign-pkcs1@0x0102=____"
    )


def test_it_is_of_the_devices_that_are_there(tmp_path: Path) -> None:
    assert [one.partition(" ")[0] for one in made(tmp_path, "new-hsm").devices] == ["primary", "backup"]
    assert [one.partition(" ")[0] for one in made(tmp_path, "sign").devices] == ["primary"]
    assert [one.partition(" ")[0] for one in made(tmp_path, "restore").devices] == ["backup"]
    assert "mainstay hsm audit --device primary" in typed(made(tmp_path, "restore", "primary"))


def test_a_kind_that_there_is_not_is_bad_usage(tmp_path: Path) -> None:
    (tmp_path / "hsm.toml").write_text(GOOD)
    done = Site(tmp_path, {}).mainstay("checklist", "party")
    assert (done.code, "there are: new-hsm, sign, restore" in done.said) == (2, True)
