"""What a drill of the whole site makes."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import tomlkit

from backup import custody
from backup.custody import DataSet
from backup.drills import own_site
from backup.drills.choosing import Chosen
from backup.drills.own_site import Wanted
from backup.drills.whole_site import room
from backup.restic_results import File
from backup.store import COPY
from cloud.converge import REPOSITORY
from inventories import monitoring
from inventories.inventory import load_site
from tests.unit.drill_site import drill_site
from tests.unit.ledgers import snapshot


def chosen(*sizes: int, restored: int) -> Chosen:
    saved = tuple(File(f"public/{number}", "file", size) for number, size in enumerate(sizes))
    return Chosen("copy", snapshot(0), 0, "", saved, saved[:restored], 1, 12, None, timedelta(hours=2))


def test_the_new_vault_has_room_for_snapshots_of_which_a_part_is_restored() -> None:
    site = load_site(REPOSITORY / "inventories/lab.py")
    release, web = DataSet("release-1", "release"), DataSet("web-1", "web")
    found = room(site, {release: chosen(100, 1500, restored=1), web: chosen(7, restored=1)})
    assert found == {"release-1": 100, "web-1": 7, "vault-1": 1607}


def test_its_monitor_host_and_all_others_know_each_other_by_an_authority_of_their_own(tmp_path: Path) -> None:
    declared = drill_site(tmp_path).path
    document: Any = tomlkit.parse(declared.read_text())
    document["hosts"]["monitor-1"] = {"role": "monitor", "plan": "vc2-1c-1gb", "region": "ams"}
    declared.write_text(tomlkit.dumps(document))
    production = load_site(declared)
    monitoring.make(production)
    sets = custody.data_sets(production.fleet)
    own = own_site.make(Wanted(production, "drill-x", COPY, sets, {}, whole=True), tmp_path / "own")
    theirs = load_site(declared)
    assert own.secrets[monitoring.TLS_KEY] != theirs.secrets[monitoring.TLS_KEY]
    assert monitoring.identity(own, "web-1").authority != monitoring.identity(theirs, "web-1").authority
    assert not {monitoring.WEBHOOK, monitoring.PING} & {*own.secrets}
