"""What the base does on a host in service: it tells of replaced code, and its mail arrives."""

import json
import uuid
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host

from cloud.converge import converge
from inventories.inventory import load_site
from inventories.ssh import ssh_config
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
PATIENCE_S = 30
REPORT = "/var/lib/mainstay/stale-services.json"


@pytest.fixture(scope="module")
def host(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Host:
    config = tmp_path_factory.mktemp("ssh") / "config"
    config.write_text(ssh_config(load_site(site)))
    return testinfra.get_host("ssh://web-1", ssh_config=str(config), sudo=True)


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


def test_the_base_applied_again_changes_nothing(site: Path) -> None:
    again = converge(site, "base")
    assert again.ok, again.output
    assert again.changed == ()
