"""What the base does on a host in service: it tells of replaced code, its mail arrives, and it reaches what it may."""

import json
import uuid
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

from backup.custody import APPEND, PORTS
from cloud.converge import converge
from inventories.inventory import load_site
from inventories.ssh import ssh_config
from lab import services
from lab.fetch import lab_of
from lab.sites import derive
from roles.base.settings import SSH_PORT
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
PATIENCE_S = 30
AT_ONCE_S = 2
HOST, VAULT = "web-1", "vault-1"
REPORT = "/var/lib/mainstay/stale-services.json"


@pytest.fixture(scope="module")
def host(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Host:
    config = tmp_path_factory.mktemp("ssh") / "config"
    config.write_text(ssh_config(load_site(site)))
    return testinfra.get_host(f"ssh://{HOST}", ssh_config=str(config), sudo=True)


def _stale(host: Host) -> dict[str, list[str]]:
    host.check_output("systemctl start mainstay-stale.service")
    services: dict[str, list[str]] = json.loads(host.check_output(f"cat {REPORT}"))["services"]
    return services


def test_a_service_that_runs_a_replaced_library_is_reported_until_it_is_restarted(host: Host) -> None:
    """The library is replaced as dpkg does it: a new file, renamed over the old one."""
    mapped = host.check_output("grep -h libnettle /proc/$(pgrep -o chronyd)/maps | head -1").split()[-1]
    assert "chrony.service" not in _stale(host)
    host.check_output(f"cp -p {mapped} {mapped}.new && mv {mapped}.new {mapped}")
    assert _stale(host)["chrony.service"] == [mapped]
    host.check_output("systemctl restart chrony.service")
    assert "chrony.service" not in _stale(host)


def test_mail_for_root_reaches_the_admins_through_the_smarthost(host: Host, site: Path) -> None:
    sink = load_site(site).files.parent / "mail"
    subject = uuid.uuid4().hex
    host.check_output(f"printf 'Subject: {subject}\\n\\nbody\\n' | sendmail root")
    mail = until(
        "the mail in the sink",
        lambda: [text for file in sink.glob("*.eml") if subject in (text := file.read_text())],
        timeout_s=PATIENCE_S,
    )[0]
    assert "X-Envelope-To: admins@lab.example.org" in mail
    assert "X-Envelope-From: hosts@lab.example.org" in mail


def _connects(host: Host, address: str, port: int) -> bool:
    """Whether a connection is accepted; the other way is that it is refused, and at once."""
    done = host.run(f"timeout {AT_ONCE_S} bash -c 'exec 3<>/dev/tcp/{address}/{port}'")
    assert done.rc == 0 or "Connection refused" in done.stderr, f"{address} port {port}: {done.rc} {done.stderr}"
    return bool(done.rc == 0)


@pytest.fixture
def fenced(site: Path, tmp_path: Path) -> Iterator[Path]:
    """The inventory while the host may open no connection to the vault but for backups."""
    vault = load_site(site).lock.hosts[VAULT]
    addresses = [vault.ipv4, vault.ipv6]

    def change(document: Any) -> None:
        document["hosts"][HOST]["settings"] = {
            "base": {
                "egress": {
                    "blocked": [str(ip_network(address)) for address in addresses],
                    "allowed": [{"address": address, "port": PORTS[APPEND]} for address in addresses],
                }
            }
        }

    inventory = derive(lab_of(load_site(site)), tmp_path, change)
    try:
        done = converge(inventory, "base", "--limit", HOST)
        assert done.ok, done.output
        yield inventory
    finally:
        converge(site, "base", "--limit", HOST)


def test_a_host_reaches_nothing_of_what_is_blocked_but_the_exceptions(
    host: Host, site: Path, request: pytest.FixtureRequest
) -> None:
    loaded = load_site(site)
    vault, cache = loaded.lock.hosts[VAULT], str(lab_of(loaded).gateway4)
    for address in (vault.ipv4, vault.ipv6):
        assert _connects(host, address, SSH_PORT)
    inventory = request.getfixturevalue("fenced")
    for address in (vault.ipv4, vault.ipv6):
        assert not _connects(host, address, SSH_PORT)
        assert _connects(host, address, PORTS[APPEND])
    assert _connects(host, cache, services.CACHE_PORT)
    assert host.run(f"ping -c 1 -W {AT_ONCE_S} {vault.ipv4}").rc
    assert converge(inventory, "base", "--limit", HOST).changed == ()


def test_the_base_applied_again_changes_nothing(site: Path) -> None:
    again = converge(site, "base")
    assert again.ok, again.output
    assert again.changed == ()
