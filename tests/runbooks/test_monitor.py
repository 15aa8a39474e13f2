"""The runbooks of alerts, followed to the letter: on a host that is watched, with what they are for brought about."""

from collections.abc import Iterator

import pytest

from roles.monitor.tools.asking import JOURNALS
from tests.monitored_site import HOST, WATCHED, Monitored, monitored_site
from tests.runbooks.reader import follow
from tests.saved_site import Saved
from tests.waiting import until
from tests.watched_site import CONTROL, watched_site

pytestmark = [pytest.mark.lab, pytest.mark.full, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    yield from monitored_site(tmp_path_factory.mktemp("monitored"))


def unwell(site: Monitored, query: str) -> bool:
    """Whether Prometheus has such a sample now."""
    words = f"curl -sf --get --data-urlencode 'query={query}' 127.0.0.1:9090/api/v1/query"
    return '"value"' in site.root(HOST, words)


def test_host_down_is_its_exporter_alone(site: Monitored) -> None:
    down = f'up{{instance="{WATCHED}",job="node"}} == 0'
    site.root(WATCHED, "systemctl stop prometheus-node-exporter")
    until("it is seen", lambda: unwell(site, down))
    assert "load average" in follow(site, "host-down", "Is it up", host=WATCHED)
    until("it is over", lambda: not unwell(site, down))


def test_a_server_does_not_answer(site: Monitored) -> None:
    site.root(WATCHED, "systemctl stop nginx")
    until("it is seen", lambda: unwell(site, "probe_success == 0"))
    names = {"monitor": HOST, "host": WATCHED, "unit": "nginx.service"}
    said = follow(site, "does-not-answer", "What is wrong", **names)
    assert "inactive" in said
    assert f'"instance":"{WATCHED}"' in said
    assert "active" in follow(site, "does-not-answer", "Start it", **names)
    until("it is over", lambda: not unwell(site, "probe_success == 0"))


def test_a_unit_failed(site: Monitored) -> None:
    """The certificate's, without its plan."""
    names = {"host": WATCHED, "unit": "mainstay-certificate.service"}
    site.root(WATCHED, "mv /etc/mainstay/certificate/plan.json /root; systemctl start mainstay-certificate || true")
    failed = 'node_systemd_unit_state{name="mainstay-certificate.service"} == 1'
    until("it is seen", lambda: unwell(site, failed))
    assert "plan.json" in follow(site, "unit-failed", "What it said", **names)
    site.root(WATCHED, "mv /root/plan.json /etc/mainstay/certificate/")
    follow(site, "unit-failed", "Once it is mended", **names)
    until("it is over", lambda: not unwell(site, failed))


def test_disk_memory_and_clock(site: Monitored) -> None:
    assert "/srv/web" in follow(site, "disk-filling", "What takes it", host=WATCHED, mount="/srv/web")
    assert "nginx" in follow(site, "memory-short", "Who has it", host=WATCHED)
    assert "System time" in follow(site, "clock-wrong", "What it goes by", host=WATCHED)


def test_a_journal_is_silent(site: Monitored) -> None:
    names = {"monitor": HOST, "host": WATCHED}
    site.root(WATCHED, "systemctl stop systemd-journal-upload; logger -t while nobody-sent")
    assert "inactive" in follow(site, "journal-silent", "What is wrong", **names)
    follow(site, "journal-silent", "Send again", **names)
    came = f"journalctl --directory={JOURNALS}/{WATCHED} -t while --no-pager"
    until("what was written meanwhile has come", lambda: "nobody-sent" in site.ssh(HOST, came).stdout)


def test_the_monitor_is_silent(site: Monitored) -> None:
    site.root(HOST, "systemctl stop prometheus mainstay-tell")
    assert "inactive" in follow(site, "monitor-silent", "What is wrong", monitor=HOST)
    follow(site, "monitor-silent", "Mend it", monitor=HOST)
    pings = site.pings()
    until("it is pinged", lambda: site.pings() > pings)


def test_backups_are_wrong_and_an_audit_found_something(tmp_path_factory: pytest.TempPathFactory) -> None:
    """On a control host, which looks."""
    for made in watched_site(tmp_path_factory.mktemp("watched")):
        saved = Saved(made.inventory, made.inventory.parent, made.lab)
        said = follow(saved, "backup-wrong", "Does the control host look", "What it found", control=CONTROL)
        assert "mainstay-control@watch.timer" in said
        follow(saved, "audit-found", "Does the control host audit", control=CONTROL)
