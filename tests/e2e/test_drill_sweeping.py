"""Which drills live, and what a sweep removes and writes down: of the dead all, of others nothing before their time."""

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup.drills import account, book, sweeping
from backup.drills.report import Made, Report
from backup.drills.sweeping import RUNNING
from inventories.errors import InputError
from inventories.inventory import KEPT_DRILLS, LoadedSite
from tests.unit.drill_site import Cloud, drill_cloud
from tests.unit.drills import report

HOLD = """
import sys
from pathlib import Path
from backup.drills import sweeping
with sweeping.alive(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
NOW = datetime.now(UTC)


@dataclass
class Drill:
    """One that has made a thing of each kind."""

    cloud: Cloud
    report: Report

    @property
    def folder(self) -> Path:
        return book.folder(self.cloud.site) / self.report.id

    @property
    def site(self) -> str:
        return account.site_name(self.report.id, self.report.expires)

    def written(self) -> Report:
        return book.find(book.folder(self.cloud.site), self.report.id, pytest.fail)

    def exists(self) -> bool:
        return any(thing.site == self.site for thing in self.cloud.look())


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    monkeypatch.setattr(account, "SETTLE_S", 0.1)
    with drill_cloud(tmp_path) as made:
        yield made


def drill(
    cloud: Cloud, name: str = "261126-1403-aaaa", *, hours: float = 5, here: bool = True, **known: object
) -> Drill:
    """here: it ran on this machine, and is not done with; known: of its report."""
    expires = (datetime.now(UTC) + timedelta(hours=hours)).replace(second=0, microsecond=0)
    running = {"ended": None, "outcome": None, "phase": "deploy", "made": ()}
    made = Drill(cloud, report(0, id=name, expires=expires, **(running | known)))
    book.write(cloud.site, made.report)
    if here:
        (made.folder / RUNNING).touch()
    cloud.make(made.site)
    return made


@contextmanager
def process(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A drill's process."""
    words = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        assert running.stdout.readline() == "held\n"
        yield running
        running.kill()


def sweep(site: LoadedSite, *names: str) -> sweeping.Swept:
    return sweeping.sweep(site, names, lambda _: None)


def test_a_drill_lives_until_its_process_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    assert not sweeping.lives(folder)
    with process(folder) as running:
        assert (sweeping.lives(folder), sweeping.dead(folder)) == (True, False)
        running.kill()
        running.wait()
    assert (sweeping.lives(folder), sweeping.dead(folder)) == (False, True)
    sweeping.done_with(folder)
    assert (sweeping.lives(folder), sweeping.dead(folder)) == (False, False)


def test_one_that_is_done_with_while_it_is_looked_at_is_not_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sweeping.alive(tmp_path):
        pass
    flock = fcntl.flock

    def late(*given: int) -> None:
        flock(*given)
        sweeping.done_with(tmp_path)

    monkeypatch.setattr(fcntl, "flock", late)
    assert not sweeping.dead(tmp_path)


def test_what_a_dead_drill_of_this_machine_left_goes_at_once_and_its_report_ends(cloud: Cloud) -> None:
    dead = drill(cloud)
    swept = sweep(cloud.site)
    assert not dead.exists()
    assert (len(swept.gone), swept.left, swept.others) == (5, (), ())
    written = dead.written()
    assert (written.outcome, written.phase, written.why) == (
        "abandoned",
        "deploy",
        "its process died in the phase 'deploy'",
    )
    assert written.ended
    assert {made.kind for made in written.made} == {"host", "volume", "network", "firewall", "zone"}
    assert written.left == ()
    assert not (dead.folder / RUNNING).exists()
    assert sweep(cloud.site).gone == ()
    assert dead.written() == written


def test_one_that_made_nothing_yet_ends_too(cloud: Cloud) -> None:
    book.write(cloud.site, report(0, id="d", ended=None, outcome=None, phase="plan", made=()))
    (book.folder(cloud.site) / "d" / RUNNING).touch()
    assert sweep(cloud.site).gone == ()
    written = book.find(book.folder(cloud.site), "d", pytest.fail)
    assert (written.outcome, written.phase) == ("abandoned", "plan")


def test_what_comes_after_its_process_died_goes_too(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "SETTLE_S", 1)
    dead = Drill(cloud, report(0, id="261126-1403-aaaa", expires=NOW.replace(second=0, microsecond=0), ended=None))
    book.write(cloud.site, dead.report)
    (dead.folder / RUNNING).touch()
    look, looks = account.look, iter(range(100))

    def late(*given: object) -> list[account.Thing]:
        if next(looks) == 2:
            cloud.make(dead.site)
        return look(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(account, "look", late)
    assert len(sweep(cloud.site).gone) == 5
    assert not dead.exists()


@pytest.mark.parametrize("hours", [5, -1], ids=["in time", "late"])
def test_a_drill_that_lives_is_left_alone_even_after_its_time(cloud: Cloud, hours: float) -> None:
    one = drill(cloud, hours=hours)
    with process(one.folder):
        assert sweep(cloud.site).gone == ()
        assert one.exists()
        with pytest.raises(InputError, match="runs on this machine"):
            sweep(cloud.site, one.report.id)
    assert one.written() == one.report


def test_another_machines_goes_when_its_time_is_over_and_not_before(cloud: Cloud) -> None:
    young, old = drill(cloud, "261126-1403-aaaa", here=False), drill(cloud, "261126-1403-bbbb", hours=-1, here=False)
    for path in book.folder(cloud.site).glob("*/*"):
        path.unlink()
    swept = sweep(cloud.site)
    assert (young.exists(), old.exists()) == (True, False)
    assert {made.site for made in swept.gone} == {old.site}
    assert {thing.site for thing in swept.others} == {young.site}


def test_a_report_that_was_fetched_while_its_drill_ran_elsewhere_is_no_dead_drill(cloud: Cloud) -> None:
    elsewhere = drill(cloud, here=False)
    assert sweep(cloud.site).gone == ()
    assert elsewhere.exists()
    assert elsewhere.written() == elsewhere.report


def test_one_that_is_named_goes_wherever_it_ran(cloud: Cloud) -> None:
    one, other = drill(cloud, "261126-1403-aaaa", here=False), drill(cloud, "261126-1403-bbbb", here=False)
    sweep(cloud.site, one.report.id)
    assert (one.exists(), other.exists()) == (False, True)


def kept(cloud: Cloud, hours: float) -> Drill:
    made = Made(kind="host", name="release-1", id="long gone", site="x")
    one = drill(cloud, hours=hours, here=False, ended=NOW, outcome="passed", phase="", made=(made,))
    (book.folder(cloud.site).with_name(KEPT_DRILLS) / one.report.id).mkdir(parents=True)
    return one


def test_one_that_is_kept_stays_until_its_time_is_over(cloud: Cloud) -> None:
    one = kept(cloud, hours=5)
    assert sweep(cloud.site).gone == ()
    assert one.exists()


@pytest.mark.parametrize(("hours", "named"), [(-1, False), (5, True)], ids=["over", "named"])
def test_the_end_of_one_that_was_kept_is_written_down(cloud: Cloud, hours: float, named: bool) -> None:
    one = kept(cloud, hours)
    sweep(cloud.site, *[one.report.id] * named)
    assert not one.exists()
    written = one.written()
    assert (written.outcome, written.left, len(written.made)) == ("passed", (), 6)
    assert not (book.folder(cloud.site).with_name(KEPT_DRILLS) / one.report.id).exists()


def test_what_an_ended_drill_could_not_remove_goes_with_the_next_sweep(cloud: Cloud) -> None:
    one = drill(cloud, ended=NOW, outcome="degraded", phase="", reservations=("host release-1 is still there",))
    sweep(cloud.site)
    assert not one.exists()
    assert (one.written().outcome, one.written().left) == ("degraded", ())


def test_what_cannot_be_removed_is_told_and_tried_again(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = drill(cloud)
    cloud.main.fault(kind="locked", method="DELETE", path="/instances", times=10_000)
    with monkeypatch.context() as impatient:
        impatient.setattr(account, "GONE_S", 0.5)
        impatient.setattr("cloud.client.GIVE_UP_AFTER_S", 0.2)
        swept = sweep(cloud.site)
    assert any(line.startswith("host release-1 (") for line in swept.left)
    written = dead.written()
    assert written.outcome == "abandoned"
    assert "host" in {made.kind for made in written.left}
    assert any("host release-1" in line for line in written.reservations)
    assert cloud.main.raw("DELETE", "/lab/faults").ok
    assert sweep(cloud.site).left == ()
    assert not dead.exists()
    assert dead.written().left == ()


def test_a_drill_that_ends_meanwhile_keeps_its_end(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process was there when the sweep began, and is not when it looks again."""
    one = drill(cloud)
    ended = one.report.model_copy(update={"ended": NOW, "outcome": "passed", "phase": ""})
    look = account.look

    with sweeping.alive(one.folder):

        def meanwhile(*given: object) -> list[account.Thing]:
            book.write(cloud.site, ended)
            sweeping.done_with(one.folder)
            return look(*given)  # type: ignore[arg-type]

        monkeypatch.setattr(account, "look", meanwhile)
        sweep(cloud.site)
    assert one.written() == ended
