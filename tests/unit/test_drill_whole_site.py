"""What a drill of the whole site makes."""

from datetime import timedelta

from backup.custody import DataSet
from backup.drills.choosing import Chosen
from backup.drills.whole_site import room
from backup.restic_results import File
from cloud.converge import REPOSITORY
from inventories.inventory import load_site
from tests.unit.ledgers import snapshot


def chosen(*sizes: int, restored: int) -> Chosen:
    saved = tuple(File(f"public/{number}", "file", size) for number, size in enumerate(sizes))
    return Chosen("copy", snapshot(0), 0, "", saved, saved[:restored], 1, 12, None, timedelta(hours=2))


def test_the_new_vault_has_room_for_snapshots_of_which_a_part_is_restored() -> None:
    site = load_site(REPOSITORY / "inventories/lab.py")
    release, web = DataSet("release-1", "release"), DataSet("web-1", "web")
    found = room(site, {release: chosen(100, 1500, restored=1), web: chosen(7, restored=1)})
    assert found == {"release-1": 100, "web-1": 7, "vault-1": 1607}
