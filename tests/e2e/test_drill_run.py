"""A drill as far as it comes without a host: what it removes first, refuses, writes down, and leaves."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backup.drills import account, book, choosing, own_site, run, sweeping
from backup.drills.choosing import Chosen, NothingToRestore
from backup.drills.course import Order
from backup.drills.report import Report
from inventories.errors import InputError
from tests.drilling import Hearing
from tests.unit.drill_site import DATA, Cloud, drill_cloud
from tests.unit.drills import report
from tests.unit.ledgers import identity, snapshot

FAULTS = [fault.name for fault in own_site.drill_of(DATA.plan).faults]


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    monkeypatch.setattr(account, "SETTLE_S", 0.1)
    with drill_cloud(tmp_path, hosts=1) as made:
        yield made


def choose(monkeypatch: pytest.MonkeyPatch, error: Exception | None = None, **changes: Any) -> None:
    """What is chosen in the plan, or why nothing is."""
    known: dict[str, Any] = {
        "store": "vault",
        "snapshot": snapshot(0),
        "behind": 0,
        "should_be": identity(0),
        "saved": (),
        "wanted": (),
        "part": 1,
        "parts": 1,
        "newest_saved": None,
        "budget": timedelta(hours=2),
    }

    @contextmanager
    def chosen(*_: Any) -> Iterator[Chosen]:
        if error:
            raise error
        yield Chosen(**(known | changes))

    monkeypatch.setattr(choosing, "chosen", chosen)


def drill(cloud: Cloud, hear: Hearing | None = None, **order: Any) -> Report:
    done = run.run(cloud.site, Order(DATA, **order), hear or Hearing())
    assert book.find(book.folder(cloud.site), done.id, pytest.fail) == done
    return done


def test_what_has_nothing_to_restore_ends_in_its_plan_and_makes_nothing(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(monkeypatch, NothingToRestore("the vault holds no complete backup of release-1:release"))
    done = drill(cloud)
    assert (done.outcome, done.phase) == ("failed", "plan")
    assert done.why == "plan: the vault holds no complete backup of release-1:release"
    assert [(phase.name, phase.ok) for phase in done.phases] == [("plan", False)]
    assert (done.made, done.cost_usd, done.ended is None) == ((), 0, False)
    assert not (book.folder(cloud.site) / done.id / sweeping.RUNNING).exists()
    assert cloud.look() == []


def test_one_that_is_more_than_allowed_could_not_start(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(monkeypatch)
    other = account.site_name("261126-1404-bbbb", datetime.now(UTC) + timedelta(hours=5))
    cloud.make(other)
    done = drill(cloud)
    assert (done.outcome, done.phase) == ("could not start", "plan")
    assert "drill.hosts" in done.why
    assert {thing.site for thing in cloud.look()} == {other}


def test_what_a_dead_drill_left_goes_first_and_counts_no_more(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(monkeypatch)
    expires = (datetime.now(UTC) + timedelta(hours=5)).replace(second=0, microsecond=0)
    dead = report(0, id="261126-1404-bbbb", expires=expires, ended=None, outcome=None, phase="deploy", made=())
    book.write(cloud.site, dead)
    (book.folder(cloud.site) / dead.id / sweeping.RUNNING).touch()
    cloud.make(account.site_name(dead.id, dead.expires))

    def enough() -> None:
        raise NothingToRestore("far enough")

    done = drill(cloud, Hearing({"host": enough}))
    assert done.phase == "host"
    assert "left by a dead drill, and gone now: host release-1" in done.phases[0].told
    assert book.find(book.folder(cloud.site), dead.id, pytest.fail).outcome == "abandoned"
    assert cloud.look() == []


def test_full_is_asked_about_before_anything_is_made(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(monkeypatch)
    monkeypatch.setattr(Hearing, "agree", lambda *_: False)
    done = drill(cloud, full=True)
    assert (done.outcome, done.phase) == ("could not start", "plan")
    assert "not agreed to" in done.why


def test_one_that_is_ended_says_so_and_is_looked_after_again(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(monkeypatch)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drill(cloud, Hearing({"host": interrupt}))
    (done,) = book.reports(book.folder(cloud.site), pytest.fail)
    assert (done.outcome, done.phase, done.why) == ("abandoned", "host", "it was ended in the phase 'host'")
    assert done.phases[-1].name == "destroy"
    assert sweeping.dead(book.folder(cloud.site) / done.id)
    sweeping.sweep(cloud.site, (), lambda _: None)
    assert not sweeping.dead(book.folder(cloud.site) / done.id)
    assert book.find(book.folder(cloud.site), done.id, pytest.fail).outcome == "abandoned"


@pytest.mark.parametrize(
    ("earlier", "expected"),
    [
        ([], FAULTS[0]),
        ([FAULTS[0]], FAULTS[1]),
        ([FAULTS[3], "", FAULTS[0], FAULTS[1]], FAULTS[4]),
        ([FAULTS[-1]], FAULTS[0]),
        (["one of another time", FAULTS[2]], FAULTS[3]),
    ],
    ids=["none", "first", "newest counts", "last", "unknown"],
)
def test_faults_take_turns_however_many_reports_are_kept(cloud: Cloud, earlier: list[str], expected: str) -> None:
    for age, fault in enumerate(earlier):
        book.write(cloud.site, report(-age, fault=fault, caught=bool(fault)))
    book.write(cloud.site, report(1, fault=FAULTS[5], data_set="web-1:web"))
    assert run.with_fault(cloud.site, Order(DATA), pytest.fail).fault == expected


def test_a_fault_that_there_is_none_of_is_refused_before_anything_is_written(cloud: Cloud) -> None:
    with pytest.raises(InputError, match=r"(?s)no such fault.*missing file"):
        run.run(cloud.site, Order(DATA, fault="none"), Hearing())
    assert book.reports(book.folder(cloud.site), pytest.fail) == []
