"""The vault as hosts, control side and admins find it; reads only."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from testinfra.host import Host

from backup import custody
from backup.custody import ADMIN, APPEND, CONTROL, PORTS
from inventories.fleet import Volume
from inventories.inventory import LoadedSite
from inventories.ssh import ssh_config
from roles.common.volume_plan import unit_name
from roles.vault.deploy import ROOM, data_volume
from roles.vault.settings import Settings
from tests.vault_client import Listener, listens, through_ssh

pytestmark = pytest.mark.lab
EXPOSURE_AT_MOST = 1.4
"""Of 10; `systemd-analyze security`."""


@pytest.fixture(scope="session")
def settings(loaded_site: LoadedSite, host_name: str) -> Settings:
    found = loaded_site.settings(host_name)["vault"]
    assert isinstance(found, Settings)
    return found


@pytest.fixture(scope="session")
def volume(loaded_site: LoadedSite, host_name: str, settings: Settings) -> Volume:
    return data_volume(loaded_site, host_name, settings)


@pytest.fixture(scope="session", params=["IPv4", "IPv6"])
def address(request: pytest.FixtureRequest, loaded_site: LoadedSite, host_name: str) -> str:
    locked = loaded_site.lock.hosts[host_name]
    return {"IPv4": locked.ipv4, "IPv6": locked.ipv6}[request.param]


@pytest.fixture(scope="session")
def certificate(loaded_site: LoadedSite) -> Path:
    return loaded_site.files / custody.CERTIFICATE


@pytest.fixture(scope="session")
def inside(
    loaded_site: LoadedSite, host_name: str, certificate: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Listener]]:
    """Every listener, as an admin reaches it."""
    config = tmp_path_factory.mktemp("vault") / "ssh_config"
    config.write_text(ssh_config(loaded_site))
    with through_ssh(config, host_name, certificate) as listeners:
        yield listeners


@pytest.fixture(scope="session")
def logins(loaded_site: LoadedSite) -> dict[str, tuple[str, str]]:
    """One user of each listener."""
    [client, *_] = custody.clients(loaded_site.fleet)
    found = {
        APPEND: (client, custody.host_secret(client)),
        CONTROL: ("control", custody.LOGINS[CONTROL]),
        ADMIN: ("admin", custody.LOGINS[ADMIN]),
    }
    return {listener: (user, loaded_site.secrets[name].get_secret_value()) for listener, (user, name) in found.items()}


@pytest.fixture(scope="session")
def config_path(loaded_site: LoadedSite) -> str:
    """The file that every repository begins with, of the first data set."""
    [data, *_] = custody.data_sets(loaded_site.fleet)
    return f"/{data.host}/{data.plan}/config"


def test_hosts_reach_their_listener_by_the_vaults_names_and_certificate(
    loaded_site: LoadedSite,
    host_name: str,
    address: str,
    certificate: Path,
    logins: dict[str, tuple[str, str]],
    config_path: str,
) -> None:
    for name in loaded_site.fleet.hosts[host_name].dns:
        listener = Listener(address, PORTS[APPEND], name, certificate)
        assert listener.ask("GET", config_path).status == 401
        assert listener.ask("GET", config_path, logins[APPEND]).status in (200, 404)


def test_nobody_else_reaches_the_other_listeners(address: str) -> None:
    assert listens(address, PORTS[APPEND])
    assert not listens(address, PORTS[CONTROL])
    assert not listens(address, PORTS[ADMIN])


def test_the_other_listeners_are_on_loopback_and_the_firewall_knows_nothing_of_them(host: Host) -> None:
    rules = host.check_output("nft list chain inet mainstay input")
    for listener in (CONTROL, ADMIN):
        assert host.check_output(f"ss -Hltn sport = :{PORTS[listener]}").split()[3] == f"127.0.0.1:{PORTS[listener]}"
        assert str(PORTS[listener]) not in rules


def test_each_listener_lets_in_its_own_users_and_no_others(
    inside: dict[str, Listener], logins: dict[str, tuple[str, str]], config_path: str
) -> None:
    for listener, client in inside.items():
        for owner, login in logins.items():
            let_in = client.ask("GET", config_path, login).status in (200, 404)
            assert let_in == (owner == listener), f"{owner}'s user on {listener}"
        assert client.ask("GET", config_path, (logins[listener][0], "wrong")).status == 401
        assert client.ask("GET", config_path).status == 401


def main_pid(host: Host, listener: str) -> str:
    return str(host.check_output(f"systemctl show -p MainPID --value vault@{listener}.service"))


@pytest.mark.parametrize("listener", PORTS)
def test_listeners_are_confined(host: Host, volume: Volume, listener: str) -> None:
    unit = f"vault@{listener}.service"
    said = host.check_output(f"systemd-analyze security --no-pager {unit} | tail -1")
    assert float(said.split(":")[1].split()[0]) <= EXPOSURE_AT_MOST, said
    assert unit_name(volume.mount) in host.check_output(f"systemctl show -p BindsTo --value {unit}").split()
    pid = main_pid(host, listener)
    assert host.check_output(f"ps -o user= -p {pid}").strip() == "vault"
    allowed = int(host.check_output(f"grep ^CapEff /proc/{pid}/status").split()[1], 16)
    assert allowed == 0
    words = host.check_output(f"tr '\\0' ' ' </proc/{pid}/cmdline").split()
    assert ("--append-only" in words) == (listener != ADMIN)
    assert ("--private-repos" in words) == (listener == APPEND)
    assert not {"--no-auth", "--prometheus-no-auth", "--no-verify-upload"} & set(words)


def test_debians_own_service_is_off(host: Host) -> None:
    service = host.service("restic-rest-server")
    assert not service.is_running
    assert not service.is_enabled


def test_repositories_are_on_their_volume_and_the_vaults_alone(host: Host, volume: Volume) -> None:
    assert host.check_output(f"findmnt -no TARGET --target {volume.mount}/repositories") == volume.mount
    assert {"nodev", "nosuid", "noexec"} <= set(host.check_output(f"findmnt -no OPTIONS {volume.mount}").split(","))
    assert host.check_output(f"stat -c '%U %a' {volume.mount}/repositories") == "vault 700"
    assert host.check_output(f"find {volume.mount}/repositories -perm /077 | head -1") == ""
    assert host.user("vault").shell == "/usr/sbin/nologin"


def test_hosts_cannot_take_the_last_room(host: Host, volume: Volume, settings: Settings) -> None:
    device = host.check_output(f"findmnt -no SOURCE {volume.mount}")
    shown = dict(line.split(":", 1) for line in host.check_output(f"tune2fs -l {device}").splitlines() if ":" in line)
    kept = int(shown["Reserved block count"]) * 100 / int(shown["Block count"])
    assert round(kept) == 100 - settings.quota_percent
    group = host.check_output(f"getent group {ROOM}").split(":")[2]
    assert f"resgid={group}" in host.check_output(f"findmnt -no FS-OPTIONS {volume.mount}").split(",")
    members = {
        listener: group in host.check_output(f"grep ^Groups: /proc/{main_pid(host, listener)}/status").split()
        for listener in PORTS
    }
    assert members == {APPEND: False, CONTROL: False, ADMIN: True}


def test_credentials_are_read_by_the_vault_alone(host: Host) -> None:
    found = host.check_output("stat -c '%n %U:%G %a' /etc/vault /etc/vault/*").splitlines()
    assert all(line.endswith("root:vault 640") for line in found[1:])
    assert found[0] == "/etc/vault root:vault 750"
    hashes = host.check_output("cat /etc/vault/*.htpasswd").splitlines()
    assert hashes
    assert all(line.partition(":")[2].startswith("$2b$") for line in hashes)
