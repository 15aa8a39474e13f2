"""A drill that was killed at any moment: what it left goes with the next sweep or drill, and its report says so."""

from collections.abc import Iterator

import pytest

from backup.drills import book
from backup.drills.steps import StepFailed
from backup.drills.sweeping import RUNNING
from tests.drilling import Drills, Hearing, drills_of
from tests.saved_site import PLAN, Saved, saved_site
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
FULL = pytest.mark.full


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    yield from saved_site(tmp_path_factory.mktemp("drills"))


@pytest.fixture(scope="module")
def drills(saved: Saved) -> Iterator[Drills]:
    with pytest.MonkeyPatch.context() as patch:
        yield drills_of(saved, patch)


def must_be_abandoned(drills: Drills, phase: str) -> None:
    newest = drills.reports()[0]
    assert (newest.outcome, newest.phase) == ("abandoned", phase)
    assert newest.why == f"its process died in the phase {phase!r}"
    assert newest.ended
    assert newest.left == ()
    assert not newest.proved
    assert not (book.folder(drills.site) / newest.id / RUNNING).exists()
    drills.must_be_gone()


@pytest.mark.parametrize(
    ("point", "phase"),
    [
        ("after POST /instances", "host"),
        pytest.param("begun pyinfra", "deploy", marks=FULL),
        pytest.param("phase plan", "plan", marks=FULL),
        pytest.param("phase host", "host", marks=FULL),
        pytest.param("after POST /firewalls", "host", marks=FULL),
        pytest.param("after POST /domains", "host", marks=FULL),
        pytest.param("before make", "host", marks=FULL),
        pytest.param("before scrub", "host", marks=FULL),
        pytest.param("after POST /blocks", "host", marks=FULL),
        pytest.param("after POST /blocks/ID/attach", "host", marks=FULL),
        pytest.param("phase restore", "restore", marks=FULL),
        pytest.param("begun restore", "restore", marks=FULL),
        pytest.param("phase start", "start", marks=FULL),
        pytest.param("phase checks", "checks", marks=FULL),
        pytest.param("in checks", "checks", marks=FULL),
        pytest.param("phase report", "report", marks=FULL),
        pytest.param("phase destroy", "destroy", marks=FULL),
        pytest.param("after DELETE /instances/ID", "destroy", marks=FULL),
    ],
)
def test_what_a_killed_drill_left_is_swept_and_its_report_says_where_it_died(
    drills: Drills, point: str, phase: str
) -> None:
    killed = drills.mainstay("run", PLAN, point=point)
    assert killed.returncode == -9, killed.stdout + killed.stderr
    before = drills.reports()[0]
    assert (before.phase, before.ended) == (phase, None)
    swept = drills.mainstay("sweep")
    assert swept.returncode == 0, swept.stdout + swept.stderr
    must_be_abandoned(drills, phase)


@FULL
def test_the_next_drill_removes_what_a_dead_one_left_before_it_makes_anything(drills: Drills) -> None:
    assert drills.mainstay("run", PLAN, point="after POST /blocks/ID/attach").returncode == -9
    died = drills.reports()[0]
    assert drills.things()

    def no_further() -> None:
        drills.must_be_gone()
        raise StepFailed("far enough")

    done = drills.run(Hearing({"host": no_further}))
    assert done.why == "host: far enough"
    assert "left by a dead drill, and gone now: host release-1" in done.phases[0].told
    dead = drills.reports()[1]
    assert (dead.id, dead.outcome, dead.phase) == (died.id, "abandoned", "host")
    drills.must_be_gone()


@FULL
def test_another_machine_removes_it_when_its_time_is_over_and_not_before(drills: Drills) -> None:
    assert drills.mainstay("run", PLAN, point="after POST /blocks/ID/attach").returncode == -9
    drill = drills.reports()[0].id
    for path in (book.folder(drills.site) / drill).iterdir():
        path.unlink()
    young = drills.mainstay("sweep", after="+350 minutes")
    assert (young.returncode, young.stdout) == (0, "nothing to remove\n")
    assert f"host release-1 of drill {drill} stays until" in young.stderr
    assert drills.things()
    old = drills.mainstay("sweep", after="+370 minutes")
    assert old.returncode == 0, old.stderr
    drills.must_be_gone()
    again = drills.mainstay("sweep", after="+370 minutes")
    assert (again.returncode, again.stdout) == (0, "nothing to remove\n")


@FULL
@pytest.mark.parametrize("phase", ["host", "deploy", "restore", "checks"])
def test_one_that_is_asked_to_end_destroys_what_it_made_first(drills: Drills, phase: str) -> None:
    before = {report.id for report in drills.reports()}

    def is_there() -> bool:
        fresh = [report for report in drills.reports() if report.id not in before]
        return bool(fresh) and fresh[0].phase == phase

    with drills.begin("run", PLAN) as running:
        until(f"it is in its phase {phase}", is_there, timeout_s=400, every_s=0.1)  # a phase may last a second
        running.terminate()
        out, err = running.communicate(timeout=300)
    assert running.returncode == 44, out + err
    newest = drills.reports()[0]
    assert (newest.outcome, newest.phase) == ("abandoned", phase)
    assert newest.left == ()
    drills.must_be_gone()
