"""The control host at work: it tells what begins and what ends, keeps mirrors, and comes back when it is lost."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup import record
from backup.entry import Entry
from cloud.converge import REPOSITORY
from tests.waiting import until
from tests.watched_site import CONTROL, DATA, HOOK, PING, Upstream, Watched, commands, watched_site

pytestmark = pytest.mark.lab
FAILED, SILENT, CERTIFICATE = (f"{DATA}:web {kind}" for kind in ("failed", "host silent", "certificate"))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    yield from watched_site(tmp_path_factory.mktemp("control"))


@pytest.fixture
def calm(watched: Watched) -> Watched:
    """Nothing is wrong, and everybody knows."""
    assert watched.watch()
    watched.office.got.clear()
    return watched


def test_a_second_deploy_changes_nothing(watched: Watched) -> None:
    assert watched.deploy("control").changed == ()


def test_the_command_is_there_for_root(watched: Watched) -> None:
    told = json.loads(watched.ssh(CONTROL, "sudo mainstay backup status --json").stdout)
    assert {f"{one['host']}:{one['plan']}" for one in told["data_sets"]} == {f"{DATA}:web", f"{CONTROL}:control"}
    assert all(one["last_good"] for one in told["data_sets"])
    refused = watched.ssh(CONTROL, "mainstay backup status")
    assert (refused.returncode, refused.stderr) == (2, "mainstay: give it as root: sudo mainstay backup status\n")


@pytest.mark.full
def test_a_failed_backup_is_told_once_and_so_is_its_end(calm: Watched) -> None:
    before = len(calm.subjects())
    calm.root(DATA, "mv /srv/web/public /srv/web/away")
    calm.ssh(DATA, "sudo systemctl start mainstay-backup@web")
    assert calm.watch()
    assert calm.pings() == ["/start", ""]
    assert calm.told() == [([FAILED], [])]
    assert calm.watch()
    assert calm.told() == []
    calm.root(DATA, "mv /srv/web/away /srv/web/public; systemctl start mainstay-backup@web")
    assert calm.watch()
    assert calm.told() == [([], ["failed"])]
    until("two mails", lambda: len(calm.subjects()) >= before + 2)
    name = calm.site.name
    assert calm.subjects()[before:] == [f"[{name}] {DATA}:web: failed", f"[{name}] over: {DATA}:web: failed"]


def test_a_host_that_is_off_is_told_once_and_so_is_its_return(calm: Watched) -> None:
    """That hours have passed is played by the note of when it last answered."""
    calm.power(DATA, "halt")
    long_ago = f"date -u -d '4 hours ago' +%FT%T.%6N+00:00 >/srv/control/ledgers/{DATA}/heard"
    calm.root(CONTROL, long_ago)
    assert calm.watch()
    assert calm.told() == [([CERTIFICATE, SILENT], [])]
    assert calm.watch()
    assert calm.told() == []
    page = calm.root(CONTROL, "cat /srv/control/status/backup.html")
    assert "host silent" in page
    metrics = calm.root(CONTROL, "cat /var/lib/prometheus/node-exporter/mainstay-backup.prom")
    sample = f'mainstay_backup_finding{{host="{DATA}",plan="web",finding="host silent",severity="warning"}}'
    assert f"{sample} 1\n" in metrics
    calm.power(DATA, "start")
    assert calm.watch()
    assert calm.told() == [([], ["certificate", "host silent"])]


@pytest.mark.full
def test_a_certificate_that_users_are_warned_of_is_told_and_so_is_its_end(calm: Watched) -> None:
    program = "python3 -I /usr/local/lib/mainstay/certificate.py"
    calm.root(DATA, f"rm /var/lib/mainstay/tls/site.pem; {program} placeholder; systemctl reload nginx")
    assert calm.watch()
    assert calm.told() == [([CERTIFICATE], [])]
    told = json.loads(calm.root(CONTROL, "cat /srv/control/status/backup.json"))["data_sets"]
    [web] = [one for one in told if one["host"] == DATA]
    assert "users are warned of its certificate" in web["findings"][0]["what"]
    on_disk = calm.root(DATA, "openssl x509 -in /var/lib/mainstay/tls/site.pem -noout -enddate -dateopt iso_8601")
    ends = datetime.fromisoformat(on_disk.strip().removeprefix("notAfter="))
    assert [(one["name"], datetime.fromisoformat(one["ends"])) for one in web["certificates"]] == [
        (name, ends) for name in calm.site.fleet.hosts[DATA].dns
    ]
    metrics = calm.root(CONTROL, "cat /var/lib/prometheus/node-exporter/mainstay-backup.prom")
    assert metrics.count(f"}} {ends.timestamp():.0f}\n") == len(web["certificates"])
    calm.root(DATA, "systemctl start mainstay-certificate")
    assert calm.watch()
    assert calm.told() == [([], ["certificate"])]


@pytest.mark.full
def test_a_channel_that_fails_stops_no_other_and_is_told_later(calm: Watched) -> None:
    before = len(calm.subjects())
    calm.ssh(DATA, "sudo mv /srv/web/public /srv/web/away; sudo systemctl start mainstay-backup@web")
    calm.office.answers = [200, 403]  # the ping before, the webhook
    assert not calm.watch()
    assert calm.pings() == ["/start", "/fail"]
    until("a mail", lambda: len(calm.subjects()) == before + 1)
    calm.office.got.clear()
    assert calm.watch()
    assert calm.told() == [([FAILED], [])]
    calm.root(DATA, "mv /srv/web/away /srv/web/public; systemctl start mainstay-backup@web")
    assert calm.watch()


def test_nothing_secret_is_shown_to_others(calm: Watched) -> None:
    """Not in the journal, and in no list of processes while it works."""
    look = "systemctl start --no-block mainstay-control@watch; "
    look += "while systemctl show -P ActiveState mainstay-control@watch | grep -q ^activating; "
    look += "do cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; done; journalctl -b --no-pager"
    shown = calm.root(CONTROL, look)
    assert "cli.main backup watch" in shown
    values = [calm.site.secrets[name].get_secret_value() for name in calm.site.secrets]
    assert not [value for value in [*values, HOOK, PING] if value in shown]


def test_it_reads_backups_back_and_copies_them(watched: Watched) -> None:
    watched.root(CONTROL, "systemctl start mainstay-control@verify mainstay-control@copy")
    told = json.loads(watched.ssh(CONTROL, "sudo mainstay backup status --json").stdout)
    assert [one["host"] for one in told["data_sets"] if not one["read_back"]] == []
    assert [one["host"] for one in told["data_sets"] if not one["newest_copy"]] == []


def test_mirrors_follow_and_lose_nothing(watched: Watched, tmp_path: Path) -> None:
    upstream = Upstream(tmp_path / "work")
    watched.office.folder = tmp_path
    tips = []
    for words in ((), ("--amend",)):
        tips.append(upstream.publish(f"commit {words}", *words))
        watched.root(CONTROL, "systemctl start mainstay-control@mirror")
    git = "setpriv --reuid control --clear-groups git -C /srv/control/mirrors/it.git"
    assert watched.root(CONTROL, f"{git} rev-parse refs/heads/main").strip() == tips[1]
    kept = watched.root(CONTROL, f"{git} for-each-ref --format='%(objectname)' 'refs/kept/*/heads/main'")
    assert kept.split() == [tips[0]]
    watched.office.folder = tmp_path / "nowhere"
    assert watched.ssh(CONTROL, "sudo systemctl start mainstay-control@mirror").returncode
    assert "it: FAILED: " in watched.root(CONTROL, "journalctl -u mainstay-control@mirror -n 20 -o cat --no-pager")


def test_zones_are_kept_as_the_api_gives_them(watched: Watched) -> None:
    zone = watched.site.fleet.site.domain
    kept = json.loads(watched.root(CONTROL, f"cat /srv/control/zones/{zone}.json"))
    held = {record["name"]: record["data"] for record in kept["records"] if record["type"] == "A"}
    assert held[CONTROL] == watched.site.lock.hosts[CONTROL].ipv4


@pytest.mark.full
def test_software_that_is_killed_while_it_is_replaced_is_there(watched: Watched) -> None:
    """Each round begins with other software, and is killed a little later; the last one comes to its end."""
    change = "gzip -dc /var/lib/mainstay/control/project.tar.gz | gzip -{level} >/root/p; "
    change += "cat /root/p >/var/lib/mainstay/control/project.tar.gz; "
    unpack = "python3 -I /usr/local/lib/mainstay/unpack.py"
    for level, seconds in ((1, 0.05), (2, 0.3), (3, 1), (4, 3)):
        killed = f"{change.format(level=level)} timeout -s KILL {seconds} {unpack} || true; mainstay backup --help"
        assert "watch" in watched.root(CONTROL, killed)
    assert "watch" in watched.root(CONTROL, f"{unpack}; mainstay backup --help")
    assert len(watched.root(CONTROL, "ls -d /opt/*").split()) == 2
    assert watched.deploy("control").changed != ()


@pytest.mark.full
def test_a_lost_control_host_comes_back_by_the_readmes_words(calm: Watched) -> None:
    calm.root(CONTROL, "systemctl start mainstay-backup@control")
    now = datetime.now(UTC).replace(microsecond=0)
    later = Entry(host=DATA, plan="web", kind="check", start=now, end=now, outcome="ok", store="vault", part=(1, 30))
    record.note(calm.site, later)  # in no backup of the record
    record.hand_over(calm.site, print)
    assert calm.mainstay("status").returncode == 0
    before = calm.root(CONTROL, "cat /srv/control/ledgers/*/*.jsonl | grep -c .")
    calm.lose(CONTROL)
    calm.deploy("provision")
    calm.deploy("control")
    calm.root(CONTROL, commands(REPOSITORY / "roles/control/README.md"))
    calm.deploy("control")
    assert "does not continue what it had before" in calm.mainstay("status").stderr
    settled = calm.mainstay("settle")
    assert (settled.returncode, f"{DATA}:web: goes by the control host's record" in settled.stderr) == (0, True)
    assert "check of " in settled.stderr
    calm.root(CONTROL, "systemctl start mainstay-backup@control")
    assert int(calm.root(CONTROL, "cat /srv/control/ledgers/*/*.jsonl | grep -c .")) >= int(before)
    status = calm.mainstay("status", "--json")
    assert [finding for one in json.loads(status.stdout)["data_sets"] for finding in one["findings"]] == []
    assert (status.returncode, status.stderr) == (0, "")
