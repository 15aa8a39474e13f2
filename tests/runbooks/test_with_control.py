"""Runbooks of a site with a control host, which has to be told of what is new: the record lies with it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from backup import custody
from inventories.inventory import load_site
from lab.sites import LAB_TOML
from tests.runbooks.reader import editing, follow
from tests.runbooks.test_runbooks import OF, SECRET, VAULT, lose, lost, password, vault
from tests.runbooks.test_verification_failed import mending, packs
from tests.saved_site import DATA, HOST, PLAN, Saved, lose_the_vault

pytestmark = [pytest.mark.lab, pytest.mark.full, pytest.mark.timeout(1200)]

CONTROL = "control-1"


@pytest.fixture(scope="module")
def watched(site: Saved) -> Saved:
    """With a control host, which comes to a site whose record lay here, and a first backup of its own."""
    declare(site, lambda hosts: hosts.update({CONTROL: tomlkit.parse(LAB_TOML.read_text())["hosts"][CONTROL]}))
    site.must("keys")
    site.deploy("provision", "site")
    assert "ledger disputed" in site.mainstay("status").stdout
    site.must("settle")
    site.must("run", f"{CONTROL}:control")
    site.must("copy")
    site.must("verify", "--all")
    site.must("status")
    return site


def declare(saved: Saved, change: Callable[[Any], None]) -> None:
    """Changes the hosts of the inventory."""
    toml = saved.inventory.with_suffix(".toml")
    document: Any = tomlkit.parse(toml.read_text())
    change(document["hosts"])
    toml.write_text(tomlkit.dumps(document))


def all_is_well_there(saved: Saved) -> None:
    """By the control host's own look, as by this one when the test ends. A backup may have failed while there was no
    vault."""
    for data_set in (DATA, f"{CONTROL}:control"):
        saved.must("run", data_set)
    assert "all is well" in saved.root(CONTROL, "mainstay backup status 2>&1")


def test_password_lost(watched: Saved, saved: Saved) -> None:
    old = password(saved)
    lose(saved)
    editor = editing(saved.folder, f'echo \'{SECRET} = "{old}"\' >> "$1"')
    follow(saved, "password-lost", "The host still has it", editor=editor, **lost(saved, CONTROL))
    assert password(saved) != old
    saved.root(CONTROL, f"mainstay backup verify {DATA}")

    lose(saved)
    bucket = saved.lab.root / "storage/data/mainstay"
    (bucket / HOST / PLAN).rename(bucket / "lost")
    said = follow(saved, "password-lost", "It is nowhere", **lost(saved, CONTROL))
    assert "all is well" in said
    saved.root(CONTROL, f"mainstay backup verify {DATA}")
    assert saved.root(CONTROL, f"ls /srv/control/ledgers/{HOST}/{PLAN}.jsonl.lost")


def test_vault_lost(watched: Saved, saved: Saved, tmp_path: Path) -> None:
    saved.must("copy")
    lose_the_vault(saved)
    follow(saved, "vault-lost", "A new vault", **vault(saved, tmp_path, control=CONTROL))
    all_is_well_there(saved)


def test_the_vaults_volume_is_broken(watched: Saved, saved: Saved, tmp_path: Path) -> None:
    names = vault(saved, tmp_path, control=CONTROL)
    inode = saved.root(VAULT, f"stat -c %i {packs(saved)[0]}")
    saved.root(VAULT, f"systemctl stop srv-vault.mount; debugfs -w -R 'clri <{inode}>' {names['disk']}")
    saved.root(VAULT, f"dd if=/dev/zero of={names['disk']} bs=1k seek=1 count=1 conv=notrunc,fsync")
    assert saved.mainstay("status").returncode
    said = follow(saved, "vault-lost", "Its volume is broken", **names)
    assert "DAMAGED" in said
    titles = ("What is hit", "Mend it from what the host still has")
    assert "all is well" in follow(saved, "verification-failed", *titles, **mending(tmp_path))
    all_is_well_there(saved)


def test_the_vaults_volume_cannot_be_mended(watched: Saved, saved: Saved, tmp_path: Path) -> None:
    saved.must("copy")
    names = vault(saved, tmp_path, control=CONTROL)
    volume = names["volume"]
    saved.root(VAULT, f"systemctl stop srv-vault.mount; head -c 64M /dev/urandom >{names['disk']}")

    def another(hosts: Any) -> None:
        declared = hosts[VAULT].pop("volumes").unwrap()
        hosts[VAULT]["volumes"] = {f"{volume}-2": declared[volume]}
        hosts[VAULT]["settings"] = {"vault": {"volume": f"{volume}-2"}}

    declare(saved, another)
    follow(saved, "vault-lost", "Another volume in its place", "A new vault", **names)
    all_is_well_there(saved)
    assert volume in load_site(saved.inventory).lock.hosts[VAULT].volumes


def test_vault_compromised(watched: Saved, saved: Saved) -> None:
    logins = [custody.host_secret(HOST), custody.host_secret(CONTROL), "vault_control", "vault_admin"]
    before = {name: load_site(saved.inventory).secrets[name].get_secret_value() for name in (*logins, "vault_tls_key")}
    gone = f"-e '/^vault_tls_key =/,/\"\"\"$/d' -e '/^({'|'.join(logins)}) =/d'"
    editor = editing(saved.folder, f'sed -i -E {gone} "$1"')
    names = {**OF, "files": load_site(saved.inventory).files, "vault": VAULT, "root": "", "paths": "", "good": ""}
    said = follow(saved, "host-compromised", "It was the vault", editor=editor, **names, bad="", why="")
    assert "sound" in said
    assert "DAMAGED" not in said
    after = load_site(saved.inventory).secrets
    assert not [name for name in before if after[name].get_secret_value() == before[name]]
    all_is_well_there(saved)
