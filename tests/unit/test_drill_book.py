"""Reports are kept whole, found again, fetched without loss, and what is damaged hides no other."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup.data_set import Kind
from backup.drills import book
from backup.drills.overdue import of
from backup.drills.report import Made, Outcome, Report, proof
from backup.drills.schema import schema
from cloud.converge import REPOSITORY
from inventories.errors import InputError
from inventories.fleet import Fleet
from inventories.inventory import LoadedSite
from tests.unit.drills import DATA_SET, failed, report
from tests.unit.ledgers import at
from tests.unit.test_watch import site

__all__ = ["site"]


def kept(folder: Path) -> list[str]:
    said: list[str] = []
    found = [one.id for one in book.reports(folder, said.append)]
    assert said == []
    return found


def test_reports_lie_beside_the_record(site: LoadedSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert book.folder(site) == tmp_path / "drills"
    assert book.folder(LoadedSite(site.path, site.fleet, control=tmp_path)) == Path("/srv/control/drills")
    declared = {"site": {"name": "prod", "domain": "example.org"}, "hosts": {}}
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    laptop = LoadedSite(tmp_path / "prod.toml", Fleet.model_validate(declared))
    assert book.folder(laptop) == tmp_path / "mainstay/prod.drills"


def test_a_report_comes_back_as_it_was_written(site: LoadedSite) -> None:
    one = failed(0)
    path = book.write(site, one)
    assert book.reports(book.folder(site), pytest.fail) == [one]
    assert path == book.folder(site) / one.id / "report.json"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o640, 0o750)
    assert list(path.parent.iterdir()) == [path]


def test_a_drill_goes_on_in_its_own_report(site: LoadedSite) -> None:
    book.write(site, report(0, ended=None, outcome=None))
    book.write(site, report(0))
    assert book.reports(book.folder(site), pytest.fail) == [report(0)]


@pytest.mark.parametrize("name", ["../up", "", ".hidden", "a/b", "x" * 200])
def test_an_id_names_a_folder_and_nothing_else(site: LoadedSite, name: str) -> None:
    with pytest.raises(InputError, match="is no name of a folder"):
        book.write(site, report(0, id=name))
    assert not book.folder(site).exists()


def test_the_newest_comes_first(site: LoadedSite) -> None:
    for hour in (-5, -1, -3):
        book.write(site, report(hour))
    assert kept(book.folder(site)) == [report(-1).id, report(-3).id, report(-5).id]


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        ("{", "is damaged"),
        (json.dumps({"schema_version": 2, "id": "new"}), "is of schema 2: update this clone"),
        (report(0).model_dump_json().replace('"release-1:release"', "7"), "is damaged: data_set"),
        (report(0).model_dump_json().replace("715.4", "NaN"), "is damaged: rto_seconds"),
        ("[]", "is damaged"),
        (report(-9).model_dump_json(), "it is the report of another drill"),
    ],
)
def test_what_cannot_be_read_is_told_and_the_others_are(site: LoadedSite, harm: str, why: str) -> None:
    book.write(site, report(-1))
    book.write(site, report(0)).write_text(harm)
    said: list[str] = []
    assert [one.id for one in book.reports(book.folder(site), said.append)] == [report(-1).id]
    [told] = said
    assert why in told
    assert str(book.folder(site) / report(0).id) in told


def test_a_time_without_its_zone_is_damage(site: LoadedSite) -> None:
    path = book.write(site, report(0))
    path.write_text(path.read_text().replace("Z", "").replace("+00:00", ""))
    said: list[str] = []
    assert book.reports(book.folder(site), said.append) == []
    assert "begun" in said[0]


def test_no_report_is_no_error(tmp_path: Path) -> None:
    assert kept(tmp_path / "none") == []


def test_a_drill_is_found_by_the_begin_of_its_id(site: LoadedSite) -> None:
    for hour in (-24, -1):
        book.write(site, report(hour))
    there = book.folder(site)
    assert book.find(there, "20261124", pytest.fail) == report(-24)
    with pytest.raises(InputError, match="several begin so"):
        book.find(there, "202611", pytest.fail)
    with pytest.raises(InputError, match="no such drill"):
        book.find(there, "2025", pytest.fail)
    book.write(site, report(-1, id="20261124T120000-release-2"))
    assert book.find(there, report(-24).id, pytest.fail).id == report(-24).id


def test_what_proves_and_whose_turn_it_is() -> None:
    found = [
        failed(-1, turn=8),
        report(-2, fault="cut", caught=True, turn=8),
        report(-3, outcome="degraded", turn=7),
        report(-4, turn=6),
    ]
    assert proof(of(found, DATA_SET, at(0))) == found[2]
    assert proof(of(found, "web-1:web", at(0))) is None
    assert (book.turn(found, DATA_SET), book.turn(found, "web-1:web")) == (8, 0)


def test_old_reports_go_but_for_the_last_of_each_data_set(site: LoadedSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book, "KEEP_LAST", 2)
    day = 24.0
    left = Made(kind="host", name="drill-x")
    old = [report(-day * age, id=f"d{age}") for age in (399, 401, 402, 403)]
    for one in [*old, report(-day * 900, id="web", data_set="web-1:web"), report(-day * 950, id="left", made=(left,))]:
        book.write(site, one)
    assert book.tidy(book.folder(site), at(0), pytest.fail) == ["d402", "d403"]
    assert kept(book.folder(site)) == ["d399", "d401", "web", "left"]


def test_what_is_fetched_adds_and_ends_and_overwrites_nothing(site: LoadedSite, tmp_path: Path) -> None:
    there = tmp_path / "theirs"
    for one in (report(-3), report(-2), report(-1, why="changed there")):
        target = there / one.id / "report.json"
        target.parent.mkdir(parents=True)
        target.write_text(one.model_dump_json())
    (there / "bad").mkdir()
    (there / "bad/report.json").write_text("{}")
    book.write(site, report(-2, ended=None, outcome=None))
    book.write(site, report(-1, why="known here"))
    book.write(site, report(0))
    said: list[str] = []
    book.take(book.folder(site), there, said.append)
    found = book.reports(book.folder(site), pytest.fail)
    assert found == [report(0), report(-1, why="known here"), report(-2), report(-3)]
    assert len(said) == 1


def test_the_published_schema_is_that_of_the_reports() -> None:
    kept_schema = (REPOSITORY / "docs/drill-report.schema.json").read_text()
    assert kept_schema == schema(), "python -m backup.drills.schema >docs/drill-report.schema.json"


def test_times_are_kept_with_their_zone(site: LoadedSite) -> None:
    path = book.write(site, report(0))
    begun = json.loads(path.read_text())["begun"]
    assert datetime.fromisoformat(begun) == at(0).astimezone(UTC)


def test_the_docs_list_every_outcome_and_finding() -> None:
    text = (REPOSITORY / "docs/drills.md").read_text()
    assert [one.word for one in Outcome if f"| `{one.word}` | {one.code} |" not in text] == []
    for kind in (Kind.DRILL_FAILED, Kind.NOT_DRILLED):
        assert f"| `{kind.word}` ({kind.severity}) | {kind.exit_code} |" in text
    fields = re.findall(r"`(\w+)`", text.split("| field | what |")[1])
    assert set(Report.model_fields) - {"schema_version"} <= set(fields)
