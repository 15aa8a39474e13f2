"""The control host audits by its own unit the sources that its settings declare, and tells what it finds."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import tomlkit

from tests.git_server import Forge, forge, git
from tests.watched_site import CONTROL, Watched, watched_site

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
UNIT = "mainstay-control@sources"
METRICS = "/var/lib/prometheus/node-exporter/mainstay-sources.prom"
MANIFEST = """<manifest>
  <remote name="own" fetch=".."/>
  <default remote="own" revision="main"/>
  <project name="platform/build"/>
  <project name="device/maker/one" groups="device-one"/>
</manifest>
"""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    yield from watched_site(tmp_path_factory.mktemp("control"))


@pytest.fixture(scope="module")
def server(watched: Watched, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    with forge(tmp_path_factory.mktemp("server"), host=str(watched.lab.gateway4)) as made:
        made.make("platform/manifest", {"default.xml": MANIFEST})
        for name in ("platform/build", "device/maker/one"):
            made.make(name, {"a": "b\n"})
        yield made


def audit(watched: Watched) -> dict[str, Any]:
    """By its unit; what it has found."""
    watched.root(CONTROL, f"systemctl start {UNIT} || {{ journalctl -o cat -n 40 -u {UNIT} >&2; exit 1; }}")
    found: dict[str, Any] = json.loads(watched.root(CONTROL, "cat /srv/control/status/sources.json"))
    return found


def told(watched: Watched) -> list[str]:
    """Findings of such audits, as the look tells them."""
    status = json.loads(watched.root(CONTROL, "mainstay backup status --json || true"))
    return [
        f"{one['host']}:{one['plan']} {finding['severity']} {finding['what']}"
        for one in status["data_sets"]
        for finding in one["findings"]
        if finding["kind"] == "source audit"
    ]


def test_declared_sources_are_audited_by_timer_and_what_is_wrong_is_told_until_it_is_mended(
    watched: Watched, server: Forge
) -> None:
    assert watched.ssh(CONTROL, f"systemctl is-enabled {UNIT}.timer").stdout == "disabled\n"
    assert told(watched) == []
    declared = watched.inventory.with_suffix(".toml")
    document: Any = tomlkit.parse(declared.read_text())
    manifest = f"{server.url}/platform/manifest"
    document["settings"]["control"]["sources"] = [{"manifest": manifest, "patience_minutes": 0}]
    declared.write_text(tomlkit.dumps(document))
    watched.deploy("control")
    assert watched.root(CONTROL, f"systemctl is-enabled {UNIT}.timer") == "enabled\n"
    assert watched.deploy("control").changed == ()

    found = audit(watched)
    assert (found["exit_code"], found["findings"]) == (0, [])
    assert (found["manifests"][0]["projects"], found["manifests"][0]["read"]) == (2, 1)
    assert told(watched) == []
    watched.root(CONTROL, f"ls /srv/control/{watched.site.name}.sources/*.json")
    assert watched.watch()
    watched.office.got.clear()

    bare = server.folder("device/maker/one")
    bare.rename(bare.with_name("away"))
    assert audit(watched)["exit_code"] == 51
    what = f"{CONTROL}:control critical 1 finding on {server.host}, of {manifest}: missing project device/maker/one"
    assert told(watched) == [f"{what}; hits one"]
    assert watched.watch()
    assert watched.told() == [([f"{CONTROL}:control source audit"], [])]
    assert "missing project device/maker/one" in watched.root(CONTROL, "cat /srv/control/status/backup.html")
    assert "missing project" in watched.root(CONTROL, "cat /srv/control/status/sources.html").lower()
    metrics = watched.root(CONTROL, f"cat {METRICS} {METRICS.replace('sources', 'backup')}")
    labels = f'manifest="{manifest}",finding="missing project",severity="critical"'
    assert f"mainstay_sources_audit_findings{{{labels}}} 1\n" in metrics
    own = f'host="{CONTROL}",plan="control",finding="source audit",severity="critical"'
    assert f"mainstay_backup_finding{{{own}}} 1\n" in metrics

    bare.with_name("away").rename(bare)
    assert audit(watched)["exit_code"] == 0
    assert watched.watch()
    assert watched.told() == [([], ["source audit"])]


@pytest.mark.full
def test_a_manifest_that_nobody_gets_is_told_and_so_is_an_audit_that_is_not_run(
    watched: Watched, server: Forge
) -> None:
    git(server.folder("platform/manifest"), "symbolic-ref", "HEAD", "refs/heads/none")
    assert audit(watched)["exit_code"] == 51
    [what] = told(watched)
    assert "no manifest" in what
    assert "hits every device" in what
    git(server.folder("platform/manifest"), "symbolic-ref", "HEAD", "refs/heads/main")
    assert audit(watched)["exit_code"] == 0
    watched.root(CONTROL, f"systemctl stop {UNIT}.timer")
    [what] = told(watched)
    assert what.endswith(f"sources are not audited: {UNIT}.timer is not running")
    watched.root(CONTROL, f"systemctl start {UNIT}.timer; echo nothing >/srv/control/status/sources.json")
    [what] = told(watched)
    assert "cannot be read" in what
