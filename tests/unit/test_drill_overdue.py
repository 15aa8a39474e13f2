"""Who is not drilled is told until somebody is, and a drill that went wrong until a newer one goes well."""

from typing import Any

import pytest

from backup.data_set import Kind
from backup.drills.glance import drilled, glance, wanted
from backup.drills.overdue import WORDS, Wanted, word
from backup.drills.report import SITE, Outcome, Report
from backup.drills.told import spark
from inventories.inventory import LoadedSite
from tests.unit.drills import DATA_SET, failed, report
from tests.unit.ledgers import at
from tests.unit.test_watch import site

__all__ = ["site"]

DAY = 24.0
ASKED = Wanted(DATA_SET, 7, at(-30 * DAY), ("cut", "old"))
FAULT: dict[str, Any] = {"fault": "cut", "outcome": "failed", "phase": "checks"}


def told(*found: Report, asked: Wanted = ASKED) -> list[tuple[Kind, str]]:
    one = drilled(asked, sorted(found, key=lambda report: report.begun, reverse=True), at(0))
    assert all(finding.data_set == DATA_SET and finding.to_do for finding in one.findings)
    return [(finding.kind, finding.subject.place) for finding in one.findings]


def test_a_proof_within_the_limit_is_enough() -> None:
    assert told(report(-7 * DAY - 12)) == []
    assert told(report(-7 * DAY - 13)) == [(Kind.NOT_DRILLED, "")]
    assert told(report(-7 * DAY - 13), asked=Wanted(DATA_SET, 14, at(-30 * DAY))) == []


def test_one_that_was_never_drilled_has_time_from_its_first_backup_on() -> None:
    assert told(asked=Wanted(DATA_SET, 7, at(-6 * DAY))) == []
    assert told(asked=Wanted(DATA_SET, 7, at(-8 * DAY))) == [(Kind.NOT_DRILLED, "")]
    assert told(asked=Wanted(DATA_SET, 7, None)) == []


@pytest.mark.parametrize(
    "no_proof",
    [
        report(-1, data_set="web-1:web"),
        report(-1, **(FAULT | {"caught": True, "outcome": "passed"})),
        report(-1, ended=None, outcome=None),
    ],
    ids=["of another", "with a fault", "running"],
)
def test_what_is_no_proof_ends_no_wait(no_proof: Report) -> None:
    assert told(report(-8 * DAY), no_proof) == [(Kind.NOT_DRILLED, "")]


def test_a_degraded_drill_is_proof() -> None:
    assert told(report(-1, outcome="degraded")) == []


def test_a_date_in_the_future_proves_nothing() -> None:
    assert told(report(300 * DAY)) == [(Kind.NOT_DRILLED, "")]


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        ("failed", Kind.DRILL_FAILED),
        ("over budget", Kind.DRILL_FAILED),
        ("could not start", Kind.NOT_DRILLED),
        ("abandoned", Kind.NOT_DRILLED),
    ],
)
def test_a_last_drill_that_went_wrong_is_told_until_a_newer_one_goes_well(outcome: str, kind: Kind) -> None:
    bad = report(-2, outcome=outcome)
    assert told(report(-DAY), bad) == [(kind, "last")]
    assert told(report(-DAY), bad, report(-1, ended=None, outcome=None)) == [(kind, "last")]
    assert told(report(-DAY), bad, report(-1)) == []


def test_one_that_died_is_abandoned_once_its_time_is_over() -> None:
    assert word(report(-5, ended=None, outcome=None), at(0)) == "running"
    assert told(report(-DAY), report(-7, ended=None, outcome=None)) == [(Kind.NOT_DRILLED, "last")]


def test_a_fault_that_is_not_caught_is_told_until_it_is() -> None:
    missed = report(-3, **(FAULT | {"caught": False, "outcome": "passed"}))
    assert told(missed, report(-1)) == [(Kind.DRILL_FAILED, "cut")]
    assert told(missed, report(-2, **(FAULT | {"caught": True})), report(-1)) == []
    assert told(missed, report(-2, **(FAULT | {"caught": True, "fault": "old"})), report(-1)) == [
        (Kind.DRILL_FAILED, "cut")
    ]


def test_a_fault_that_nobody_plants_any_more_is_told_no_more() -> None:
    gone = report(-3, **(FAULT | {"caught": False, "fault": "of an older role"}))
    assert told(gone, report(-1)) == []


def test_a_drill_with_a_fault_that_could_not_start_is_over_with_any_good_one() -> None:
    stuck = report(-3, **(FAULT | {"outcome": "could not start"}))
    assert told(report(-DAY), stuck) == [(Kind.NOT_DRILLED, "cut")]
    assert told(report(-DAY), stuck, report(-1)) == []


def test_it_is_said_what_happened_and_what_to_do() -> None:
    [finding, late] = drilled(ASKED, [failed(-2), report(-9 * DAY)], at(0)).findings
    assert "the drill of 2 h ago ended as `failed` in its phase restore: the vault lists no snapshot" in finding.what
    assert f"`mainstay drill show {failed(-2).id}`" in finding.to_do
    assert "docs/runbooks/verification-failed.md" in finding.to_do
    assert "the last drill that did is of 9 days ago; allowed are 7 days" in late.what
    assert late.to_do == "`mainstay drill run release-1:release`; 2 days overdue."


def test_every_outcome_has_a_word() -> None:
    assert {one.word for one in Outcome} < set(WORDS)


def test_the_site_as_a_whole_is_shown_when_it_was_drilled_and_is_never_overdue() -> None:
    assert [one.data_set for one in glance([ASKED], [report(-1)], at(0))] == [DATA_SET]
    [_, whole] = glance([ASKED], [report(-1), report(-90 * DAY, data_set=SITE)], at(0))
    assert (whole.data_set, whole.findings, whole.due) == (SITE, (), None)
    [_, whole] = glance([ASKED], [report(-1), failed(-90 * DAY, data_set=SITE)], at(0))
    assert [one.kind for one in whole.findings] == [Kind.DRILL_FAILED]


def test_a_glance_is_of_the_drills_in_which_it_came_back() -> None:
    found = [
        report(-1, **(FAULT | {"rto_seconds": 1.0})),
        failed(-2, rto_seconds=2.0),
        report(-3, outcome="over budget", rto_seconds=3.0),
        *(report(-4 - number, rto_seconds=4.0 + number) for number in range(12)),
    ]
    one = drilled(ASKED, found, at(0))
    assert one.last == found[0]
    assert one.proved == found[3]
    assert one.measured == found[2]
    assert one.rtos == [12.0, 11.0, 10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0]
    assert one.due == at(-4 + 7 * DAY)


def test_a_spark_is_as_high_as_its_time_is_long() -> None:
    assert spark([0, 50, 100]) == "▁▅█"
    assert (spark([]), spark([0, 0])) == ("", "▁▁")


def test_what_is_asked_is_what_roles_say(site: LoadedSite) -> None:
    asked = wanted(site.fleet, {"web-1:web": at(-1)})
    assert [(one.data_set, one.since) for one in asked] == [("release-1:release", None), ("web-1:web", at(-1))]
