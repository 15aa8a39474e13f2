"""A monitor host as a deploy puts it into service: what people are told, how often, and what tells of itself."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial

import pytest

from cloud.converge import REPOSITORY, converge
from inventories import monitoring
from roles.base import exporter
from roles.monitor.settings import JOURNALS as PORT
from roles.monitor.tools.asking import JOURNALS
from tests.monitored_site import HOST, WATCHED, Monitored, monitored_site
from tests.roles.web_client import clients
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.full, pytest.mark.timeout(1200)]
ALL_WELL = "every name is answered"
OF_BASE = ("test_the_firewall_drops_what_no_role_opens", "test_nothing_listens_that_no_role_declares")
EACH_S = 60
"""From a ping to the next."""
GONE_S = 240
"""An alert ends a minute after Prometheus has; Alertmanager looks at its groups once a minute."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    for made in monitored_site(tmp_path_factory.mktemp("monitored")):
        until(ALL_WELL, partial(well, made), timeout_s=240)
        made.office.got.clear()
        yield made


def firing(site: Monitored) -> list[str]:
    """By `mainstay monitor alerts`; what the exit code says is so."""
    done = mainstay(site, "alerts", "--json")
    found = [f"{one['name']} {one['host']}" for one in json.loads(done.stdout) if not one["silenced"]]
    assert done.returncode == (56 if found else 0), done.stderr
    return found


def well(site: Monitored) -> bool:
    """Not so before Alertmanager answers."""
    return mainstay(site, "alerts").returncode == 0


def mainstay(site: Monitored, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [str(REPOSITORY / "bin/mainstay"), "monitor", *words]
    return subprocess.run(command, env=site.environment, capture_output=True, text=True, check=False)


def test_a_server_that_stops_is_told_once_by_each_channel_and_once_that_it_is_over(site: Monitored) -> None:
    until(ALL_WELL, partial(well, site), timeout_s=GONE_S)
    site.office.got.clear()
    before = len(site.mails())
    site.root(WATCHED, "systemctl stop nginx")
    until("it is told", lambda: site.told())
    [(began, ended)] = site.told()
    assert {*began} == {f"MainstayDoesNotAnswer {WATCHED}"}
    assert ended == []
    until("it is mailed", lambda: len(site.mails()) > before)
    assert b"does not serve" in site.mails()[before]
    assert f"MainstayDoesNotAnswer {WATCHED}" in firing(site)
    site.root(WATCHED, "systemctl start nginx")
    until("its end is told", lambda: any(not began for began, _ in site.told()), timeout_s=GONE_S)
    told = site.told()
    assert {*told[-1][1]} == {f"MainstayDoesNotAnswer {WATCHED}"}
    assert [began for began, _ in told[1:-1] if began] == [], "told again while nothing was new"
    until("the end is mailed", lambda: len(site.mails()) >= before + len(told))
    assert b"over: " in site.mails()[-1]
    assert len(site.mails()) == before + len(told)


def test_what_nobody_is_to_be_told_of_is_shown(site: Monitored) -> None:
    until(ALL_WELL, partial(well, site), timeout_s=GONE_S)
    site.office.got.clear()
    done = mainstay(site, "silence", WATCHED, "--minutes", "30", "--why", 'it\'s being "deployed"; $(reboot)')
    assert done.returncode == 0, done.stderr
    site.root(WATCHED, "systemctl stop prometheus-node-exporter")

    def shown() -> bool:
        found = json.loads(mainstay(site, "alerts", "--json").stdout)
        return [(one["name"], one["silenced"]) for one in found] == [("MainstayHostDown", True)]

    until("it is shown, and silenced", shown)
    pings = site.pings()
    until("the dead man's switch goes on", lambda: site.pings() > pings)
    assert site.told() == []
    site.root(WATCHED, "systemctl start prometheus-node-exporter")
    site.root(HOST, f"amtool silence expire {done.stdout.strip()}")
    until(ALL_WELL, partial(well, site), timeout_s=GONE_S)


def test_strangers_do_not_reach_an_exporter_and_a_host_does_not_read_another(site: Monitored) -> None:
    address = site.site.lock.hosts[HOST].ipv4
    at = f"--resolve {HOST}:{exporter.PORT}:{address} https://{HOST}:{exporter.PORT}/metrics"
    own = f"--cert {exporter.CERTIFICATE} --key {exporter.KEY} --cacert {exporter.AUTHORITY}"
    done = site.ssh(WATCHED, f"curl -s -m 3 {own} {at}")
    assert done.returncode == 28, "the firewall has let it in"
    site.root(HOST, f"nft insert rule inet mainstay input tcp dport {exporter.PORT} accept")
    done = site.ssh(WATCHED, f"curl -sS -m 10 {own} {at}")
    assert done.returncode not in (0, 28), done.stdout
    site.root(HOST, "nft -f /etc/nftables.conf")


def test_who_wipes_a_hosts_journal_has_not_wiped_it_here(site: Monitored) -> None:
    site.root(WATCHED, "logger -t intruder 'was here'")
    until("it has come", lambda: "was here" in kept(site, "-t", "intruder"))
    site.root(
        WATCHED, "journalctl --rotate; rm -rf /var/log/journal/* /run/log/journal/*; systemctl restart systemd-journald"
    )
    assert "was here" not in site.ssh(WATCHED, "journalctl -t intruder --no-pager").stdout
    assert "was here" in kept(site, "-t", "intruder")
    site.root(WATCHED, "logger -t admin 'is back'")
    until("what comes after has come, too", lambda: "is back" in kept(site, "-t", "admin"))


def test_root_on_a_host_reads_and_removes_nothing_here(site: Monitored) -> None:
    """With all that lies on the host: its key opens one thing, and its own folder."""
    address = f"https://{site.site.lock.hosts[HOST].ipv4}:{PORT}"
    own = f"--cert {exporter.CERTIFICATE} --key {exporter.KEY} --cacert {exporter.AUTHORITY}"
    before = site.root(HOST, f"ls {JOURNALS}")
    for words, status in (("", 501), ("-X DELETE", 501), ("-X PUT -d x", 501)):
        for path in ("/", "/upload", f"/{WATCHED}", "/entries"):
            said = site.root(WATCHED, f"curl -s -m 10 -w '\\n%{{http_code}}' {own} {words} '{address}{path}'")
            assert said.rpartition("\n")[2] == str(status), (words, path)
            assert "MESSAGE" not in said
    stranger = site.ssh(WATCHED, f"curl -s -m 10 -k {address}/upload -d MESSAGE=x")
    assert stranger.returncode in (55, 56), "it sends or receives after it was refused"
    assert site.root(HOST, f"ls {JOURNALS}") == before


def test_what_visitors_ask_for_is_in_no_journal(site: Monitored) -> None:
    assert clients(site.site, WATCHED)["IPv4"].status("/visited-by-somebody") == 404
    site.root(WATCHED, "logger -t after 'the visit'")
    until("what came after has come", lambda: "the visit" in kept(site, "-t", "after"))
    assert "visited-by-somebody" not in kept(site)


def kept(site: Monitored, *words: str) -> str:
    """What the monitor host has of the web server's journal."""
    done = mainstay(site, "journal", WATCHED, "--no-pager", *words)
    return done.stdout


def test_its_suite_passes_and_a_second_deploy_changes_nothing(site: Monitored) -> None:
    again = converge(site.inventory, "site")
    assert (again.code, again.changed) == (0, ()), again.output
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "tests/roles/test_monitor.py"]
    base = [f"tests/roles/test_base.py::{name}" for name in OF_BASE]
    done = subprocess.run(
        [*words, *base, "--inventory", str(site.inventory)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout


def test_another_authority_reaches_all_hosts_by_one_deploy(site: Monitored) -> None:
    before = site.root(WATCHED, f"cat {exporter.CERTIFICATE}")
    monitoring.renew(site.site)
    site.deploy("base", "monitor")
    assert site.root(WATCHED, f"cat {exporter.CERTIFICATE}") != before
    until(ALL_WELL, partial(well, site), timeout_s=GONE_S)


def test_when_prometheus_stops_the_pings_end(site: Monitored) -> None:
    pings = site.pings()
    until("it is pinged", lambda: site.pings() > pings)
    site.root(HOST, "systemctl stop prometheus")
    last = [site.pings(), time.monotonic()]

    def quiet() -> bool:
        if site.pings() != last[0]:
            last[:] = [site.pings(), time.monotonic()]
        return time.monotonic() - last[1] > 2 * EACH_S

    until("the pings end", quiet, timeout_s=GONE_S + 2 * EACH_S)
    pings = site.pings()
    site.root(HOST, "systemctl start prometheus")
    until("it is pinged again", lambda: site.pings() > pings, timeout_s=GONE_S)
