"""`mainstay drill list`, `show` and `report`: what they print, and how they end."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from backup.drills import book
from backup.drills.report import Report
from backup.ledger import append
from backup.watch import channels
from cli.drill import app, reporting
from cloud.converge import REPOSITORY
from inventories.errors import InputError
from inventories.inventory import LoadedSite, load_site
from tests.unit.drills import DATA_SET, failed, report
from tests.unit.ledgers import NOON, entry

SITE = """
[site]
name = "s"
domain = "example.org"
files = "{files}"
[hosts]
release-1 = {{ role = "release", plan = "p", region = "ams" }}
vault-1 = {{ role = "vault", plan = "p", region = "ams", dns = ["v.example.org"] }}
[drill]
domain = "drill.example.org"
[settings.base.mail]
admin = "admin@example.org"
smarthost = "smtp.example.org"
sender = "host@example.org"
"""


@cache
def begun() -> float:
    """When the test began, as hours are counted."""
    return (datetime.now(UTC) - NOON).total_seconds() / 3600


@pytest.fixture(autouse=True)
def each_begins_anew() -> None:
    begun.cache_clear()


def hours(ago: float) -> float:
    """So long before that."""
    return begun() - ago


@pytest.fixture
def site(tmp_path: Path) -> LoadedSite:
    """A site with a backup of yesterday, whose record and reports lie on this machine."""
    path = tmp_path / "s.toml"
    path.write_text(SITE.format(files=tmp_path))
    append(tmp_path / "ledgers/release-1/release.jsonl", entry(hours(24)))
    return load_site(path)


def put(site: LoadedSite, *reports: Report) -> None:
    for one in reports:
        book.write(site, one)


def given(site: LoadedSite, *words: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [words[0], "--inventory", str(site.path), *words[1:]])


def ok(site: LoadedSite, *words: str, code: int = 0) -> str:
    done = given(site, *words)
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout


def test_a_list_of_what_is_proved(site: LoadedSite) -> None:
    put(site, report(hours(3)), report(hours(30), rto_seconds=1430.8))
    text = ok(site, "list")
    assert "release-1:release  3 h ago      passed 3 h ago  25 min of 2 h  11 min 55 s of 1 h  █▅" in text
    assert "in 7 days  ok" in text
    assert text.endswith("every backup is proved\n")


def test_a_list_ends_with_45_and_what_to_do_when_one_is_not(site: LoadedSite) -> None:
    put(site, report(hours(9)), failed(hours(3)))
    text = ok(site, "list", code=45)
    assert "drill failed: release-1:release: the drill of 3 h ago ended as `failed`" in text
    assert "docs/runbooks/verification-failed.md" in text
    assert ok(site, "list", DATA_SET, code=45)


def test_a_first_backup_of_yesterday_has_time_to_be_drilled(site: LoadedSite) -> None:
    assert "never" in ok(site, "list")


def test_one_that_was_never_drilled_is_overdue_from_its_first_backup_on(site: LoadedSite, tmp_path: Path) -> None:
    (tmp_path / "ledgers/release-1/release.jsonl").unlink()
    append(tmp_path / "ledgers/release-1/release.jsonl", entry(hours(24 * 8)))
    text = ok(site, "list", code=45)
    assert (
        "not drilled: release-1:release: it was not proved that its backup can be restored: no drill ever did" in text
    )


def test_a_list_for_programs(site: LoadedSite) -> None:
    put(site, report(hours(3)), failed(hours(1)))
    told = json.loads(ok(site, "list", "--json", code=45))
    [one] = told["data_sets"]
    assert told["exit_code"] == 45
    assert (one["data_set"], one["proved_by"]) == (DATA_SET, report(hours(3)).id)
    assert (one["rpo_seconds"], one["rpo_budget_s"], one["rto_seconds"], one["rto_budget_s"]) == (
        1500,
        7200,
        715.4,
        3600,
    )
    assert one["last"]["outcome"] == "failed"
    assert [finding["kind"] for finding in one["findings"]] == ["drill failed"]


def test_a_report_that_is_damaged_is_told_and_hides_no_other(site: LoadedSite) -> None:
    put(site, report(hours(3)), report(hours(1)))
    (book.folder(site) / report(hours(1)).id / "report.json").write_text("{")
    done = given(site, "list")
    assert done.exit_code == 0
    assert "is damaged" in done.stderr
    assert "passed 3 h ago" in done.stdout


def test_a_drill_is_shown_by_id_by_data_set_and_the_newest(site: LoadedSite) -> None:
    put(site, report(hours(3)), failed(hours(30)), report(hours(40), id="whole", data_set="site"))
    newest, older = f"drill {report(hours(3)).id}: passed", f"drill {failed(hours(30)).id}: failed"
    assert newest in ok(site, "show")
    assert newest in ok(site, "show", DATA_SET)
    assert "drill whole: passed" in ok(site, "show", "site")
    assert older in ok(site, "show", failed(hours(30)).id)
    assert Report.model_validate_json(ok(site, "show", "--json")) == report(hours(3))


@pytest.mark.parametrize(
    ("words", "why"), [(["web-1:web"], "no drill of it"), (["2001"], "no such drill"), ([], "no d")]
)
def test_what_is_not_known_is_bad_input(site: LoadedSite, words: list[str], why: str) -> None:
    done = given(site, "show", *words)
    assert isinstance(done.exception, InputError)
    assert why in str(done.exception)


def test_a_site_without_drills_says_so(site: LoadedSite) -> None:
    site.path.write_text(site.path.read_text().replace('[drill]\ndomain = "drill.example.org"\n', ""))
    done = given(site, "list")
    assert isinstance(done.exception, InputError)
    assert "this site has no drills" in str(done.exception)


def test_a_report_as_a_page_for_programs_and_in_short(site: LoadedSite, tmp_path: Path) -> None:
    put(site, report(hours(3)))
    page, data = tmp_path / "out/drills.html", tmp_path / "drills.json"
    assert ok(site, "report", "--html", str(page), "--json", str(data)) == ""
    assert "Restore drills of s" in page.read_text()
    told = json.loads(data.read_text())
    assert told["data_sets"][0]["data_set"] == DATA_SET
    assert [Report.model_validate(one) for one in told["reports"]] == [report(hours(3))]
    assert "last proved: 3 h ago" in ok(site, "report")


@pytest.fixture
def sendmail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a program in the place of the machine's puts what it is given."""
    sent, program = tmp_path / "sent", tmp_path / "sendmail"
    program.write_text(f"#!/bin/sh\ncat >{sent}\n")
    program.chmod(0o755)
    monkeypatch.setattr(reporting, "channels", lambda site: replace(channels(site), sendmail=str(program)))
    return sent


def test_a_report_by_mail(site: LoadedSite, sendmail: Path) -> None:
    put(site, report(hours(9)), failed(hours(3)))
    ok(site, "report", "--mail")
    mail = message_from_bytes(sendmail.read_bytes(), policy=default)
    assert mail["To"] == "admin@example.org"
    assert mail["Subject"] == "[s] restore drills: 1 finding, 1 critical"
    body = mail.get_body()
    assert body
    assert "drill failed: release-1:release" in body.get_content()


def test_mail_that_is_not_taken_is_a_failure(site: LoadedSite, sendmail: Path, tmp_path: Path) -> None:
    (tmp_path / "sendmail").write_text("#!/bin/sh\necho no room >&2; exit 75\n")
    done = given(site, "report", "--mail")
    assert done.exit_code == 1
    assert "exited 75: no room" in done.stderr


def test_without_an_address_nothing_is_sent(site: LoadedSite) -> None:
    site.path.write_text(site.path.read_text().split("[settings.base.mail]")[0])
    done = given(site, "report", "--mail")
    assert isinstance(done.exception, InputError)
    assert "settings.base.mail" in str(done.exception)


def test_the_docs_have_every_command_and_every_option_of_run() -> None:
    group: Any = get_command(app)
    commands = {name: group.get_command(None, name) for name in group.list_commands(None)}
    table = (REPOSITORY / "README.md").read_text().split("| `mainstay drill ...` | does |")[1].split("\n\n")[0]
    assert [name for name in commands if f"| `{name}" not in table] == []
    text = (REPOSITORY / "docs/drills.md").read_text().split("| option of `run` | what |")[1].split("\n\n")[0]
    options = [option.opts[0] for option in commands["run"].params if option.opts[0].startswith("--")]
    assert [option for option in options if f"`{option}" not in text] == []
