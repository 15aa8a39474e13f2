"""The monitor host: it sees all that is declared, and nobody but its admins sees it."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from testinfra.host import Host

from inventories.inventory import LoadedSite
from roles.base import exporter
from roles.monitor import rules, scraping, telling
from roles.monitor.deploy import SERVICES, TAKER
from roles.monitor.settings import ALERTMANAGER, BLACKBOX, LOOPBACK, PROMETHEUS, TELL, Settings
from roles.monitor.tools.asking import JOURNALS
from tests.waiting import until

pytestmark = pytest.mark.lab
EXPOSURE_AT_MOST = 2.0
MEMORY_MB_AT_MOST = 600
"""Resident, of all its programs together: the smallest plan has 1 GB."""
PROGRAMS = (*(unit.name for unit in SERVICES), "prometheus-node-exporter.service")


@pytest.fixture(scope="session")
def settings(loaded_site: LoadedSite, host_name: str) -> Settings:
    found = loaded_site.settings(host_name)["monitor"]
    assert isinstance(found, Settings)
    return found


def asked(host: Host, path: str) -> Any:
    """Of Prometheus' API."""
    return json.loads(host.check_output(f"curl -sf '{LOOPBACK}:{PROMETHEUS}/api/v1/{path}'"))["data"]


def values(host: Host, query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = asked(host, f"query?query={quote(query)}")["result"]
    return found


def test_every_host_is_seen(host: Host, loaded_site: LoadedSite) -> None:
    expected = {name: "1" for name, locked in loaded_site.lock.hosts.items() if locked.ipv4}

    def seen() -> bool:
        return {one["metric"]["instance"]: one["value"][1] for one in values(host, 'up{job="node"}')} == expected

    until("every exporter answers", seen, timeout_s=90)


def test_every_name_of_every_server_is_asked_by_each_family(host: Host, loaded_site: LoadedSite) -> None:
    found = {
        (one["metric"]["instance"], one["metric"]["name"], one["metric"]["family"])
        for one in values(host, 'probe_success{job="https"}')
    }
    assert found == {(probe.host, probe.name, probe.family) for probe in scraping.probes(loaded_site)}


def test_every_rule_is_judged_without_an_error(host: Host, loaded_site: LoadedSite, settings: Settings) -> None:
    groups = asked(host, "rules?type=alert")["groups"]
    assert {group["file"] for group in groups} == {*rules.files(loaded_site, settings)}
    assert {rule["name"]: rule["lastError"] for group in groups for rule in group["rules"] if "lastError" in rule} == {}
    own = next(group for group in groups if group["name"] == rules.OWN)
    assert [rule["name"] for rule in own["rules"]] == [rule["alert"] for rule in rules.rules(loaded_site, settings)]
    assert own["interval"] == settings.interval_seconds


def test_alertmanager_hears_of_it(host: Host) -> None:
    """The alert that always fires has come through."""
    found = json.loads(host.check_output(f"amtool alert query -o json alertname={rules.WATCHDOG}"))
    assert [one["status"]["state"] for one in found] == ["active"]


def test_the_interfaces_are_on_loopback_alone(host: Host) -> None:
    lines = host.check_output("ss -Hltn").splitlines()
    for port in (PROMETHEUS, ALERTMANAGER, BLACKBOX, TELL):
        assert [line.split()[3] for line in lines if line.split()[3].endswith(f":{port}")] == [f"{LOOPBACK}:{port}"]


def test_only_the_monitor_hosts_certificate_is_answered(host: Host, loaded_site: LoadedSite, host_name: str) -> None:
    name = next((name for name in loaded_site.lock.hosts if name != host_name), host_name)
    at = f"--resolve {name}:{exporter.PORT}:{loaded_site.lock.hosts[name].ipv4} https://{name}:{exporter.PORT}/metrics"
    ask = f"curl -s -o /dev/null -w '%{{http_code}}' --cacert {exporter.AUTHORITY}"
    assert host.run(f"{ask} {at}").rc != 0
    own = f"--cert {exporter.CERTIFICATE} --key {exporter.KEY}"
    assert host.check_output(f"{ask} {own} {at}") == "200"


def test_keys_and_addresses_are_read_by_those_who_need_them(host: Host) -> None:
    shown = host.check_output(f"stat -c '%U:%G %a' {exporter.KEY} {telling.CONFIG}").splitlines()
    assert shown == ["root:prometheus 640", "root:root 600"]
    assert host.check_output("systemctl show -p User --value mainstay-tell.service") == "mail"


def test_every_other_hosts_journal_has_come_and_is_bounded(
    host: Host, loaded_site: LoadedSite, host_name: str, settings: Settings
) -> None:
    others = {name for name, locked in loaded_site.lock.hosts.items() if name != host_name and locked.ipv4}
    assert others <= set(host.check_output(f"ls {JOURNALS}").split())
    for name in others:
        last = host.check_output(f"journalctl --directory={JOURNALS}/{name} -n 1 -o json --output-fields=MESSAGE")
        age = float(host.check_output("date +%s")) - int(json.loads(last)["__REALTIME_TIMESTAMP"]) / 1e6
        assert age < 2 * 3600, name
        first = host.check_output(f"journalctl --directory={JOURNALS}/{name} -o json -n +1 --output-fields=MESSAGE")
        oldest = int(json.loads(first)["__REALTIME_TIMESTAMP"]) / 1e6
        assert float(host.check_output("date +%s")) - oldest < (settings.journal_days + 20) * 86400, name
        assert int(host.check_output(f"du -sm {JOURNALS}/{name}").split()[0]) < settings.journal_mb * 1.2


def test_journals_are_read_by_root_alone(host: Host) -> None:
    assert host.check_output(f"stat -c '%U %a' {JOURNALS}") == f"{TAKER} 750"
    assert host.check_output("systemctl show -p User --value mainstay-journals.service") == TAKER
    assert host.run(f"sudo -u nobody ls {JOURNALS}").rc != 0


def test_measurements_are_bounded(host: Host, settings: Settings) -> None:
    limits = [int(one["value"][1]) for one in values(host, "prometheus_tsdb_retention_limit_bytes")]
    assert settings.keep_mb << 20 in limits  # for minutes there is that of Debian's configuration, too
    assert asked(host, "status/flags")["storage.tsdb.retention.time"] == f"{settings.keep_days}d"
    used = int(host.check_output("du -sm /var/lib/prometheus/metrics2").split()[0])
    assert used < settings.keep_mb * 1.1


def test_it_is_small(host: Host) -> None:
    """And what would not be is ended before the host is."""
    names = " ".join(PROGRAMS)
    pids = host.check_output(f"systemctl show -p MainPID --value {names}").split()
    kib = [int(host.check_output(f"awk '/^VmRSS/ {{print $2}}' /proc/{pid}/status")) for pid in pids]
    assert sum(kib) / 1024 < MEMORY_MB_AT_MOST
    limits = host.check_output(f"systemctl show -p MemoryMax --value {names}").split()
    assert all(limit.isdigit() for limit in limits)
    assert sum(map(int, limits)) < 900 << 20


@pytest.mark.parametrize("unit", PROGRAMS)
def test_its_programs_are_shut_in(host: Host, unit: str) -> None:
    said = host.check_output(f"systemd-analyze security --no-pager {unit} | tail -1")
    assert float(said.split(":")[1].split()[0]) <= EXPOSURE_AT_MOST, said
