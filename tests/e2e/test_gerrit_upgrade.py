"""Gerrit from one version to the next, and back, by an admin's commands."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup.custody import DataSet
from backup.drills import book
from cloud.converge import REPOSITORY, converge
from inventories.inventory import load_site
from tests.drilling import Drills
from tests.gerrit_site import HOST, VERSION
from tests.gerrit_upgrade import OLD, begin, ended, serves, told, upgradable
from tests.saved_site import Saved
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.full, pytest.mark.timeout(1200)]
SET = DataSet(HOST, "gerrit")
REFUSED, LOSES = 1, 53


@pytest.fixture(scope="module")
def gerrit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    for site in upgradable(tmp_path_factory.mktemp("upgrade")):
        site.must("run", str(SET))
        yield site


def upgrade(gerrit: Saved, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | gerrit.environment
    command = [str(REPOSITORY / "bin/mainstay"), "gerrit", "upgrade", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_it_is_refused_before_it_was_rehearsed_and_for_another_version(gerrit: Saved) -> None:
    done = upgrade(gerrit, "apply", VERSION, "--yes")
    assert (done.returncode, serves(gerrit)[0]) == (REFUSED, OLD)
    assert f"`mainstay gerrit upgrade rehearse {VERSION}`" in done.stderr
    done = upgrade(gerrit, "rehearse", "3.99.0")
    assert done.returncode == 2
    assert f"not 3.99.0: it is {VERSION}" in done.stderr


def test_what_the_new_version_does_not_answer_as_the_old_one_did_is_taken_back(gerrit: Saved) -> None:
    """A change of which nothing but the index knows is in no index that is built anew."""
    before = serves(gerrit)
    lost = "git -c safe.directory='*' --git-dir /srv/gerrit/site/git/tools/one.git update-ref -d refs/changes/01/1/meta"
    kept = gerrit.root(HOST, lost.replace("update-ref -d", "rev-parse"))
    gerrit.root(HOST, lost)
    begin(gerrit)
    until("it has ended", lambda: ended(gerrit) and told(gerrit)["step"] == "back", timeout_s=600)
    assert "open changes 1" in told(gerrit)["error"]
    assert serves(gerrit) == before
    gerrit.root(HOST, f"runuser -u gerrit -- {lost.replace('update-ref -d', 'update-ref')} {kept}")


def test_it_is_rehearsed_on_a_copy_applied_and_taken_back(gerrit: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAINSTAY_RESTIC", "MAINSTAY_INVENTORY"):
        monkeypatch.setenv(name, gerrit.environment[name])
    drills, before = Drills(gerrit, SET), serves(gerrit)
    done = upgrade(gerrit, "rehearse", VERSION)
    assert done.returncode == 0, done.stdout + done.stderr
    (report,) = book.reports(book.folder(load_site(gerrit.inventory)), pytest.fail)
    assert (report.rehearsed, report.outcome) == (VERSION, "passed")
    assert report.downtime_s
    assert {run.name for run in report.checks} > {
        "refs",
        "counts",
        "counts, checks after it",
        "review, checks after it",
    }
    drills.must_be_gone()
    assert serves(gerrit) == before

    done = upgrade(gerrit, "apply", VERSION, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{VERSION} runs: nobody could push or fetch for" in done.stdout
    assert serves(gerrit) == (VERSION, before[1])
    assert converge(gerrit.inventory, "gerrit").ok  # starts it once more, as init wrote its files anew
    again = converge(gerrit.inventory, "gerrit")
    assert (again.code, again.changed) == (0, ()), again.output
    assert serves(gerrit) == (VERSION, before[1])

    gerrit.root(HOST, TOPIC)
    done = upgrade(gerrit, "rollback")
    assert (done.returncode, serves(gerrit)[0]) == (LOSES, VERSION)
    assert "1 refs were written since: tools/one.git:refs/changes/01/1/meta" in done.stderr
    shown = json.loads(upgrade(gerrit, "status", "--json").stdout)
    assert shown["lost"] == ["tools/one.git:refs/changes/01/1/meta"]
    done = upgrade(gerrit, "rollback", "--lose-changes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert serves(gerrit) == before
    assert upgrade(gerrit, "rollback").returncode == REFUSED
    assert gerrit.root(HOST, "btrfs subvolume list /srv/gerrit") == ""


TOPIC = (
    "curl -sSf -u mainstay:$(cat /etc/gerrit/token) -X PUT -H 'Content-Type: application/json' "
    '-d \'{"topic": "lost"}\' http://127.0.0.1:8081/a/changes/1/topic'
)
"""Something is said of a change."""


def test_what_is_not_there_is_told_before_anything_is_stopped(gerrit: Saved, tmp_path: Path) -> None:
    declared = gerrit.inventory.with_suffix(".toml")
    before = declared.read_text()
    try:
        declared.write_text(before.replace(f'version = "{VERSION}"', f'version = "{OLD}"'))
        done = upgrade(gerrit, "apply", OLD)
        assert done.returncode == 2
        assert "upgrade: that is the version of war" in done.stderr
    finally:
        declared.write_text(before)
    program = "python3 -I /usr/local/lib/mainstay/gerrit_upgrade.py apply /srv/gerrit"
    done = gerrit.ssh(HOST, f"{program} 3.99.0")
    assert (done.returncode, "is not there: declare it" in done.stderr) == (1, True)
    assert serves(gerrit)[0] == OLD
