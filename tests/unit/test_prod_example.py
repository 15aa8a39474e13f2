"""What inventories/prod.toml has for those who will have a Gerrit."""

import re
from pathlib import Path

import pytest

from cloud.converge import REPOSITORY
from inventories.errors import InputError
from inventories.inventory import load_site

GIVEN = {"server_id": "0f4a1c8e-9d0b-4c55-8f0e-2d6a4f1b7c3d", "version": "3.13.5", "sha256": "ab" * 32}


def uncommented(folder: Path, given: dict[str, str]) -> Path:
    """The inventory with that part of it in force, and some of its placeholders filled in."""
    before, part = (REPOSITORY / "inventories/prod.toml").read_text().split("#\n", 1)
    text = re.sub(r"^# ?", "", part, flags=re.MULTILINE)
    for name, value in given.items():
        text, count = re.subn(rf'^{name} = "<.*>"$', f'{name} = "{value}"', text, flags=re.MULTILINE)
        assert count == 1, name
    path = folder / "prod.toml"
    path.write_text(before + text)
    return path


def test_filled_in_it_declares_gerrit_and_its_mirror(tmp_path: Path) -> None:
    site = load_site(uncommented(tmp_path, GIVEN))
    assert {name: host.role for name, host in site.fleet.hosts.items()}.items() >= {
        ("gerrit-1", "gerrit"),
        ("mirror-1", "gitmirror"),
    }


@pytest.mark.parametrize("name", GIVEN)
def test_a_placeholder_that_was_left_is_refused_where_it_stands(tmp_path: Path, name: str) -> None:
    left = {other: value for other, value in GIVEN.items() if other != name}
    with pytest.raises(InputError, match=rf"hosts\.gerrit-1\.settings\.gerrit.*{name}"):
        load_site(uncommented(tmp_path, left))
