"""Shared fixtures: a lab of the tests' own, and the rehearsal with its site in service."""

import json
import os
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from cloud.converge import REPOSITORY
from lab import lifecycle
from lab.engine import LabConfig
from tests.labs import end_kept_labs, own_lab

REHEARSAL_TIMEOUT_SECONDS = 2700
ON_THE_SITE = (
    "tests/roles/",
    "tests/e2e/test_rehearse.py",
    "tests/e2e/test_base_in_service.py",
    "tests/e2e/test_release_in_service.py",
    "tests/e2e/test_control_audits.py",
    "tests/e2e/test_control_drills.py",
    "tests/faults/test_control_rooted.py",
)
SAME_HOSTS = {
    "a Gerrit": (
        "tests/e2e/test_gerrit.py",
        "tests/e2e/test_gerrit_access.py",
        "tests/e2e/test_gerrit_auth.py",
        "tests/e2e/test_gerrit_plugins.py",
        "tests/e2e/test_gerrit_status.py",
        "tests/e2e/test_sources_audit_of_gerrit.py",
        "tests/e2e/test_gerrit_backup.py",
        "tests/e2e/test_gerrit_drill.py",
        "tests/e2e/test_gerrit_restore.py",
        "tests/faults/test_gerrit_killed.py",
        "tests/runbooks/test_gerrit.py",
    ),
    "a control host": (
        "tests/e2e/test_control.py",
        "tests/e2e/test_control_access.py",
        "tests/e2e/test_control_sources.py",
        "tests/e2e/test_record.py",
    ),
    "a release server that is published to": (
        "tests/e2e/test_certificate.py",
        "tests/e2e/test_release_audited_servers.py",
        "tests/e2e/test_release_publishing.py",
        "tests/faults/test_release_publishing_hurt.py",
        "tests/faults/test_release_publishing_killed.py",
    ),
    "a web server": (
        "tests/e2e/test_web_publish.py",
        "tests/runbooks/test_deploys.py",
        "tests/runbooks/test_website.py",
    ),
    "a monitor host": ("tests/e2e/test_monitor.py", "tests/runbooks/test_monitor.py"),
    "a Gerrit of an old version": ("tests/e2e/test_gerrit_upgrade.py", "tests/faults/test_gerrit_upgrade_killed.py"),
}
"""Files that use the same kept lab, which takes longer to build than most of them: one worker does all of a kind."""
SHARES = {
    "tests/e2e/test_restic_failures.py": 2,
}
"""Files whose points take so long that several workers share them, each with fixtures of its own."""
LONGEST = (
    "tests/faults/test_control_rooted.py",
    "tests/faults/test_drill.py",
    "tests/e2e/test_gerrit_drill.py",
    "tests/e2e/test_gerrit_access.py",
    "tests/e2e/test_gerrit_upgrade.py",
    "tests/faults/test_lockout.py",
    "tests/runbooks/test_runbooks.py",
    "tests/e2e/test_control.py",
    "tests/e2e/test_drill.py",
    "tests/e2e/test_vm.py",
    "tests/e2e/test_signing_vm.py",
    "tests/e2e/test_signing.py",
    "tests/runbooks/test_signing_host.py",
    "tests/e2e/test_bundle.py",
    "tests/e2e/test_certificate.py",
    "tests/e2e/test_monitor.py",
    "tests/e2e/test_gitmirror.py",
    "tests/faults/test_backup_faults.py",
    "tests/e2e/test_drill_checks.py",
    "tests/e2e/test_agent_killed.py",
    "tests/faults/test_drill_killed.py",
    "tests/faults/test_vault_lost.py",
    "tests/e2e/test_provision.py",
    "tests/faults/test_copy.py",
    "tests/faults/test_provision.py",
    "tests/e2e/test_record.py",
    "tests/faults/test_rotation.py",
    "tests/faults/test_who_left.py",
    "tests/e2e/test_secrets_nowhere.py",
    "tests/faults/test_vault_rooted.py",
    "tests/faults/test_backup_retain.py",
    "tests/faults/test_release_volume.py",
    "tests/faults/test_backup_awkward.py",
    "tests/e2e/test_control_access.py",
    "tests/faults/test_rotation_killed.py",
    "tests/runbooks/test_with_control.py",
    "tests/faults/test_deploy_killed.py",
    "tests/faults/test_release_publishing_killed.py",
    "tests/faults/test_release_publishing_hurt.py",
    "tests/e2e/test_web_publish.py",
    "tests/runbooks/test_drill_failed.py",
    "tests/runbooks/test_verification_failed.py",
    "tests/runbooks/test_releases.py",
    "tests/faults/test_release_publish.py",
)
"""Begun first, in this order, so that all workers end together; and not all at once those that use the same site."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--inventory", help="run tests/roles against these hosts, reading only (default: the rehearsal's)")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of several workers (pytest -n), one does all that needs the rehearsal's site, most files are one's."""
    scheduling = LoadScopeScheduling(config, log)
    scheduling._split_scope = _scope
    return scheduling


def _scope(test: str) -> str:
    """What one worker does in one go, of which this test is a part."""
    if test.startswith(ON_THE_SITE):
        return "site"
    file = test.partition("::")[0]
    for name, files in SAME_HOSTS.items():
        if file in files:
            return name
    return f"{file} {zlib.crc32(test.encode()) % SHARES.get(file, 1)}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whichever comes first of those that need the rehearsal's site waits for it. Unit tests fill what time is left."""
    items.sort(key=lambda item: _rank(item.nodeid.partition("::")[0]))
    for item in items:
        if item.nodeid.startswith(ON_THE_SITE):
            item.add_marker(pytest.mark.timeout(REHEARSAL_TIMEOUT_SECONDS + 60))


def _rank(file: str) -> int:
    return LONGEST.index(file) if file in LONGEST else len(LONGEST) + file.startswith("tests/unit/")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Kept labs end. A skipped test is a promise nobody checked; another inventory's hosts may lack what it is of."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        end_kept_labs()
    if session.config.getoption("--inventory"):
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def lab() -> Iterator[LabConfig]:
    """An empty lab of the tests' own, gone afterwards."""
    with own_lab() as config:
        yield config


def rehearse() -> Any:
    """What `bin/rehearse --json` tells; it must succeed."""
    done = subprocess.run(
        [REPOSITORY / "bin/rehearse", "--json"],
        capture_output=True,
        text=True,
        timeout=REHEARSAL_TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def rehearsal() -> Iterator[Any]:
    """A rehearsal's steps. The lab `lab` is left as it was found: up or down."""
    was_up = lifecycle.status("lab")["state"] != "down"
    yield rehearse()
    if not was_up:
        lifecycle.down("lab")


@pytest.fixture(scope="session")
def site(rehearsal: Any) -> Path:
    """The inventory of the rehearsal's site, in service."""
    return REPOSITORY / "inventories/lab.py"
