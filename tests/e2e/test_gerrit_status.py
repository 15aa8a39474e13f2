"""`mainstay gerrit status`, and the metrics that Gerrit's host leaves each minute."""

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from cloud.converge import REPOSITORY
from roles.common import metrics
from tests.gerrit_site import HOST, VERSION, gerrit_site
from tests.saved_site import Saved
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
PROM = f"{metrics.FOLDER}/mainstay-gerrit.prom"


@pytest.fixture(scope="module")
def gerrit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    for site in gerrit_site(tmp_path_factory.mktemp("gerrit")):
        site.root(HOST, "systemctl start gerrit")
        yield site


def status(gerrit: Saved, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"MAINSTAY_INVENTORY": str(gerrit.inventory)}
    command = [str(REPOSITORY / "bin/mainstay"), "gerrit", "status", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_it_tells_how_the_server_is(gerrit: Saved) -> None:
    done = status(gerrit, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert (told["wrong"], told["version"], told["site_version"], told["plugins"]) == ([], VERSION, VERSION, {})
    assert told["unit"]["state"] == "active (running)"
    assert None not in told.values()
    assert 0 < told["java"]["used"] < told["java"]["limit"]
    assert {"accounts-v2", "diff_summary-v2"} <= told["caches"].keys()
    assert f"Gerrit {VERSION} on {HOST}" in status(gerrit).stdout


def test_a_server_that_is_down_is_told_and_its_metrics_say_so_within_the_minute(gerrit: Saved) -> None:
    until("metrics", lambda: "mainstay_gerrit_up 1" in gerrit.root(HOST, f"cat {PROM}"), timeout_s=120)
    gerrit.root(HOST, "systemctl stop gerrit")
    try:
        until("metrics", lambda: "mainstay_gerrit_up 0" in gerrit.root(HOST, f"cat {PROM}"), timeout_s=120)
        done = status(gerrit)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "Gerrit does not answer" in done.stdout
        assert "version: [Errno 111] Connection refused" in done.stdout
    finally:
        gerrit.root(HOST, "systemctl start gerrit")


def test_a_version_that_is_not_the_declared_and_a_host_that_is_gone_are_told(gerrit: Saved) -> None:
    declared = gerrit.inventory.with_suffix(".toml")
    before = declared.read_text()
    try:
        declared.write_text(before.replace(f'version = "{VERSION}"', 'version = "3.99.0"'))
        done = status(gerrit)
        assert done.returncode == 1
        assert f"{VERSION} runs, and 3.99.0 is declared" in done.stdout
        declared.write_text(before.replace('role = "gerrit"', 'role = "web"'))
        assert status(gerrit).returncode == 2
    finally:
        declared.write_text(before)


def test_the_unit_that_looks_has_little_power_and_its_files_no_secret(gerrit: Saved) -> None:
    told = gerrit.root(HOST, "systemd-analyze security mainstay-gerrit-state.service --no-pager | tail -1")
    assert float(told.split(":")[1].split()[0]) <= 2.5
    assert gerrit.root(HOST, f"grep -cF $(cat /etc/gerrit/token) {PROM} /run/mainstay-gerrit/state.json || true") == (
        f"{PROM}:0\n/run/mainstay-gerrit/state.json:0"
    )
