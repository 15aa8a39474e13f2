"""The control host audits release servers by its own unit, with a key that may look and nothing else."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from inventories.inventory import load_site
from inventories.ssh import ssh_config
from tests.labs import one_connection

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
SERVER, CONTROL = "release-1", "control-1"
AUDIT = "mainstay-control@audit"
METRICS = "/var/lib/prometheus/node-exporter/mainstay-release.prom"


@dataclass
class Place:
    """The rehearsal's site."""

    inventory: Path
    folder: Path

    def root(self, host: str, command: str) -> str:
        config = one_connection(self.folder / "ssh_config", ssh_config(load_site(self.inventory)))
        words = ["ssh", "-F", str(config), "-o", "BatchMode=yes", host, "sudo", "sh", "-e"]
        done = subprocess.run(words, input=command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def audit(self) -> dict[str, Any]:
        """By its unit; what it has found."""
        self.root(CONTROL, f"systemctl start {AUDIT} || {{ journalctl -o cat -n 40 -u {AUDIT} >&2; exit 1; }}")
        found: dict[str, Any] = json.loads(self.root(CONTROL, "cat /srv/control/status/release.json"))
        return found

    def told(self) -> list[tuple[str, str]]:
        """Findings of audits, as the look tells them."""
        status = json.loads(self.root(CONTROL, "mainstay backup status --json || true"))
        return [
            (f"{one['host']}:{one['plan']}", finding["what"])
            for one in status["data_sets"]
            for finding in one["findings"]
            if finding["kind"] == "release audit"
        ]


@pytest.fixture(scope="module")
def place(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(site, tmp_path_factory.mktemp("audits"))


def test_all_servers_are_audited_by_each_of_their_addresses_and_on_their_disks(place: Place) -> None:
    found = place.audit()
    servers = load_site(place.inventory).fleet.with_role("release")
    assert [one for one in found["findings"] if one["kind"] != "unlisted"] == []
    assert [(one["name"], one["answers"], one["commit"]) for one in found["servers"]] == [
        (name, True, found["commit"]) for name in servers
    ]
    metrics = place.root(CONTROL, f"cat {METRICS}")
    assert all(f'mainstay_release_audit_read_ratio{{server="{name}"}} ' in metrics for name in servers)
    assert found["commit"][:10] in place.root(CONTROL, "cat /srv/control/status/release.html")
    assert place.root(CONTROL, f"systemctl is-enabled {AUDIT}.timer") == "enabled\n"
    assert place.told() == []


@pytest.mark.full
def test_damage_is_a_finding_of_its_server_until_it_is_mended(place: Place) -> None:
    package = place.root(SERVER, "cd /srv/release/public && ls ota/*/*/*-ota_update-*.zip | head -1").strip()
    there = f"/srv/release/public/{package}"
    place.root(SERVER, f"chmod 0666 {there}")
    try:
        assert place.audit()["exit_code"] == 51
        assert place.told() == [(f"{SERVER}:release", f"1 finding: owner, mode or link {package}")]
    finally:
        place.root(SERVER, f"chmod 0644 {there}")
    assert place.audit()["exit_code"] == 0
    assert place.told() == []
