"""What an audit by timer found becomes findings: of each server, of the repositories, and of the audit itself."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backup import audited
from backup.data_set import Finding, Kind
from backup.drills import by_timer
from inventories.inventory import LoadedSite, load_site
from tests.unit.test_drill_by_timer import SITE

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
PATH = "ota/panther/16/panther-ota_update-2.zip"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadedSite:
    monkeypatch.setattr(audited, "FOLDER", tmp_path)
    monkeypatch.setattr(by_timer, "ask", lambda _: {"ActiveState": "inactive"})
    path = tmp_path / "s.toml"
    path.write_text(SITE.format(files=tmp_path))
    return load_site(path)


def found(site: LoadedSite, *told: Any, ago_h: float = 1, overdue: bool = False) -> list[Finding]:
    findings = [
        {"server": server, "kind": kind, "path": path, "fails": kind != "unlisted"} for server, kind, path in told
    ]
    servers = [{"name": "release-1", "read_overdue": overdue, "read_oldest": "2026-07-01T00:00:00+00:00"}]
    whole = {"time": (NOW - timedelta(hours=ago_h)).isoformat(), "findings": findings, "servers": servers}
    (audited.FOLDER / audited.FILE).write_text(json.dumps(whole))
    return [*audited.findings(site, NOW)]


def test_nothing_is_told_of_a_clean_audit_nor_before_the_first(site: LoadedSite) -> None:
    assert [*audited.findings(site, NOW)] == []
    assert found(site, ("release-1", "unlisted", PATH)) == []


def test_each_server_is_told_once_with_all_that_is_wrong(site: LoadedSite) -> None:
    many = [("release-1", "truncated", PATH), *(("release-1", "missing", f"{number}") for number in range(4))]
    [one, repository] = found(site, *many, ("metadata repository", "malformed", "ota/a/a-stable"))
    assert (one.data_set, one.kind, one.kind.severity) == ("release-1:release", Kind.RELEASE, "critical")
    assert one.what == f"5 findings: truncated {PATH}, missing 0, missing 1 and 2 more"
    assert len(one.subject.each) == 5
    assert repository.data_set == "control-1:control"
    assert "in the metadata repository: malformed ota/a/a-stable" in repository.what


def test_packages_that_were_not_read_for_too_long_are_told(site: LoadedSite) -> None:
    [one] = found(site, overdue=True)
    assert (one.data_set, one.kind) == ("release-1:release", Kind.UNREAD)
    assert "2026-07-01" in one.what


def test_an_audit_that_failed_is_late_or_cannot_be_read_is_told(
    site: LoadedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    [late] = found(site, ago_h=14)
    assert (late.data_set, late.kind) == ("control-1:control", Kind.RELEASE)
    assert "the last one was 14 h ago" in late.what
    (audited.FOLDER / audited.FILE).write_text("[]")
    [unread] = audited.findings(site, NOW)
    assert "cannot be read" in unread.what
    (audited.FOLDER / audited.FILE).unlink()
    monkeypatch.setattr(by_timer, "ask", lambda _: {"ActiveState": "failed"})
    [failed] = audited.findings(site, NOW)
    assert "mainstay-control@audit.service failed" in failed.what
    monkeypatch.setattr(by_timer, "ask", lambda _: {"ActiveState": "inactive", "UnitFileState": "enabled"})
    [off] = audited.findings(site, NOW)
    assert "mainstay-control@audit.timer is not running" in off.what
    since = int((NOW - timedelta(hours=14)).timestamp())
    waiting = {"ActiveState": "active", "UnitFileState": "enabled", "ActiveEnterTimestamp": f"@{since}"}
    monkeypatch.setattr(by_timer, "ask", lambda _: waiting)
    [never] = audited.findings(site, NOW)
    assert "none has ended in 14 h" in never.what
    assert {late.key, unread.key, failed.key, off.key, never.key} == {failed.key}
