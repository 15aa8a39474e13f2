"""The lab's Gerrit, as far as it can be told without a lab."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from cloud.converge import REPOSITORY
from inventories.admins import parse
from inventories.inventory import load_site
from lab import gerrit_war, review, site_files
from lab.sites import LAB_TOML, only
from roles.gerrit import secure
from roles.gerrit.settings import Settings
from roles.gerrit.tools.access import loading

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2nLBv3NnXkFz1j3r8mS9m8QvT0yJmYw7b3u1r5c9dZ lab"


def test_the_labs_inventory_declares_the_war_that_is_there_once_the_lab_is_up() -> None:
    declared = load_site(REPOSITORY / "inventories/lab.toml").settings("gerrit-1")["gerrit"]
    assert isinstance(declared, Settings)
    war = declared.war
    assert (war.version, war.source) == (gerrit_war.CURRENT, str(gerrit_war.place(gerrit_war.CURRENT)))


def test_what_the_labs_admins_declare_of_gerrit_is_sound_and_has_the_projects_of_the_rehearsal(tmp_path: Path) -> None:
    shutil.copytree(site_files.DECLARED, tmp_path, dirs_exist_ok=True)
    admins = parse(tmp_path / "admins.toml", {"admins": {"lab": {"ssh_keys": [KEY]}}})
    declared = loading.load(tmp_path, admins, secure.ACCOUNT)
    assert declared.projects.keys() >= review.PUSHED.keys()
    assert len(declared.expectations) == 2


@pytest.mark.parametrize(("hosts", "audited"), [(("gerrit-1", "control-1"), True), (("control-1",), False)])
def test_a_site_without_gerrit_audits_no_sources_on_it(hosts: tuple[str, ...], audited: bool) -> None:
    document: Any = tomlkit.parse(LAB_TOML.read_text())
    only(document, *hosts)
    assert ("sources" in document["settings"]["control"]) == audited
