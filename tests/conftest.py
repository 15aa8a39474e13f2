"""Shared fixtures: the labs that tests run on, and pyinfra as an admin would call it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import lifecycle
from lab.engine import LabConfig
from lab.sites import derive

REPOSITORY = Path(__file__).parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--inventory", help="run tests/roles against these hosts, reading only (default: a lab of their own)"
    )


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skipped test is a promise nobody checked."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pyinfra(inventory: Path, deploy: str, *options: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """`pyinfra INVENTORY deploys/DEPLOY.py -y OPTIONS`, from the repository's root, output captured."""
    command = [str(Path(sys.executable).with_name("pyinfra")), str(inventory), f"deploys/{deploy}.py", "-y", *options]
    environment = os.environ | {"PYINFRA_PROGRESS": "off"}
    return subprocess.run(
        command, cwd=REPOSITORY, env=environment, text=True, timeout=timeout, capture_output=True, check=False
    )


@pytest.fixture(scope="session")
def lab() -> Iterator[LabConfig]:
    """A lab of the tests' own, gone afterwards."""
    lifecycle.down("test")
    config = lifecycle.up("test")
    yield config
    lifecycle.down("test")


@pytest.fixture(scope="session")
def site(lab: LabConfig) -> Path:
    """The inventory of the rehearsal's site, provisioned and in service on the tests' lab."""
    inventory = derive(lab, lab.root / "inventory")
    for deploy in ("provision", "site"):
        done = pyinfra(inventory, deploy)
        assert done.returncode == 0, done.stdout + done.stderr
    return inventory
