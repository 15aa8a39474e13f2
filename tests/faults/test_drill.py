"""Drills through faults of the provider, the vault, the host and the backup: outcome, words, and nothing left."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from backup import custody
from backup.custody import DataSet
from backup.drills import account, own_site, steps, sweeping
from backup.drills.checks import Check, CheckFailed, Evidence, Restored
from backup.drills.report import CheckRun, Report
from backup.drills.serving import CERTIFICATE_FILE, SERVER_FILE
from backup.drills.steps import StepFailed
from backup.reach import Reach, answer
from cloud import client, hosts
from inventories.editing import Plain, apply
from tests.drilling import Drills, Hearing, drills_of
from tests.saved_site import HOST, PLAN, REPOSITORY_OF_IT, Saved, saved_site
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
FULL = pytest.mark.full


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    yield from saved_site(tmp_path_factory.mktemp("drills"))


@pytest.fixture(scope="module")
def begun(saved: Saved) -> Iterator[Drills]:
    with pytest.MonkeyPatch.context() as patch:
        yield drills_of(saved, patch)


@pytest.fixture
def drills(begun: Drills) -> Iterator[Drills]:
    """No fault is left, nor anything of a drill, whatever happens."""
    yield begun
    begun.mend()
    sweeping.sweep(begun.site, (), print)
    begun.must_be_gone()


def no_further() -> None:
    raise StepFailed("far enough")


def ended(report: Report) -> tuple[str | None, str]:
    return report.outcome, report.phase


def storm(drills: Drills, method: str, *paths: str) -> None:
    drills.fault("rate_limit", times=4)
    for path in paths:
        drills.fault("lost_response", method=method, path=path)
        drills.fault("locked", method=method, path=path)
    drills.fault("timeout", method="GET", path=paths[0], seconds=2)


def stormy(drills: Drills) -> Hearing:
    """At creation and destruction."""
    made = ("/instances", "/blocks", "/firewalls", "/domains")
    return Hearing({"host": lambda: storm(drills, "POST", *made), "destroy": lambda: storm(drills, "DELETE", *made)})


@pytest.mark.full
def test_a_storm_of_the_providers_faults_is_outlived_and_nothing_leaks(drills: Drills) -> None:
    hear = stormy(drills)
    hear.at["deploy"] = no_further
    report = drills.run(hear)
    assert (*ended(report), report.why) == ("failed", "deploy", "deploy: far enough")
    assert {made.kind for made in report.made} == {"host", "volume", "firewall", "zone"}
    assert (report.left, report.reservations) == ((), ())
    drills.must_be_gone()


@FULL
def test_two_drills_of_one_data_set_at_once_pass_in_a_storm_and_while_their_source_is_lost(drills: Drills) -> None:
    """They have nothing in common; a source that is lost is no reason not to restore."""
    drills.saved.mainstay("status")  # since then its ledger is known here
    drills.fault("cut", instance=HOST)
    with drills.begin("run", PLAN) as running:
        drills.run(stormy(drills))
        out, err = running.communicate(timeout=600)
    assert running.returncode == 0, out + err
    one, other = drills.reports()[:2]
    assert one.outcome == other.outcome == "passed"
    assert one.left == other.left == ()
    assert not {made.id for made in one.made} & {made.id for made in other.made}
    drills.must_be_gone()


@FULL
@pytest.mark.parametrize("path", ["/instances", "/blocks", "/firewalls", "/domains"])
@pytest.mark.parametrize("kind", ["rate_limit", "locked", "timeout"])
def test_a_provider_that_makes_nothing_is_a_drill_that_could_not_start(
    drills: Drills, monkeypatch: pytest.MonkeyPatch, kind: str, path: str
) -> None:
    monkeypatch.setattr(client, "GIVE_UP_AFTER_S", 2)
    monkeypatch.setattr(client, "SETTLE_S", 1)
    seconds = {"seconds": 1} if kind != "locked" else {}
    drills.fault(kind, method="POST", path=path, times=10_000, **seconds)
    report = drills.run()
    assert ended(report) == ("could not start", "host")
    assert f"POST {path}" in report.why
    assert report.left == ()
    drills.must_be_gone()


@FULL
def test_a_host_that_never_boots_is_a_drill_that_could_not_start(
    drills: Drills, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "BOOT_S", 10)
    drills.fault("never_boots", times=1)
    report = drills.run()
    assert ended(report) == ("could not start", "host")
    assert HOST in report.why
    assert report.left == ()
    drills.must_be_gone()


@pytest.mark.full
def test_a_vault_that_cannot_be_reached_is_a_drill_that_could_not_start(drills: Drills) -> None:
    drills.fault("cut", instance="vault-1")
    report = drills.run()
    assert ended(report) == ("could not start", "plan")
    assert "vault-1" in report.why
    assert (report.made, report.reservations) == ((), ())
    assert [phase.name for phase in report.phases] == ["plan"]


SLOW = "tc qdisc replace dev {} root tbf rate {}kbit burst 16kb latency 200ms"


@pytest.fixture
def slow(drills: Drills) -> Iterator[None]:
    """The vault sends 4 Mbit/s, and there are 12 MB to restore."""
    device = drills.saved.root("vault-1", "ip -o route get 10.255.255.1 | grep -o 'dev [^ ]*' | cut -d' ' -f2")
    drills.saved.save_more("filler", 8)
    drills.saved.root("vault-1", SLOW.format(device, 4000))
    yield
    drills.mend()
    until("the vault is reached", lambda: drills.saved.up("vault-1"))
    drills.saved.root("vault-1", f"tc qdisc del dev {device} root")
    drills.saved.root(HOST, "rm /srv/release/public/filler")


@FULL
@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("away_s", [30, 0], ids=["comes back", "stays away"])
def test_a_vault_that_is_cut_in_mid_restore_is_gone_on_with_or_told_within_minutes(drills: Drills, away_s: int) -> None:
    cuts: list[Timer] = []

    def cut() -> None:
        if not cuts:
            cuts.append(Timer(away_s, drills.mend))
            drills.fault("cut", instance="vault-1")
            if away_s:
                cuts[0].start()

    report = drills.run(Hearing(during={"restore": cut}))
    assert cuts
    restored = next(phase for phase in report.phases if phase.name == "restore")
    assert restored.seconds < 600
    if away_s:
        cuts[0].join()
        assert report.outcome == "passed"
    else:
        assert ended(report) == ("failed", "restore")
        assert "vault" in report.why
    assert report.left == ()
    drills.must_be_gone()


@pytest.fixture
def secrets(drills: Drills) -> Iterator[Any]:
    """Changes one, until the test has ended."""
    site = drills.site
    before = site.secrets.path.read_bytes()

    def change(name: str) -> None:
        apply(site.secrets.path, site.secrets.entries, {name: Plain("another one")}, site.readers)

    yield change
    site.secrets.path.write_bytes(before)


@FULL
def test_a_wrong_password_is_a_backup_that_cannot_be_restored(drills: Drills, secrets: Any) -> None:
    secrets(DataSet(HOST, PLAN).secret)
    report = drills.run()
    assert ended(report) == ("failed", "plan")
    assert "password" in report.why
    assert "mainstay backup status" in report.next_step


@FULL
def test_a_vault_that_does_not_let_the_host_in_fails_the_restore(drills: Drills, secrets: Any) -> None:
    secrets("vault_release_1")
    report = drills.run()
    assert report.outcome == "failed"
    assert report.phase in ("deploy", "restore")
    assert "another one" not in report.model_dump_json()
    drills.must_be_gone()


@FULL
def test_a_volume_that_is_too_small_fails_the_restore_and_says_so(
    drills: Drills, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore = steps.restore

    def filled(way: Reach, data_set: DataSet, *rest: Any) -> None:
        script = "free=$(df --output=avail -k /srv/release | tail -n 1); fallocate -l $((free - 1000))k /srv/release/x"
        answer(way.admin(data_set.host, "sudo", "-n", "sh", "-es"), HOST, 60, script.encode())
        restore(way, data_set, *rest)

    monkeypatch.setattr(steps, "restore", filled)
    report = drills.run()
    assert ended(report) == ("failed", "restore")
    assert "no space" in (report.why + report.log).lower()
    drills.must_be_gone()


@FULL
@pytest.mark.parametrize("phase", ["deploy", "restore", "start", "checks"])
def test_a_host_that_is_lost_fails_the_drill_within_minutes(drills: Drills, phase: str) -> None:
    def lose() -> None:
        drills.api.remove(drills.host().path)
        until("it is gone", lambda: all(thing.kind != "host" for thing in drills.things()))

    report = drills.run(Hearing({phase: lose}))
    assert ended(report) == ("failed", phase)
    assert HOST in report.why + report.log
    assert (report.ended or report.begun).timestamp() - report.begun.timestamp() < 420
    drills.must_be_gone()


@FULL
def test_a_deploy_that_fails_says_what_it_printed(drills: Drills) -> None:
    report = drills.run(Hearing({"deploy": lambda: drills.fault("full_disk", instance=drills.host().id)}))
    assert ended(report) == ("failed", "deploy")
    assert "deploys/site.py exited" in report.why
    assert "No space left" in report.log
    drills.must_be_gone()


def with_checks(monkeypatch: pytest.MonkeyPatch, *checks: Check, without: str = "") -> None:
    """The role's own, and these before them."""
    drill = own_site.drill_of(PLAN)
    own = tuple(check for check in drill.checks if check.name != without)
    changed = dataclasses.replace(drill, checks=(*checks, *own))
    monkeypatch.setattr(own_site, "drill_of", lambda _: changed)


def check_run(report: Report, name: str) -> CheckRun:
    return next(one for one in report.checks if one.name == name)


PRISTINE = "/root/pristine"


def every_fault(copy: Restored) -> Evidence:
    """Plants each of the role's faults on this one host, and undoes it."""
    drill = own_site.drill_of(PLAN)
    by_name = {check.name: check for check in drill.checks}
    folders = " ".join(custody.recovery(PLAN).paths)
    copy.sh(f"mkdir {PRISTINE}; cd {copy.root}; cp -a {folders} {SERVER_FILE} {CERTIFICATE_FILE} {PRISTINE}")
    told = []
    for fault in drill.faults:
        done = fault.plant(copy)
        try:
            by_name[fault.caught_by].run(copy)
        except CheckFailed as error:
            told.append(f"{fault.name}: {done}: {error.found[0]}")
        else:
            raise CheckFailed(f"{fault.name} was not found by {fault.caught_by}")
        copy.sh(f"cd {copy.root}; rm -rf {folders}; cd {PRISTINE}; cp -a {folders} {copy.root}")
        for file in (SERVER_FILE, CERTIFICATE_FILE):
            copy.sh(f"cp -a {PRISTINE}/{Path(file).name} {file}")
        copy.sh("systemctl reset-failed nginx; systemctl restart nginx")  # so often in so short a time
        by_name[fault.caught_by].run(copy)
    return Evidence(tuple(told))


@FULL
def test_checks_of_all_kinds_on_one_host(drills: Drills, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the role's faults is found; a check that hangs, or breaks, does not keep the others from their turn."""

    def hang(copy: Restored) -> Evidence:
        copy.sh("sleep 300")
        return Evidence(("never",))

    def broken(_: Restored) -> Evidence:
        raise KeyError("channel")

    with_checks(
        monkeypatch,
        Check("hangs", "p", "c", hang, limit_s=2),
        Check("breaks", "p", "c", broken),
        Check("faults", "p", "c", every_fault),
    )
    report = drills.run()
    assert ended(report) == ("failed", "checks")
    faults = check_run(report, "faults")
    print(json.dumps(faults.evidence, indent=1))
    assert faults.outcome == "passed", faults.evidence
    assert len(faults.evidence) == len(own_site.drill_of(PLAN).faults)
    hangs, breaks = check_run(report, "hangs"), check_run(report, "breaks")
    assert (hangs.outcome, hangs.evidence) == ("timed out", ("it did not end within 2 s",))
    assert 2 <= hangs.seconds < 4
    assert (breaks.outcome, breaks.evidence) == ("failed", ("the check itself failed: KeyError: 'channel'",))
    others = [one for one in report.checks if one.name not in ("hangs", "breaks")]
    assert {one.outcome for one in others} == {"passed"}
    assert report.why == (
        "hangs timed out: it did not end within 2 s; breaks failed: the check itself failed: KeyError: 'channel'"
    )
    drills.must_be_gone()


@FULL
@pytest.mark.usefixtures("slow")
def test_a_slow_vault_takes_longer_and_no_more_and_a_check_that_is_blind_fails_a_drill_with_a_fault(
    drills: Drills, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = own_site.drill_of(PLAN).faults[0]
    with_checks(monkeypatch, Check(fault.caught_by, "p", "c", lambda _: Evidence(("fine",))), without=fault.caught_by)
    report = drills.run(fault=fault.name)
    restored = next(phase for phase in report.phases if phase.name == "restore")
    assert restored.ok
    assert restored.seconds > 20
    assert report.estimate
    assert report.estimate.bytes_per_second < 1_000_000
    assert (*ended(report), report.caught) == ("failed", "checks", False)
    assert report.why == f"the fault {fault.name!r} was planted, and the check {fault.caught_by!r} did not find it"
    assert report.next_step.startswith(f"A check is blind: mend {fault.caught_by!r} in roles/{PLAN}/recovery.py")
    assert drills.mainstay("list").returncode == 45


@FULL
def test_a_backup_that_is_yet_to_come_is_no_proof(drills: Drills) -> None:
    """This machine's clock is hours behind, or the host's ahead."""
    done = drills.mainstay("run", PLAN, after="-3 hours")
    report = min(drills.reports(), key=lambda one: one.begun)
    assert done.returncode in (41, 43), done.stdout + done.stderr
    assert "yet to come" in report.why or "not yet valid" in report.why
    assert report.made == ()


@pytest.fixture
def snapshots(drills: Drills) -> Iterator[tuple[str, str]]:
    """The newest backup and the one before; the repository is as it was when the test has ended."""
    root = drills.saved.root
    drills.saved.save_more("newer", 1)
    made = [one for one in drills.saved.entries() if one["kind"] == "backup" and one["snapshot"]]
    before, newest = (one["snapshot"] for one in made[-2:])
    root("vault-1", f"rm -rf /root/kept; cp -a {REPOSITORY_OF_IT} /root/kept")
    yield newest, before
    root("vault-1", f"rm -rf {REPOSITORY_OF_IT}; cp -a /root/kept {REPOSITORY_OF_IT}")
    root(HOST, "rm /srv/release/public/newer")


@FULL
@pytest.mark.parametrize(
    "how", ["rm -f ", "truncate -s 100 ", "printf abc | dd conv=notrunc of="], ids=["gone", "cut", "damaged"]
)
def test_a_newest_backup_that_is_not_there_fails_and_an_older_one_is_a_fallback(
    drills: Drills, snapshots: tuple[str, str], how: str
) -> None:
    newest, before = snapshots
    file = f"{REPOSITORY_OF_IT}/snapshots/{newest}"
    drills.saved.root("vault-1", f"chmod u+w {file}; {how}{file}")
    report = drills.run()
    assert ended(report) == ("failed", "plan")
    assert newest[:8] in report.why
    assert report.made == ()
    report = drills.run(Hearing({"host": no_further}), fallback=True)
    assert report.source
    assert (report.source.original, report.source.behind) == (before, 1)
    assert report.reservations == ("an older backup was restored: 1 newer one cannot be had",)
    # What a drill's host does then, on another that restores as it does.
    back = drills.saved.agent("restore", PLAN, "--to", "/root/back", "--snapshot", report.source.snapshot, "--json")
    drills.saved.root(HOST, "rm -rf /root/back")
    assert back.returncode == 0, back.stdout + back.stderr


@FULL
def test_a_newest_backup_whose_data_is_lost_fails_and_an_older_one_is_a_fallback_also_when_its_host_stays(
    drills: Drills, snapshots: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot is listed, and what it lists cannot be read. What could not be destroyed is named, and swept."""
    newest, before = snapshots
    folder = REPOSITORY_OF_IT
    drills.saved.root("vault-1", f"find {folder}/data -type f -newer {folder}/snapshots/{before} -delete")
    report = drills.run()
    assert ended(report) == ("failed", "plan")
    assert newest[:8] in report.why

    def stays() -> None:
        monkeypatch.setattr(account, "GONE_S", 5)
        monkeypatch.setattr(client, "GIVE_UP_AFTER_S", 2)
        drills.fault("locked", method="DELETE", path="/instances", times=10_000)

    report = drills.run(Hearing({"destroy": stays}), fallback=True)
    assert report.outcome == "degraded"
    assert report.source
    assert (report.source.original, report.source.behind) == (before, 1)
    assert "an older backup was restored" in report.why
    assert any(line.startswith(f"host {HOST} (") for line in report.reservations)
    assert "mainstay drill sweep" in report.why
    assert {made.kind for made in report.left} >= {"host"}
    assert report.proved
    drills.mend()
    swept = drills.mainstay("sweep")
    assert swept.returncode == 0, swept.stderr
    assert drills.reports()[0].left == ()
    drills.must_be_gone()
