"""A drill of Gerrit: what comes back is proved as its users would, each fault is found, nobody outside hears of it."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from backup.custody import DataSet
from backup.drills import account, book, choosing, own_site, steps
from backup.drills.choosing import Asked
from backup.drills.report import Report
from backup.drills.restored import OnHost
from backup.drills.serving import CERTIFICATE_FILE
from backup.drills.steps import Deadline
from backup.reach import reach
from backup.store import VAULT
from inventories.inventory import KEPT_DRILLS, LoadedSite, load_site
from roles.gerrit import secure
from roles.gerrit.asked import Api
from tests.drilling import Drills
from tests.gerrit_content import fill
from tests.gerrit_site import HOST, SERVER_ID, gerrit_site
from tests.unit.restored_copy import failure, run

pytestmark = [pytest.mark.lab, pytest.mark.full, pytest.mark.timeout(2400)]
SET = DataSet(HOST, "gerrit")
DRILL = own_site.drill_of(SET.plan)
RESTARTED = ("corrupted index",)
"""Faults for which Gerrit starts anew."""
KEPT = ("git", "etc", "data")
MEND = """cd /srv/gerrit/.pristine/site
for one do rm -rf "../../site/$one"; cp -a --reflink=always "$one" ../../site/; done
"""
RESTART = f"systemctl stop gerrit; {MEND} systemctl start gerrit"
"""For what a running server must not lose: it takes objects that it once wrote for written."""
PRISTINE = "/root/site.pem"


@pytest.fixture(scope="module")
def drills(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drills]:
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for saved in gerrit_site(tmp_path_factory.mktemp("gerrit-drill")):
            fill(saved)
            saved.must("run", str(SET))
            for name in ("MAINSTAY_RESTIC", "MAINSTAY_INVENTORY"):
                patch.setenv(name, saved.environment[name])
            yield Drills(saved, SET)


@pytest.fixture(scope="module")
def kept(drills: Drills) -> Iterator[Report]:
    """One whose host is kept, with what was there before any check."""

    def start(site: LoadedSite, on: OnHost, deadline: Deadline) -> None:
        begin(site, on, deadline)
        on.sh("btrfs subvolume snapshot -r /srv/gerrit /srv/gerrit/.pristine")
        on.sh('cp -a "$1" "$2"', CERTIFICATE_FILE, PRISTINE)

    begin = steps.start
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "start", start)
        yield drills.run(keep=True)
    drills.mainstay("sweep", drills.reports()[0].id)


@pytest.fixture(scope="module")
def copy(drills: Drills, kept: Report, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnHost]:
    """What came back there, as it was before any check."""
    site = drills.site
    name = account.site_name(kept.id, kept.expires)
    own = load_site(book.folder(site).with_name(KEPT_DRILLS) / kept.id / f"{name}.py")
    with reach(site) as way, choosing.chosen(way, Asked(SET, VAULT), DRILL, print) as chosen:
        pass
    with steps.on_host(site, own, SET, chosen, 0, tmp_path_factory.mktemp("scratch")) as on:
        on.sh(RESTART, *KEPT, "index")
        yield on


def test_a_drill_passes_with_every_check_and_says_what_each_saw(drills: Drills, kept: Report) -> None:
    assert (kept.outcome, kept.why, kept.reservations) == ("passed", "", ())
    assert [run.name for run in kept.checks] == ["newest", *(check.name for check in DRILL.checks)]
    told = {run.name: " ".join(run.evidence) for run in kept.checks}
    assert told["counts"] == "4 projects, 3 changes, 2 accounts, 4 groups"
    assert "1 pointer" in told["large files"]
    assert SERVER_ID in told["identity"]
    assert "the newest is 3" in told["changes"]
    assert kept.rpo
    assert kept.rpo.newest_restored == kept.rpo.newest_saved


def test_it_acts_on_nobody_and_holds_no_secret_of_production(drills: Drills, copy: OnHost) -> None:
    production = secure.token(drills.site).get_secret_value()
    assert Api(copy.client, secure.ACCOUNT, production).status("GET", "/a/accounts/self") == 401
    told = copy.sh("cat /srv/gerrit/site/etc/gerrit.config /srv/gerrit/site/etc/secure.config /etc/nginx/http.d/*")
    assert secure.header(secure.token(drills.site)).get_secret_value() not in told
    assert drills.site.fleet.hosts[HOST].dns[0] not in told


@pytest.mark.parametrize("name", [one.name for one in DRILL.faults])
def test_each_fault_is_found_by_its_check(copy: OnHost, name: str) -> None:
    fault = next(one for one in DRILL.faults if one.name == name)
    run(DRILL, fault.caught_by, copy)
    try:
        assert fault.plant(copy)
        said = failure(DRILL, fault.caught_by, copy)
        print(json.dumps([name, fault.caught_by, said[:300]]))
    finally:
        if name in RESTARTED:
            copy.sh(RESTART, *KEPT, "index")
        else:
            copy.sh(MEND, *KEPT)
        if fault.caught_by == "certificate":
            copy.sh('cp -a "$2" "$1"; systemctl restart nginx', CERTIFICATE_FILE, PRISTINE)


def test_a_scratch_folder_is_all_that_checks_leave_on_this_machine(copy: OnHost) -> None:
    assert list(Path(copy.scratch).iterdir()) == []
