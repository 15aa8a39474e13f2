"""What an audit of sources by timer found becomes findings: of hosts of the site, or of the control host."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backup import audited, audited_sources
from backup.data_set import Finding, Kind
from backup.drills import by_timer
from inventories.errors import InputError
from inventories.inventory import LoadedSite, load_site
from tests.unit.test_drill_by_timer import SITE

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
MANIFEST = "https://review.example.org/platform/manifest"
SOURCES = """
[[settings.control.sources]]
manifest = "{manifest}"
{more}
"""


def declared(folder: Path, more: str = "", manifest: str = MANIFEST) -> LoadedSite:
    path = folder / "s.toml"
    site = SITE.replace('role = "web",', 'role = "web", dns = ["www.example.org"],')
    path.write_text(site.format(files=folder) + SOURCES.format(manifest=manifest, more=more))
    return load_site(path)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadedSite:
    monkeypatch.setattr(audited, "FOLDER", tmp_path)
    monkeypatch.setattr(by_timer, "ask", lambda _: {"ActiveState": "active"})
    return declared(tmp_path)


def one(
    project: str, kind: str, *devices: str, url: str = "https://review.example.org/x", **more: Any
) -> dict[str, Any]:
    told = {"manifest": MANIFEST, "project": project, "kind": kind, "file": "", "url": url, "fails": True}
    return told | {"devices": list(devices)} | more


def found(site: LoadedSite, *told: dict[str, Any], ago_h: float = 1, overdue: bool = False) -> list[Finding]:
    manifests = [{"manifest": MANIFEST, "read_overdue": overdue, "read_oldest": "2026-07-01T00:00:00+00:00"}]
    whole = {"time": (NOW - timedelta(hours=ago_h)).isoformat(), "findings": told, "manifests": manifests}
    (audited.FOLDER / audited_sources.FILE).write_text(json.dumps(whole))
    return [*audited_sources.findings(site, NOW)]


def test_nothing_is_told_of_what_is_clean_not_declared_or_only_told_apart(site: LoadedSite, tmp_path: Path) -> None:
    assert [*audited_sources.findings(site, NOW)] == []
    assert found(site, one("a", "not asked", fails=False), one("a", "missing project", manifest="other")) == []
    (tmp_path / "none.toml").write_text(SITE.format(files=tmp_path))
    assert [*audited_sources.findings(load_site(tmp_path / "none.toml"), NOW + timedelta(days=9))] == []


def test_each_host_is_told_once_with_all_that_is_wrong_and_whom_it_hits(site: LoadedSite) -> None:
    many = [one(f"p{number}", "missing revision", "two", "one") for number in range(4)]
    on_web = one("m", "mirror missing", url="https://www.example.org/m")
    [elsewhere, own] = found(site, *many, on_web)
    assert (elsewhere.data_set, elsewhere.kind, elsewhere.kind.severity) == (
        "control-1:control",
        Kind.SOURCES,
        "critical",
    )
    what = "4 findings on review.example.org, of https://review.example.org/platform/manifest: missing revision p0, "
    assert elsewhere.what == f"{what}missing revision p1, missing revision p2 and 1 more; hits one, two"
    assert len(elsewhere.subject.each) == 4
    assert own.data_set == "web-1:web"
    assert own.what.endswith("mirror missing m; hits every device")


def test_what_was_not_read_for_too_long_is_told(site: LoadedSite) -> None:
    [late] = found(site, overdue=True)
    assert (late.kind, late.kind.severity) == (Kind.SOURCES_UNREAD, "warning")
    assert "2026-07-01" in late.what


def test_an_audit_that_is_late_is_told_and_of_what_it_found_before(site: LoadedSite) -> None:
    [before, late] = found(site, one("a", "missing project"), ago_h=40)
    assert "missing project a" in before.what
    assert "sources are not audited: the last one was 40 h ago" in late.what


@pytest.mark.parametrize(
    ("more", "manifest", "told"),
    [
        ("", "https://me:secret@review.example.org/m", "holds a name or a password"),
        ("", "ssh://review.example.org/m", "only http and https are asked"),
        ('branch = "-x"', MANIFEST, "begins with -"),
        ('file = "../default.xml"', MANIFEST, "has the part '..'"),
        ('mirror = "git.example.org"', MANIFEST, "has the scheme ''"),
        ("patience_minutes = -1", MANIFEST, "greater than or equal to 0"),
        (f'[[settings.control.sources]]\nmanifest = "{MANIFEST}"', MANIFEST, "is there twice"),
    ],
)
def test_what_cannot_be_audited_is_refused_before_anything(tmp_path: Path, more: str, manifest: str, told: str) -> None:
    with pytest.raises(InputError, match=r"settings.control.*sources") as refused:
        declared(tmp_path, more, manifest)
    assert told in str(refused.value)
