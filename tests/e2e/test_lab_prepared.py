"""Labs whose hosts have their packages: deployed there, a host is what it would be, and nothing is installed."""

from collections.abc import Iterator

import pytest

from lab.prepared import PACKAGES
from tests.saved_site import HOST, HOSTS, Saved, saved_site

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

INSTALLED = "grep -h '^Commandline' /var/log/apt/history.log; dpkg-query -Wf '${Package}\\n'"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    yield from saved_site(tmp_path_factory.mktemp("prepared"))


@pytest.mark.parametrize("host", HOSTS)
def test_a_deploy_on_a_prepared_host_installs_nothing_and_leaves_nothing_out(saved: Saved, host: str) -> None:
    told = saved.root(host, INSTALLED).splitlines()
    wanted = PACKAGES["release" if host == HOST else "vault"]
    [command] = [line for line in told if line.startswith("Commandline")]
    assert command.endswith(f"install {' '.join(wanted)}")
    assert {*wanted} <= {*told}
