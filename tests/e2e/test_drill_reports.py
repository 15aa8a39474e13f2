"""Reports of drills on a control host: it tells of them and makes their page, and an admin's laptop fetches them."""

import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup.drills import book
from backup.drills.report import Report
from cloud.converge import REPOSITORY
from tests.unit.drills import failed, report
from tests.unit.ledgers import NOON
from tests.watched_site import CONTROL, DATA, MAINSTAY, Watched, watched_site

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
DATA_SET, OWN = f"{DATA}:web", f"{CONTROL}:control"
METRICS = "/var/lib/prometheus/node-exporter/mainstay-backup.prom"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    yield from watched_site(tmp_path_factory.mktemp("drills"))


def ago(hours: float) -> float:
    """So many hours ago, as hours are counted."""
    return (datetime.now(UTC) - NOON).total_seconds() / 3600 - hours


def put(site: Watched, one: Report) -> None:
    """As a drill on the control host writes it."""
    there = f"{book.DRILLS}/{one.id}"
    site.root(CONTROL, f"mkdir -p {there}\ncat >{there}/{book.REPORT} <<'END'\n{one.model_dump_json()}\nEND")
    site.root(CONTROL, f"chown -R control:control {there}")


def drill(site: Watched, *words: str) -> subprocess.CompletedProcess[str]:
    """`mainstay drill` on this machine, an admin's laptop."""
    command = [str(MAINSTAY), "drill", words[0], "--inventory", str(site.inventory), *words[1:]]
    own = {"PATH": "/usr/bin:/bin", "HOME": str(site.inventory.parent), "COLUMNS": "200"}
    return subprocess.run(command, cwd=REPOSITORY, env=own, capture_output=True, text=True, check=False, timeout=300)


def here(site: Watched) -> list[str]:
    return [one.id for one in book.reports(book.folder(site.site), lambda _: None)]


def test_a_laptop_shows_what_the_control_host_proved(site: Watched) -> None:
    put(site, report(ago(3), id="passed", data_set=DATA_SET))
    done = drill(site, "list")
    assert (done.returncode, done.stderr) == (0, "")
    assert "passed 3 h ago" in done.stdout
    assert here(site) == ["passed"]
    shown = site.ssh(CONTROL, "sudo mainstay drill show passed --json")
    assert json.loads(shown.stdout)["id"] == "passed"
    assert site.ssh(CONTROL, "sudo mainstay drill list").returncode == 0


def test_a_failed_drill_is_told_and_is_on_page_and_in_metrics(site: Watched) -> None:
    put(site, report(ago(1), id="own", data_set=OWN))
    assert site.watch()
    site.office.got.clear()
    put(site, failed(ago(0.5), id="failed", data_set=DATA_SET))
    assert site.watch()
    assert site.told() == [([f"{DATA_SET} drill failed"], [])]
    page = site.root(CONTROL, "cat /srv/control/status/drills.html")
    assert f"{DATA_SET}: drill failed" in page
    labels = f'host="{DATA}",plan="web"'
    metrics = site.root(CONTROL, f"cat {METRICS}")
    assert f'mainstay_drill_last_outcome{{{labels},outcome="failed"}} 1\n' in metrics
    assert site.mainstay("status", DATA_SET).returncode == 30
    put(site, report(ago(0.1), id="again", data_set=DATA_SET))
    assert site.watch()
    assert site.told() == [([], ["drill failed"])]


def test_what_was_fetched_is_kept_and_what_is_not_fetched_is_told(site: Watched, tmp_path: Path) -> None:
    assert drill(site, "list").returncode == 0
    known = here(site)
    site.root(CONTROL, f"rm -r {book.DRILLS}/passed")
    site.root(CONTROL, f"ln -s /etc {book.DRILLS}/link")
    assert drill(site, "list").returncode == 0
    assert here(site) == known
    site.root(CONTROL, f"mv {book.DRILLS} {book.DRILLS}.away")
    done = drill(site, "list")
    site.root(CONTROL, f"mv {book.DRILLS}.away {book.DRILLS}")
    assert done.returncode == 0
    assert "going on with the reports of drills that are here" in done.stderr
    assert "passed" in done.stdout


def test_what_drills_proved_is_saved_with_the_record(site: Watched) -> None:
    site.root(CONTROL, "systemctl start mainstay-backup@control")
    done = site.mainstay("restic", OWN, "ls", "latest")
    assert f"/drills/again/{book.REPORT}" in done.stdout, done.stderr
