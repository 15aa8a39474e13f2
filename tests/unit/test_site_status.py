"""A whole site put together: what is first, exit codes, sources that fail or hang, and what hosts may say."""

import json
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import html5lib
import pytest
from rich.console import Console
from typer.testing import CliRunner

from backup.data_set import Finding as OfBackup
from backup.data_set import Kind
from backup.reach import Unreachable
from backup.store import COPY, VAULT
from cli.main import app
from inventories import departed
from inventories.departed import Departed
from inventories.errors import InputError
from inventories.inventory import LoadedSite, load_site
from inventories.lock import Lock, LockedHost, save
from roles.release.archive import Offer
from roles.release.tools.standing import Standing, Whole
from status import backups, control, hosts, page, people, releases, site, website
from status.text import show, shown
from status.told import Finding, Row, Seen, Severity, Source, Table, critical, of_backup, unseen, warning
from tests.unit.ledgers import at
from tests.unit.test_status import DAY, NOW, good, look, snapshots
from tests.unit.test_status_page import Seen as Read

HOSTILE = "<script>alert(1)</script>\x1b[2J"


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedSite:
    return site_of(tmp_path)


def site_of(tmp_path: Path) -> LoadedSite:
    """A site of two hosts, of which nothing is provisioned."""
    declared = '[hosts.web-{}]\nrole = "base"\nplan = "p"\nregion = "ams"\n'
    path = tmp_path / "site.toml"
    path.write_text('[site]\nname = "site"\ndomain = "example.org"\n' + declared.format(1) + declared.format(2))
    (tmp_path / "site").mkdir()
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7f0bkqTHzL6xJ3VfVmOaKkZ2dXG8t3rDkV0mJr9Q2x"
    (tmp_path / "site/admins.toml").write_text(f'[admins.alice]\nssh_keys = ["{key}"]\n')
    return load_site(path)


def source(name: str, seen: "Seen | Exception | Callable[[], Seen]", *, there: bool = True) -> Source:
    def look_(*_: object) -> Seen:
        if isinstance(seen, Exception):
            raise seen
        return seen() if callable(seen) else seen

    return Source(name, name.title(), f"mainstay {name}", lambda _: there, look_)


def put(loaded: LoadedSite, *sources: Source) -> site.Whole:
    return site.look(loaded, sources)


def abouts(whole: site.Whole) -> list[str]:
    return [one.about for _, one in whole.findings]


def test_what_is_not_seen_is_first_then_what_is_critical_and_equals_go_by_their_source(loaded: LoadedSite) -> None:
    late = of_backup(OfBackup(Kind.LATE, "web-1", "web", "late", "Run it."))
    whole = put(
        loaded,
        source("one", Seen([warning("w1", "k", "", ""), critical("c1", "k", "", "")])),
        source("two", Seen([late, warning("w2", "k", "", ""), unseen("u2", "", "")])),
    )
    assert abouts(whole) == ["u2", "c1", "web-1:web", "w1", "w2"]
    assert whole.verdict == "5 things need a person: 1 not seen, 2 critical"
    assert [name for name, _ in whole.findings] == ["two", "one", "two", "one", "two"]


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([], 0),
        ([warning("a", "k", "", "")], 1),
        ([warning("a", "k", "", ""), of_backup(OfBackup(Kind.LATE, "a", "b", "", ""))], 14),
        ([of_backup(OfBackup(Kind.LATE, "a", "b", "", "")), unseen("a", "", "")], 3),
    ],
)
def test_the_exit_code_is_that_of_the_worst_finding(loaded: LoadedSite, found: list[Finding], code: int) -> None:
    whole = put(loaded, source("one", Seen(found)))
    assert (whole.exit_code, site.as_json(whole)["exit_code"]) == (code, code)


def test_a_source_that_fails_is_a_loud_line_and_the_others_are_shown(loaded: LoadedSite) -> None:
    whole = put(
        loaded,
        source("down", Unreachable("control-1: no route")),
        source("mine", InputError("x.toml", "field", "is missing", "put it there")),
        source("odd", KeyError("surprise")),
        source("well", Seen(tables=[Table("t", "T", ("name", "state"), [Row("row", [("ok", "ok")], {"a": 1})])])),
        source("none", Seen([critical("never", "k", "", "")]), there=False),
    )
    told = site.as_json(whole)
    assert abouts(whole) == ["Down", "Mine", "Odd"]
    assert whole.exit_code == 3
    assert told["sources"]["down"] | {"why": ""} == {"seen": False, "why": "", "notes": [], "tables": {}}
    assert "control-1: no route" in told["sources"]["down"]["why"]
    assert told["findings"][1]["to_do"] == "put it there; `mainstay mine`"
    assert "KeyError: 'surprise'" in told["findings"][2]["what"]
    assert told["sources"]["well"]["tables"]["t"] == [{"name": "row", "a": 1}]
    assert "none" not in told["sources"]


def test_a_source_that_hangs_is_not_waited_for(loaded: LoadedSite) -> None:
    ended = Event()

    def hangs() -> Seen:
        ended.wait(30)
        return Seen()

    begun = time.monotonic()
    whole = site.look(loaded, [source("slow", hangs), source("quick", Seen())], bound_s=0.2)
    ended.set()
    assert time.monotonic() - begun < 25
    assert whole.late
    assert abouts(whole) == ["Slow"]
    assert "no answer within 0.2 s" in whole.looked[0].why


def test_runbooks_are_told_by_the_command_that_shows_them() -> None:
    told = critical("a", "k", "", "See docs/runbooks/vault-lost.md,\n then `mainstay x`.")
    assert site.to_do(told) == "See `mainstay runbook show vault-lost`, then `mainstay x`."


def hostile(loaded: LoadedSite) -> site.Whole:
    table = Table("t", "T", ("name", "a", "state"), [Row(HOSTILE, [(HOSTILE, ""), ("late", "critical")], {})])
    return put(loaded, source("one", Seen([critical(HOSTILE, "k", HOSTILE, HOSTILE)], [table], [HOSTILE])))


def test_nothing_that_a_host_says_becomes_markup_or_steers_a_terminal(loaded: LoadedSite) -> None:
    text = page.render(hostile(loaded))
    html5lib.HTMLParser(strict=True).parse(text)
    read = Read(text)
    assert not {"script", "img", "link", "iframe"} & {tag for tag, _ in read.tags}
    assert read.words.count("<script>alert(1)</script>\\x1b[2J") == 6
    console = Console(record=True, width=200, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    show(hostile(loaded), console)
    assert "\x1b[2J" not in console.export_text(styles=True)


def test_the_page_has_headings_and_tables_and_says_severity_in_words(loaded: LoadedSite) -> None:
    table = Table("t", "Things", ("name", "state"), [Row("a", [("ok", "ok")], {})])
    whole = put(loaded, source("one", Seen([unseen("h", "down", "`up`")], [table])), source("two", OSError("no")))
    text = page.render(whole)
    html5lib.HTMLParser(strict=True).parse(text)
    read = Read(text)
    assert [tag for tag, _ in read.tags if tag in ("h1", "h2", "h3")] == ["h1", "h2", "h2", "h3", "h2"]
    assert [attributes.get("scope") for tag, attributes in read.tags if tag == "th"] == ["col", "col", "row"]
    assert "h: not seen (not seen)" in read.words
    assert "Not seen: no" in read.words


def test_hosts_that_do_not_answer_and_such_that_are_not_provisioned_are_told(loaded: LoadedSite) -> None:
    locked = LockedHost(instance_id="1", ipv4="192.0.2.1", host_keys=())
    save(loaded.lock_path, Lock(hosts={"web-1": locked}))
    seen = hosts.together(loaded, {"web-1": "connect to host web-1 port 22: No route to host"}, {}, at(NOW))
    assert [(one.about, one.kind) for one in seen.findings] == [("web-1", "not seen"), ("web-2", "not provisioned")]
    assert "No route to host" in seen.findings[0].what
    assert "deploys/provision.py" in seen.findings[1].to_do
    assert "who left" not in seen.findings[0].what
    (loaded.files / departed.FILE).write_text("[bob]\nleft = 2026-11-28\nknows = []\n")
    away = hosts.together(loaded, {"web-1": "no route"}, {}, at(NOW)).findings[0]
    assert "who left may have an account there still: bob" in away.what
    assert all(len(row.cells) == len(hosts.LABELS) - 1 for row in seen.tables[0].rows)


def test_backups_are_told_as_their_own_command_does_and_a_vault_that_is_down_is_first(loaded: LoadedSite) -> None:
    rows = [look(good(vault=snapshots(0)))]
    ends = at(NOW + 10 * DAY)
    seen = backups.together(loaded, rows, [], (VAULT, COPY), ends, at(NOW), [])
    assert [one.kind for one in seen.findings] == ["certificate", *(one.kind.word for one in rows[0].findings)]
    assert seen.tables[0].rows[0].data["host"] == "release-1"
    down = [look(good(vault=None))]
    seen = backups.together(loaded, down, [], (VAULT,), at(NOW + 99 * DAY), at(NOW), ["the vault cannot be used: off"])
    assert (seen.findings[0].about, seen.findings[0].what) == ("the vault", "the vault cannot be used: off")
    here = ["web-1:web in the vault: restic: is not on this machine"]
    seen = backups.together(loaded, down, [], (VAULT,), at(NOW + 99 * DAY), at(NOW), here)
    assert seen.findings[0].what == "the vault cannot be looked at: restic: is not on this machine"


def control_files(hours: float) -> dict[str, str | None]:
    time_ = (at(NOW) - timedelta(hours=hours)).isoformat()
    found = {"kind": "release audit", "severity": "critical", "exit_code": 33, "what": "1 finding", "to_do": "x"}
    other = found | {"kind": "late"}
    sets = [{"host": "release-1", "plan": "release", "findings": [found, other]}]
    audit = {"time": time_, "servers": [{}], "requests": 5, "findings": [{"fails": True}, {"fails": False}]}
    return {"backup.json": json.dumps({"time": time_, "data_sets": sets}), "release.json": json.dumps(audit)}


def test_what_the_control_host_alone_finds_is_told_and_that_it_looks_no_more() -> None:
    seen = control.together("control-1", control_files(1), at(NOW))
    assert [(one.about, one.kind, one.exit_code) for one in seen.findings] == [
        ("release-1:release", "release audit", 33)
    ]
    assert [row.cells[2][0] for row in seen.tables[0].rows] == ["release audit", "1 finding"]
    seen = control.together("control-1", control_files(5), at(NOW))
    assert seen.findings[0].kind == "look overdue"
    seen = control.together("control-1", {"backup.json": None, "release.json": "{"}, at(NOW))
    assert [(one.kind, one.severity) for one in seen.findings] == [
        ("look overdue", Severity.CRITICAL),
        ("not seen", Severity.UNSEEN),
    ]


@pytest.mark.parametrize(("hours", "kinds"), [(1, []), (5, ["look overdue"])])
def test_a_look_of_the_control_host_that_was_not_due_yet_is_not_overdue(hours: int, kinds: list[str]) -> None:
    seen = control.together("control-1", {"backup.json": None}, at(NOW), at(NOW) - timedelta(hours=hours))
    assert [one.kind for one in seen.findings] == kinds


def test_a_table_that_is_too_wide_is_a_paragraph_for_each_row_and_breaks_no_word() -> None:
    cells = [("due 3 days ago", ""), ("6.12.57+deb13-amd64", ""), ("look overdue, drift", "warning")]
    table = Table("t", "Hosts", ("host", "reboot", "kernel", "state"), [Row("release-1", cells, {})])
    said = {}
    for width in (40, 80):
        console = Console(record=True, width=width, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
        for part in shown(table, width):
            console.print(part)
        said[width] = console.export_text().splitlines()
    assert [line.rstrip() for line in said[40]] == [
        "Hosts",
        "release-1  look overdue, drift",
        "    reboot due 3 days ago, kernel",
        "    6.12.57+deb13-amd64",
    ]
    assert [line.split()[0] for line in said[80]] == ["host", "release-1"]


def standings() -> Whole:
    servers = (
        Standing("a", "1" * 40, 0),
        Standing("b", "2" * 40, 2, begun={"id": "x", "who": "eve", "begun": "today"}),
        Standing("c", wrong="timed out"),
    )
    return Whole("1" * 40, {("tegu", "stable"): Offer("2026112800", 1, "16")}, servers)


def test_release_servers_that_differ_or_do_not_answer_are_told() -> None:
    seen = releases.together(standings())
    assert [(one.about, one.kind) for one in seen.findings] == [
        ("b", "not the newest"),
        ("b", "begun"),
        ("c", "not seen"),
    ]


def web_server(served: str) -> dict[str, Any]:
    return {"served": served, "releases": [{"id": served}], "begun": [], "back": "", "maintenance": 0}


def test_web_servers_that_differ_are_told() -> None:
    assert website.together({"a": web_server("x"), "b": web_server("x")}).findings == []
    found = website.together({"a": web_server("x"), "b": web_server("y"), "c": {"wrong": "gone"}}).findings
    assert [(one.kind, one.exit_code) for one in found] == [("not seen", 3), ("differ", 51)]


def test_a_web_server_in_maintenance_is_told_until_it_is_over() -> None:
    [found] = website.together({"a": web_server("x"), "b": web_server("x") | {"maintenance": 1795000000}}).findings
    assert (found.about, found.kind, found.severity) == ("b", "maintenance", Severity.WARNING)
    assert "in maintenance since 2026-11-18 11:06 UTC" in found.what


def test_who_has_left_is_told_until_nothing_of_what_they_know_is_in_use() -> None:
    gone = {
        "bob": Departed(left=date(2026, 11, 1), knows=("api_key",)),
        "eve": Departed(left=date(2026, 1, 1), replaced={"api_key": date(2026, 2, 1)}),
    }
    seen = people.together(gone, "mainstay secrets rotate", at(NOW))
    assert [one.about for one in seen.findings] == ["bob"]
    assert "api_key" in seen.findings[0].what
    assert [row.data["nothing_since"] for row in seen.tables[0].rows] == [None, "2026-02-01"]


def test_the_command_tells_it_and_ends_with_the_code(loaded: LoadedSite, tmp_path: Path) -> None:
    inventory = str(loaded.path)
    done = CliRunner().invoke(app, ["status", "--inventory", inventory, "--json", "--html", str(tmp_path / "s.html")])
    told = json.loads(done.stdout)
    assert done.exit_code == told["exit_code"] == 1
    assert [(one["about"], one["kind"]) for one in told["findings"]] == [
        ("web-1", "not provisioned"),
        ("web-2", "not provisioned"),
    ]
    assert "web-2: not provisioned (warning)" in Read((tmp_path / "s.html").read_text()).words
    done = CliRunner().invoke(app, ["status", "--inventory", inventory])
    assert done.stdout.splitlines()[0].endswith("UTC: 2 things need a person: 0 not seen, 0 critical")
    assert CliRunner().invoke(app, ["status", "--inventory", inventory, "--json", "--watch"]).exit_code == 2


def test_watching_looks_again_until_it_is_interrupted(loaded: LoadedSite, monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []

    def rest(seconds: float) -> None:
        rests.append(seconds)
        if len(rests) == 2:
            raise KeyboardInterrupt

    ends: list[int] = []

    def end(code: int) -> None:
        ends.append(code)
        raise SystemExit(code)

    monkeypatch.setattr("cli.status.time.sleep", rest)
    monkeypatch.setattr("cli.status.os._exit", end)
    done = CliRunner().invoke(app, ["status", "--inventory", str(loaded.path), "--watch"])
    assert (rests, ends, done.exit_code) == ([60, 60], [0], 0)
    assert done.stdout.count("2 things need a person") == 2
