"""The monitor host: whom it asks, what it judges, whom it tells; and by what hosts and it know each other."""

import re
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from backup import renewal
from inventories import editing, monitoring, trusted
from inventories.errors import InputError
from inventories.fleet import Fleet
from inventories.inventory import CLONE, LoadedSite
from inventories.lock import Lock, LockedHost, save
from inventories.secrets import Secrets
from roles.base import exporter, shipping
from roles.monitor import rules, scraping, telling
from roles.monitor.settings import Settings
from roles.monitor.tools import asking

HOST: dict[str, Any] = {"plan": "p", "region": "ams", "firewall": "all"}
ADDRESSES = {"monitor-1": "203.0.113.1", "web-1": "203.0.113.2", "release-1": "203.0.113.3"}
OPEN = {"rules": [{"protocol": "tcp", "port": "9000:9200"}, {"protocol": "tcp", "port": "19532"}]}


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path], check=True)
    return path


def made(tmp_path: Path, key: Path, *, rules: dict[str, Any] = OPEN, **hosts: dict[str, Any]) -> LoadedSite:
    """A site that is provisioned, with its authority."""
    declared = {
        "monitor-1": HOST | {"role": "monitor"},
        "web-1": HOST | {"role": "web", "dns": ["www.example.org", "example.org"]},
        "release-1": HOST | {"role": "release", "settings": {"release": {"certificate": {"challenge": "none"}}}},
    }
    fleet = Fleet.model_validate(
        {
            "site": {"name": "s", "domain": "example.org", "ssh_key": str(key)},
            "firewalls": {"all": rules},
            "hosts": declared | hosts,
        }
    )
    files = tmp_path / "s"
    files.mkdir(parents=True)
    public = key.with_suffix(".pub").read_text().strip()
    (files / "admins.toml").write_text(f'[admins.alice]\nssh_keys = ["{public} alice"]\n')
    Secrets.create(files / "secrets.age", {"alice": [public]}, {"other": "x"})
    locked = {
        name: LockedHost(instance_id=name, ipv4=address, ipv6="2001:db8::2" if name == "web-1" else "")
        for name, address in ADDRESSES.items()
    }
    save(files / "lock.json", Lock(hosts=locked))
    site = LoadedSite(tmp_path / "s.toml", fleet)
    monitoring.make(site)
    return LoadedSite(tmp_path / "s.toml", fleet)


def test_the_authority_is_made_once_and_hosts_follow_from_it(tmp_path: Path, key: Path) -> None:
    site = made(tmp_path, key)
    assert monitoring.make(site) == ()
    one, again = monitoring.identity(site, "web-1"), monitoring.identity(site, "web-1")
    assert (one.certificate, one.key) == (again.certificate, again.key)
    assert one.key != monitoring.identity(site, "release-1").key
    certificate = x509.load_pem_x509_certificate(one.certificate.encode())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(one.authority.encode()))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["web-1"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == [ADDRESSES["web-1"]]


def test_openssl_takes_a_hosts_key_and_certificate(tmp_path: Path, key: Path) -> None:
    one = monitoring.identity(made(tmp_path, key), "web-1")
    both = tmp_path / "both.pem"
    both.write_text(one.key.get_secret_value() + one.certificate)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(both)


def test_another_authority_gives_every_host_another_key(tmp_path: Path, key: Path) -> None:
    site = made(tmp_path, key)
    before = monitoring.identity(site, "web-1")
    monitoring.renew(site)
    after = monitoring.identity(LoadedSite(site.path, site.fleet), "web-1")
    assert before.key != after.key
    assert before.authority != after.authority


def test_the_authority_is_this_projects_to_replace_and_one_deploy_brings_it(tmp_path: Path, key: Path) -> None:
    site = made(tmp_path, key)
    before = (site.files / monitoring.CERTIFICATE).read_text()
    found = renewal.renewal(site, monitoring.TLS_KEY)
    assert found.own
    assert [command.rpartition("/")[2] for command in found.then] == ["site.py"]
    renewal.renew(site, monitoring.TLS_KEY, lambda _: None)
    assert (site.files / monitoring.CERTIFICATE).read_text() != before
    monitoring.identity(LoadedSite(site.path, site.fleet), "web-1")


def test_what_is_missing_or_ends_is_told_with_what_makes_another(tmp_path: Path, key: Path) -> None:
    site = made(tmp_path, key)
    secret, authority = site.secrets[monitoring.TLS_KEY], (site.files / monitoring.CERTIFICATE).read_text()
    late = datetime.now(UTC) + timedelta(days=monitoring.VALID_DAYS - monitoring.RENEW_DAYS)
    with pytest.raises(ValueError, match="valid only until"):
        monitoring.issued(authority, secret, ("web-1",), late)
    (site.files / monitoring.CERTIFICATE).unlink()
    with pytest.raises(InputError, match="mainstay monitor keys"):
        monitoring.identity(site, "web-1")
    editing.apply(site.secrets.path, site.secrets.entries, {monitoring.TLS_KEY: None}, site.readers)
    with pytest.raises(InputError, match="mainstay monitor keys"):
        monitoring.identity(LoadedSite(site.path, site.fleet), "web-1")


def test_the_exporter_is_opened_to_the_monitor_host_alone(tmp_path: Path, key: Path) -> None:
    site = made(tmp_path, key)
    [opening] = exporter.openings(site)
    assert (opening.port, opening.sources) == (9100, ("203.0.113.1/32",))
    assert "client_allowed_sans: [monitor-1]" in exporter.files(site, "web-1")[exporter.WEB]


def test_journals_are_taken_from_the_sites_hosts_alone(tmp_path: Path, key: Path) -> None:
    site = made(tmp_path, key)
    [opening] = shipping.openings(site, "monitor-1")
    assert (opening.port, opening.sources) == (19532, ("203.0.113.3/32", "203.0.113.2/32"))
    assert shipping.openings(site, "web-1") == []
    assert "--url=https://203.0.113.1:19532 " in shipping.files(site, "web-1")[shipping.DROP_IN]
    assert shipping.files(site, "monitor-1") == {}
    assert (shipping.unit(site, "web-1").running, shipping.unit(site, "monitor-1").running) == (True, False)


def test_a_site_without_a_monitor_host_has_none_of_it(tmp_path: Path, key: Path) -> None:
    site = made(tmp_path, key)
    without = LoadedSite(site.path, site.fleet.model_copy(update={"hosts": {"web-1": site.fleet.hosts["web-1"]}}))
    assert exporter.packages(without) == ()
    assert exporter.files(without, "web-1") == {}
    assert (exporter.openings(without), exporter.listens(without)) == ([], [])
    assert not exporter.unit(without).running
    assert not shipping.unit(without, "web-1").running
    assert (shipping.packages(without, "web-1"), shipping.absent_files(without, "web-1")) == ((), (shipping.DROP_IN,))
    assert exporter.KEY in exporter.absent_files(without)


def test_there_is_one_monitor_host(tmp_path: Path, key: Path) -> None:
    with pytest.raises(InputError, match="more than one monitor host"):
        made(tmp_path, key, **{"monitor-2": HOST | {"role": "monitor"}})


def test_each_host_is_asked_under_its_own_name(tmp_path: Path, key: Path) -> None:
    jobs = scraping.prometheus(made(tmp_path, key), Settings())["scrape_configs"]
    asked = {
        job["tls_config"]["server_name"]: job["static_configs"][0]["targets"] for job in jobs if "tls_config" in job
    }
    assert asked == {name: [f"{address}:9100"] for name, address in ADDRESSES.items()}


def test_each_name_of_a_server_is_asked_at_each_of_its_addresses(tmp_path: Path, key: Path) -> None:
    found = {(probe.name, probe.url, probe.module) for probe in scraping.probes(made(tmp_path, key))}
    assert found == {
        ("www.example.org", "https://203.0.113.2/", "https_200_503_ipv4"),
        ("www.example.org", "https://[2001:db8::2]/", "https_200_503_ipv6"),
        ("example.org", "https://203.0.113.2/", "https_200_503_ipv4"),
        ("example.org", "https://[2001:db8::2]/", "https_200_503_ipv6"),
        ("release-1.example.org", "https://203.0.113.3/", "https_404_ipv4_unverified"),
    }


def test_only_a_certificate_that_a_host_signs_itself_is_taken_unverified(tmp_path: Path, key: Path) -> None:
    site = made(tmp_path, key)
    for has_roots in (True, False):
        found = scraping.blackbox(site, has_roots=has_roots)["modules"]
        trust = {name: module["http"]["tls_config"] for name, module in found.items()}
        assert {name for name, one in trust.items() if one.get("insecure_skip_verify")} == {"https_404_ipv4_unverified"}
        assert (trust["https_200_503_ipv4"].get("ca_file") == scraping.ROOTS) is has_roots
    (site.files / trusted.ROOTS).write_text("pem")
    assert scraping.roots(site) == {scraping.ROOTS: "pem"}


def test_a_website_in_maintenance_is_well_and_no_other_server_that_answers_so(tmp_path: Path, key: Path) -> None:
    modules = scraping.blackbox(made(tmp_path, key), has_roots=False)["modules"]
    assert {name: one["http"]["valid_status_codes"] for name, one in modules.items()} == {
        "https_200_503_ipv4": [200, 503],
        "https_200_503_ipv6": [200, 503],
        "https_404_ipv4_unverified": [404],
    }


def test_a_firewall_of_the_provider_that_keeps_the_monitor_host_out_is_told(tmp_path: Path, key: Path) -> None:
    for port, whom in (("9100", "what hosts send"), ("19532", "the monitor host")):
        site = made(tmp_path / port, key, rules={"rules": [{"protocol": "tcp", "port": port}]})
        with pytest.raises(InputError, match=rf"firewalls\.all\.rules.*keeps {whom} from"):
            scraping.prometheus(site, Settings())


def alert_files() -> list[Path]:
    return [CLONE / path for path in rules.OTHERS.values()]


def test_every_rule_file_of_the_project_is_known() -> None:
    assert sorted(alert_files()) == sorted(CLONE.glob("*/alerts/*.yml")) + sorted(CLONE.glob("roles/*/alerts/*.yml"))


def test_each_alert_names_a_runbook_that_is_there(tmp_path: Path, key: Path) -> None:
    found = {(rule["alert"], rule["annotations"]["runbook"]) for rule in rules.rules(made(tmp_path, key), Settings())}
    for path in alert_files():
        named = re.findall(r"- alert: (\w+)\n(?:(?!- alert:).*\n)*?\s+runbook: (\S+)\n?", path.read_text())
        assert [alert for alert, _ in named] == re.findall(r"- alert: (\w+)", path.read_text())
        found |= {*named}
    assert {runbook for _, runbook in found if not (CLONE / runbook).is_file()} == set()
    assert {*rules.SHOWN} <= {alert for alert, _ in found}
    for alert, runbook in found:
        assert alert in (CLONE / runbook).read_text() or alert == rules.WATCHDOG or "StatusStale" not in alert, runbook


def test_rules_follow_the_fleet(tmp_path: Path, key: Path) -> None:
    site = made(tmp_path, key)
    assert [*rules.files(site, Settings())] == ["/etc/prometheus/rules/mainstay-monitor.rules.yml"]
    assert len(rules.absent(site)) == len(rules.OTHERS)
    assert rules.DOES_NOT_ANSWER in {rule["alert"] for rule in rules.rules(site, Settings())}
    hosts = {"monitor-1": site.fleet.hosts["monitor-1"]}
    alone = LoadedSite(site.path, site.fleet.model_copy(update={"hosts": hosts}))
    assert rules.DOES_NOT_ANSWER not in {rule["alert"] for rule in rules.rules(alone, Settings())}
    vault = HOST | {"role": "vault", "dns": ["vault.example.org"]}
    declared = {name: host.model_dump() for name, host in site.fleet.hosts.items()}
    more = Fleet.model_validate(
        site.fleet.model_dump(exclude={"backup"}) | {"hosts": declared | {"v": vault, "c": HOST | {"role": "control"}}}
    )
    files = rules.files(LoadedSite(site.path, more), Settings())
    assert [path.split("/")[-1] for path in files] == [
        *("mainstay-monitor.rules.yml", "mainstay-backup.rules.yml"),
        *("mainstay-release.rules.yml", "mainstay-sources.rules.yml"),
    ]


def test_the_two_that_watch_ping_different_checks(tmp_path: Path, key: Path) -> None:
    site = made(tmp_path, key)
    assert telling.told(site, None) == {"site": "s", "mail": "", "webhook": "", "ping": ""}
    for name, value in ((monitoring.PING, "https://p.example/1"), ("notify_ping", "https://p.example/1")):
        held = site.secrets.at(site.secrets.path)
        editing.apply(held.path, held.entries, {name: editing.Plain(value)}, site.readers)
    with pytest.raises(InputError, match="notify_ping too"):
        telling.told(LoadedSite(site.path, site.fleet), None)


def test_what_fires_is_told_with_the_worst_first() -> None:
    def alert(name: str, severity: str, silenced: str = "") -> str:
        labels = f'"labels": {{"alertname": "{name}", "severity": "{severity}", "instance": "web-1"}}'
        words = '"annotations": {"summary": "s", "description": "d", "runbook": "r"}, "startsAt": "t"'
        return f'{{{labels}, {words}, "status": {{"silencedBy": [{silenced}]}}}}'

    of = (("A", "warning"), ("B", "critical", '"id"'), ("C", "critical"), ("MainstayWatchdog", "none"))
    found = asking.parsed(f"[{','.join(alert(*one) for one in of)}]")
    assert [one.name for one in found] == ["C", "A", "B"]
    assert (found[0].host, found[0].to_do, found[2].silenced) == ("web-1", "d  r", True)
