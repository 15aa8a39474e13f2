"""What is wrong with drills is a finding like others: in status, in metrics, to whoever is told; and a page is made."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backup import watch
from backup.data_set import Kind
from backup.drills import book
from backup.drills.overdue import WORDS
from backup.drills.report import Report
from backup.metrics import render
from backup.status import Row, as_json, exit_code
from inventories.fleet import Drills
from inventories.inventory import LoadedSite
from tests.unit.drills import failed, report
from tests.unit.ledgers import at
from tests.unit.test_metrics import samples
from tests.unit.test_status import DAY, NOW, good, look, snapshots
from tests.unit.test_watch import Stage, site, stage

__all__ = ["site", "stage"]


@pytest.fixture
def drilling(site: LoadedSite) -> LoadedSite:
    """A site that declares drills."""
    return replace(site, fleet=site.fleet.model_copy(update={"drill": Drills(domain="drill.example.org")}))


def with_drills(site: LoadedSite, *reports: Report, row: Row | None = None, fetched: bool = True) -> Row:
    for one in reports:
        book.write(site, one)
    [found] = watch._with_drills(site, [row or look(good())], at(NOW), pytest.fail, fetched=fetched)
    return found


def test_a_data_set_that_was_never_drilled_is_not_in_order(drilling: LoadedSite) -> None:
    row = with_drills(drilling)
    assert [one.kind for one in row.findings] == [Kind.NOT_DRILLED]
    assert exit_code([row]) == 31
    assert "its first backup is of 40 days ago; allowed are 7 days" in row.findings[0].what


def test_a_proof_is_in_order_and_shown_to_programs(drilling: LoadedSite) -> None:
    row = with_drills(drilling, report(NOW - 5))
    assert row.findings == ()
    assert as_json([row], at(NOW))["data_sets"][0]["last_proved"] == at(NOW - 5).isoformat()


def test_a_failed_drill_stands_among_other_findings_by_how_bad_it_is(drilling: LoadedSite) -> None:
    before = look(good(vault=snapshots(0), heard=None))
    row = with_drills(drilling, report(NOW - 9 * DAY), failed(NOW - 5), row=before)
    assert [one.kind for one in row.findings] == [Kind.GONE, Kind.DRILL_FAILED, Kind.NOT_DRILLED, Kind.SILENT]
    assert exit_code([with_drills(drilling)]) == 30


def test_what_could_not_be_fetched_is_not_known_to_be_wrong_or_over(drilling: LoadedSite) -> None:
    row = with_drills(drilling, fetched=False)
    assert row.findings == ()
    assert row.unseen == ("release-1:release drill failed", "release-1:release not drilled")
    assert with_drills(drilling, report(NOW - 9 * DAY), fetched=False).findings[0].kind == Kind.NOT_DRILLED


def test_metrics_say_how_the_last_drill_went(drilling: LoadedSite) -> None:
    found = samples(render([with_drills(drilling, report(NOW - 8), failed(NOW - 5))], at(NOW)))
    labels = 'host="release-1",plan="release"'
    assert found[f"mainstay_drill_last_proved_time_seconds{{{labels}}}"] == at(NOW - 8).timestamp()
    assert found[f"mainstay_drill_within_seconds{{{labels}}}"] == 7 * 86400
    assert found[f"mainstay_drill_rpo_seconds{{{labels}}}"] == 1500
    assert found[f"mainstay_drill_rpo_budget_seconds{{{labels}}}"] == 7200
    assert found[f"mainstay_drill_rto_seconds{{{labels}}}"] == 715.4
    assert found[f"mainstay_drill_rto_budget_seconds{{{labels}}}"] == 3600
    outcomes = {word: found[f'mainstay_drill_last_outcome{{{labels},outcome="{word}"}}'] for word in WORDS}
    assert {word for word, value in outcomes.items() if value} == {"failed"}


def test_metrics_of_one_that_was_never_drilled_and_of_a_site_without_drills(drilling: LoadedSite) -> None:
    never = {name for name in samples(render([with_drills(drilling)], at(NOW))) if "mainstay_drill" in name}
    assert never == {
        'mainstay_drill_last_proved_time_seconds{host="release-1",plan="release"}',
        'mainstay_drill_within_seconds{host="release-1",plan="release"}',
    }
    assert not [name for name in samples(render([look(good())], at(NOW))) if "mainstay_drill" in name]


def test_a_watch_tells_of_drills_and_writes_their_page(stage: Stage, drilling: LoadedSite, tmp_path: Path) -> None:
    stage.site = drilling
    row = with_drills(drilling, failed(NOW - 5), report(NOW - 8))
    assert stage.watch([row], watch.Places(tmp_path / "status"))
    assert stage.told() == [(["release-1:release drill failed"], [])]
    assert "Restore drills of s" in (tmp_path / "status/drills.html").read_text()
    assert "release-1:release: drill failed" in (tmp_path / "status/backup.html").read_text()
    assert stage.watch([with_drills(drilling, report(NOW - 1))], watch.Places(tmp_path / "status"))
    assert stage.told() == [([], ["release-1:release drill failed"])]


def test_a_page_that_cannot_be_made_keeps_nobody_from_being_told(
    stage: Stage, drilling: LoadedSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise OverflowError("date value out of range")

    monkeypatch.setattr("backup.drills.page.write", broken)
    stage.site = drilling
    assert not stage.watch([with_drills(drilling, failed(NOW - 5))], watch.Places(tmp_path / "status"))
    assert stage.said == [f"{tmp_path / 'status'}: date value out of range"]
    assert len(stage.told()) == 1


def test_a_site_without_drills_gets_no_page_of_them(stage: Stage, tmp_path: Path) -> None:
    assert stage.watch([look(good())], watch.Places(tmp_path / "status"))
    assert sorted(path.name for path in (tmp_path / "status").iterdir()) == ["backup.html", "backup.json"]
