"""tests/roles/test_ROLE.py runs on every host of that role (test_base.py on all), reading only: fit for production.
A suite of many subjects is several files, test_ROLE_SUBJECT.py.

Without --inventory the hosts are those of the rehearsal's site, which holds the sample content; others are tested with
what they hold.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host

from inventories.fleet import Volume
from inventories.inventory import LoadedSite, load_site
from inventories.roles import roles_of
from inventories.ssh import ssh_config
from lab.sites import LAB_TOML
from roles.base import settings as base
from roles.common import nginx
from tests.labs import one_connection
from tests.roles.signing_host import Session, begin, end
from tests.roles.web_client import Client, clients


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The suite of a role that no host has."""
    return True if collection_path.name.startswith("test_") and not _hosts(collection_path, config) else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "host_name" in metafunc.fixturenames:
        names = _hosts(Path(str(metafunc.definition.path)), metafunc.config)
        metafunc.parametrize("host_name", names, scope="session")


def _hosts(suite: Path, config: pytest.Config) -> list[str]:
    declared = load_site(config.getoption("--inventory") or LAB_TOML).fleet.hosts
    role = suite.stem.removeprefix("test_").partition("_")[0]
    return [name for name, host in declared.items() if role in roles_of(host)]


@pytest.fixture(scope="session")
def loaded_site(request: pytest.FixtureRequest) -> LoadedSite:
    return load_site(request.config.getoption("--inventory") or request.getfixturevalue("site"))


@pytest.fixture(scope="session")
def access(loaded_site: LoadedSite, host_name: str) -> base.Settings:
    """What is set for the host as for every one."""
    found = loaded_site.settings(host_name)["base"]
    assert isinstance(found, base.Settings)
    return found


@pytest.fixture(scope="session")
def address(loaded_site: LoadedSite, host_name: str) -> str:
    return loaded_site.lock.hosts[host_name].ipv4


@pytest.fixture(scope="session")
def virtual(host: Host) -> str:
    """What it is, if no machine of its own."""
    return str(host.run("systemd-detect-virt").stdout.strip())


@pytest.fixture
def own_kernel(host: Host) -> None:
    """For tests of what a container has not."""
    if host.run("systemd-detect-virt --container").rc == 0:
        pytest.skip("not checked: a container has its host's kernel")


@pytest.fixture(scope="module")
def session(host: Host) -> Iterator[Session]:
    """Of the signing host."""
    found = begin(host)
    yield found
    end(host, found)


@pytest.fixture(scope="session")
def volume(loaded_site: LoadedSite, host_name: str, settings: nginx.HttpSettings) -> Volume:
    """Where a web role's content lies; `settings` is the fixture of its suite."""
    return nginx.content_volume(loaded_site, host_name, settings)


@pytest.fixture(scope="session")
def content(request: pytest.FixtureRequest, host: Host, host_name: str, volume: Volume) -> str:
    """Where what a web role serves lies. A server of an inventory that serves nothing yet is no failure."""
    root = f"{volume.mount}/public"
    if request.config.getoption("--inventory") and not host.check_output(f"ls -A {root}"):
        pytest.skip(f"{host_name} serves nothing yet: {root} is empty")
    return root


@pytest.fixture(scope="session", params=["IPv4", "IPv6"])
def client(request: pytest.FixtureRequest, loaded_site: LoadedSite, host_name: str) -> Client:
    return clients(loaded_site, host_name)[request.param]


@pytest.fixture(scope="session")
def host(host_name: str, loaded_site: LoadedSite, tmp_path_factory: pytest.TempPathFactory) -> Host:
    """The host under test, over ssh, as root by sudo."""
    config = one_connection(tmp_path_factory.mktemp("ssh") / "config", ssh_config(loaded_site))
    return testinfra.get_host(f"ssh://{host_name}", ssh_config=str(config), sudo=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was not checked on these hosts, as a plain list: it has not passed."""
    skipped = terminalreporter.stats.get("skipped", [])
    lines = sorted({f"{report.nodeid.rpartition('::')[2]}: {report.longrepr[2]}" for report in skipped})
    if lines:
        terminalreporter.section("not checked here")
        for line in lines:
            terminalreporter.line(line.replace("Skipped: not checked: ", ""))
