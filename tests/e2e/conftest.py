"""A host for the suites of the primitives (test_common_*)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.engine import LabConfig
from tests import bare_host
from tests.bare_host import BareHost
from tests.e2e.primitives import ASK, NGINX, SITE, Bench


@pytest.fixture(scope="module")
def bare(lab: LabConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareHost]:
    folder = tmp_path_factory.mktemp("common")
    (host,) = bare_host.create(lab, ["common"], folder)
    Bench(host, folder).good('packages("install", {"nginx-light": None})')
    yield host
    host.destroy()


@pytest.fixture
def bench(bare: BareHost, tmp_path: Path) -> Bench:
    return Bench(bare, tmp_path)


@pytest.fixture
def served(bench: Bench) -> Bench:
    bench.file("/etc/nginx/conf.d/site.conf.j2", SITE)
    bench.good(NGINX)
    assert bench.host.ssh(ASK) == "one\n"
    return bench
