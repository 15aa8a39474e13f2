"""A restore drill by the command, end to end: on a host of its own, which reaches nobody of production."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backup.drills import account, book, own_site
from backup.drills.report import PHASES, Report
from inventories.inventory import KEPT_DRILLS, load_site
from inventories.ssh import ssh_config
from tests.drilling import Drills, drills_of
from tests.saved_site import DATA, HOST, HOSTS, PLAN, Saved, saved_site

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
CONNECT = "{{ timeout 3 bash -c 'exec 3<>/dev/tcp/{1}/{2}' 2>/dev/null && echo {0} {2} || true; }} &\n"
"""Prints name and port of what can be connected to."""
PORTS = (22, 80, 443, 8000, 8001, 8002)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    yield from saved_site(tmp_path_factory.mktemp("drill"))


@pytest.fixture(scope="module")
def drills(saved: Saved) -> Iterator[Drills]:
    with pytest.MonkeyPatch.context() as patch:
        yield drills_of(saved, patch)


@pytest.fixture(scope="module")
def kept(drills: Drills) -> Iterator[Report]:
    """One from the vault, whose host is kept."""
    done = drills.mainstay("run", PLAN, "--keep")
    assert done.returncode == 0, done.stdout + done.stderr
    report = drills.reports()[0]
    assert done.stdout.strip() == report.id
    yield report
    drills.mainstay("sweep", report.id)


def must_be_whole(report: Report, saved: Saved, store: str) -> None:
    """It passed, and says all that there is to say."""
    assert (report.outcome, report.why, report.next_step, report.reservations) == ("passed", "", "", ())
    assert (report.data_set, report.site) == (DATA, saved.lab.name)
    newest = [entry for entry in saved.entries() if entry["kind"] == "backup" and entry["outcome"] == "ok"][-1]
    assert report.source
    assert (report.source.store, report.source.original) == (store, newest["snapshot"])
    assert (report.source.behind, report.source.parts, report.source.bytes) == (0, 1, report.source.of_bytes)
    assert all(run.ok and not run.over for run in report.phases)
    assert all(run.outcome == "passed" and run.evidence for run in report.checks)
    declared = own_site.drill_of(PLAN).checks
    assert [run.name for run in report.checks] == ["newest", *(check.name for check in declared)]
    assert report.rpo
    assert 0 < report.rpo.seconds < report.rpo.budget_s
    assert report.rpo.newest_saved
    assert report.rpo.newest_restored
    assert report.rpo.newest_saved == report.rpo.newest_restored
    assert report.rto_seconds == pytest.approx(sum(run.seconds for run in report.phases if run.budget_s), abs=0.5)
    assert report.estimate
    assert report.estimate.bytes == report.source.of_bytes
    assert {"mainstay", "debian", "kernel", "restic", "nginx"} <= report.versions.keys()
    assert report.cost_usd > 0


def test_a_drill_from_the_vault_passes_and_its_report_says_all(drills: Drills, kept: Report) -> None:
    must_be_whole(kept, drills.saved, "vault")
    assert [run.name for run in kept.phases] == [name for name in PHASES if name != "destroy"]
    assert {made.kind for made in kept.left} == {"host", "volume", "firewall", "zone"}
    shown = drills.mainstay("show", kept.id, "--json")
    assert json.loads(shown.stdout)["id"] == kept.id
    assert drills.mainstay("list").returncode == 0


def test_its_host_reaches_nobody_of_production_but_the_vaults_listener_for_hosts(drills: Drills, kept: Report) -> None:
    site = drills.site
    targets = [(host, locked.ipv4, port) for host, locked in site.lock.hosts.items() for port in PORTS]
    targets += [(host, address, 22) for host, one in site.lock.hosts.items() for address in one.vpc_ipv4.values()]
    assert len(targets) == len(HOSTS) * (len(PORTS) + 1)
    script = "".join(CONNECT.format(*target) for target in targets)
    assert enter(drills, kept, f"{script}wait") == "vault-1 8000"


def test_nobody_of_production_reaches_its_host(drills: Drills, kept: Report) -> None:
    there = own(drills, kept).lock.hosts[HOST].ipv4
    script = "".join(CONNECT.format("open", there, port) for port in (22, 80))
    for host in HOSTS:
        assert drills.saved.root(host, f"{script}wait") == ""
    listening = "".join(CONNECT.format("open", "127.0.0.1", port) for port in (22, 80))
    assert sorted(enter(drills, kept, f"{listening}wait").splitlines()) == ["open 22", "open 80"]


def test_it_holds_no_mail_and_saves_nothing(drills: Drills, kept: Report) -> None:
    assert enter(drills, kept, "systemctl list-unit-files --no-legend 'mainstay-backup*' || true") == ""
    assert enter(drills, kept, "grep -rls mail.lab.internal /etc || true") == ""


def test_one_that_is_kept_goes_when_it_is_named(drills: Drills, kept: Report) -> None:
    assert drills.mainstay("sweep").stdout == "nothing to remove\n"
    folder = book.folder(drills.site).with_name(KEPT_DRILLS) / kept.id
    assert folder.is_dir()
    done = drills.mainstay("sweep", kept.id)
    assert done.returncode == 0, done.stderr
    assert not folder.exists()
    assert drills.reports()[0].left == ()
    assert drills.reports()[0].outcome == "passed"
    drills.must_be_gone()


def test_of_data_larger_than_a_drill_a_part_comes_back_and_is_proved(
    drills: Drills, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = own_site.drill_of
    monkeypatch.setattr(own_site, "drill_of", lambda role: replace(declared(role), size_gb=0, parts=3))
    report = drills.run()
    assert (report.outcome, report.why) == ("passed", "")
    assert report.source
    assert (report.source.parts, report.source.files < report.source.of_files) == (3, True)
    assert 0 < report.source.bytes < report.source.of_bytes
    drills.must_be_gone()


@pytest.mark.full
def test_a_drill_from_the_second_copy_passes_and_leaves_nothing(drills: Drills) -> None:
    drills.saved.must("copy")
    done = drills.mainstay("run", PLAN, "--copy", "second")
    assert done.returncode == 0, done.stdout + done.stderr
    report = drills.reports()[0]
    must_be_whole(report, drills.saved, "copy")
    assert [run.name for run in report.phases] == [*PHASES]
    assert {made.kind for made in report.made} == {"host", "volume", "firewall", "zone"}
    assert report.left == ()
    drills.must_be_gone()


def own(drills: Drills, report: Report) -> Any:
    """The drill's own site, as it was kept."""
    name = account.site_name(report.id, report.expires)
    return load_site(book.folder(drills.site).with_name(KEPT_DRILLS) / report.id / f"{name}.py")


def enter(drills: Drills, report: Report, command: str) -> str:
    """What a command as root on the kept host says."""
    site = own(drills, report)
    config = Path(site.path).with_suffix(".ssh")
    config.write_text(ssh_config(site))
    words = ["ssh", "-F", str(config), HOST, "sudo", "sh", "-es"]
    done = subprocess.run(words, input=command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
