"""The lab's S3 storage, as far as it can be told without one."""

from pathlib import Path

from backup.store import COPY_KEYS
from cloud.converge import REPOSITORY
from inventories.inventory import load_site
from lab import storage
from lab.engine import LabConfig


def test_the_labs_inventory_says_where_it_is() -> None:
    declared = load_site(REPOSITORY / "inventories/lab.toml").fleet.backup.copy_
    assert declared
    assert declared.endpoint == storage.endpoint(LabConfig("lab", 0, Path("/")))
    assert declared.bucket == storage.BUCKET


def test_its_keys_are_made_once_and_have_the_names_of_a_sites_secrets(tmp_path: Path) -> None:
    config = LabConfig("lab", 0, tmp_path)
    made = storage.keys(config)
    assert set(made) == {name for names in COPY_KEYS.values() for name in names}
    assert storage.keys(config) == made
    assert (tmp_path / "storage/keys.json").stat().st_mode & 0o777 == 0o600
