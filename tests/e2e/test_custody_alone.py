"""The least with which data comes back: a clean clone of the repository, an admin's key, and the vault's address."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.converge import REPOSITORY
from inventories.inventory import load_site
from inventories.lock import load as load_lock
from tests.restics import restic
from tests.saved_site import DATA, HASHES, Saved, saved_site

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
COMMITTED = ("admins.toml", "secrets.age", "vault.pem", "copy.pem", "control.age.pub")
"""What of a site is in its repository; lock.json besides, which says where hosts are."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    for site in saved_site(tmp_path_factory.mktemp("alone")):
        site.save_first()
        yield site


def clean_clone(saved: Saved, folder: Path) -> Path:
    """The repository as it is committed, with the site's own files in it; of the lock file, the vault alone."""
    clone = folder / "clone"
    subprocess.run(["git", "clone", "-q", REPOSITORY, clone], check=True)
    site, files = load_site(saved.inventory), clone / "inventories" / "alone"
    files.mkdir()
    for name in COMMITTED:
        if (site.files / name).exists():
            (files / name).write_bytes((site.files / name).read_bytes())
    lock = load_lock(site.files / "lock.json")
    vault_alone = lock.model_copy(update={"hosts": {"vault-1": lock.hosts["vault-1"]}})
    (files / "lock.json").write_text(vault_alone.model_dump_json())
    text = saved.inventory.with_suffix(".toml").read_text().replace(str(site.files), "alone")
    (files.parent / "alone.toml").write_text(text.replace('"id_ed25519"', f'"{folder / "key"}"'))
    (folder / "key").write_bytes((site.files / "id_ed25519").read_bytes())
    (folder / "key").chmod(0o600)
    return files.parent / "alone.toml"


def test_data_comes_back_with_nothing_but_clone_key_and_address(saved: Saved, tmp_path: Path) -> None:
    inventory = clean_clone(saved, tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    words = [
        "-c",
        "from cli.main import main; main()",
        "backup",
        "restore",
        DATA,
        "--to",
        str(tmp_path / "back"),
        "--inventory",
        str(inventory),
    ]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=inventory.parent.parent,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "MAINSTAY_RESTIC": restic(), "PYTHONSAFEPATH": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no complete backup is in a ledger here: taking the newest that is listed" in done.stderr
    assert "from the vault" in done.stderr
    here = subprocess.run(["sh", "-c", HASHES], cwd=tmp_path / "back", capture_output=True, text=True, check=True)
    assert here.stdout.strip() == saved.hashes()
