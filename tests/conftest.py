"""Shared fixtures: the lab that tests run on, and the rehearsal's site in service on it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import lifecycle
from lab.converge import converge
from lab.engine import LabConfig
from lab.sites import derive


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


@pytest.fixture(scope="session")
def lab() -> Iterator[LabConfig]:
    """A lab of the tests' own, gone afterwards; named by MAINSTAY_TEST_LAB where several runs share a machine."""
    name = os.environ.get("MAINSTAY_TEST_LAB", "test")
    lifecycle.down(name)
    config = lifecycle.up(name)
    yield config
    lifecycle.down(name)


@pytest.fixture(scope="session")
def site(lab: LabConfig) -> Path:
    """The inventory of the rehearsal's site, provisioned and in service on the tests' lab."""
    inventory = derive(lab, lab.root / "inventory")
    for deploy in ("provision", "site"):
        done = converge(inventory, deploy)
        assert done.ok, done.output
    return inventory
