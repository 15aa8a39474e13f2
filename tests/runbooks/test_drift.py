"""Drift of hosts that were deployed and then changed by hand: each thing is named, and the page mends it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cloud.converge import REPOSITORY
from roles.base.drift import STATUS
from tests.runbooks.reader import SHELL, follow_in
from tests.waiting import until
from tests.watched_site import CONTROL, DATA, VAULT, Watched, watched_site

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
SECRET = "correct-horse-battery"
DROP_IN = "/etc/systemd/system/nginx.service.d/by-hand.conf"
METRICS = "/var/lib/prometheus/node-exporter/*drift*"
UNITS = "-u mainstay-drift -u mainstay-failed@mainstay-drift.service"
FOUND = f"{DATA}: mainstay-drift.service has found something"
"""A mail's subject."""
BY_DAY = """
systemctl start dpkg-db-backup logrotate systemd-tmpfiles-clean mainstay-stale mainstay-certificate mainstay-requests
systemctl start mainstay-backup@web
"""
"""What timers do there by themselves. Its machine has booted anew since its deploy."""
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMallory mallory@example.org"
PACKAGE = "Package: by-hand\\nVersion: 1\\nArchitecture: all\\nMaintainer: N <n@example.org>\\nDescription: none\\n"
BY_HAND = f"""
echo '# by hand' >>/etc/chrony/chrony.conf
echo '{SECRET}' >>/etc/mainstay/backup/web.json
mkdir -p /tmp/by-hand/DEBIAN
printf '{PACKAGE}' >/tmp/by-hand/DEBIAN/control
dpkg-deb --build /tmp/by-hand /tmp/by-hand.deb >/dev/null
dpkg --install /tmp/by-hand.deb >/dev/null
systemd-run --quiet --unit=by-hand python3 -m http.server --directory /tmp/by-hand 8099
mkdir -p {Path(DROP_IN).parent}
printf '[Service]\\nNice=5\\n' >{DROP_IN}
sysctl -q net.ipv4.conf.all.log_martians=1
nft insert rule inet mainstay input tcp dport 8099 accept
useradd mallory
echo '{KEY}' >>"$(getent passwd lab | cut -d: -f6)/.ssh/authorized_keys"
"""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    yield from watched_site(tmp_path_factory.mktemp("drift"))


def drift(watched: Watched, *hosts: str) -> tuple[int, list[dict[str, Any]]]:
    words = [sys.executable, "-m", "cli.main", "drift", "--inventory", str(watched.inventory), "--json", *hosts]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    assert SECRET not in done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["exit_code"] == done.returncode
    return done.returncode, told["findings"]


def noticed(watched: Watched, host: str = DATA) -> dict[str, dict[str, Any]]:
    """What the host finds by its own look, by name."""
    watched.root(host, "systemctl start mainstay-drift")
    text = watched.root(host, f"cat {STATUS}")
    assert SECRET not in text
    return {one["what"]: one for one in json.loads(text)["findings"]}


def told_by_mail(watched: Watched) -> int:
    """How often."""
    return watched.subjects().count(FOUND)


def follow(watched: Watched, *titles: str) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    place = {"cwd": REPOSITORY, "env": os.environ | {"PATH": path, "PYINFRA_PROGRESS": "off"}}
    names = {"MAINSTAY_INVENTORY": watched.inventory, "host": DATA, "role": "web"}
    return follow_in(SHELL, place, "drift-found", *titles, **names)


def test_hosts_that_were_deployed_show_none_and_what_is_done_by_hand_is_named_until_it_is_mended(
    watched: Watched,
) -> None:
    code, findings = drift(watched)
    assert findings == []
    assert code == 0

    watched.root(DATA, BY_DAY)
    assert [noticed(watched, host) for host in (VAULT, DATA, CONTROL)] == [{}, {}, {}]

    watched.root(DATA, BY_HAND)
    code, findings = drift(watched, DATA)
    found = {one["what"]: one for one in findings}
    assert code == 52
    assert "-# by hand" in found["/etc/chrony/chrony.conf"]["lines"]
    assert found["/etc/chrony/chrony.conf"]["declared"] == "base | files"
    secret = found["/etc/mainstay/backup/web.json"]
    assert (secret["why"], secret["lines"]) == ("content", [])
    assert found["lab"]["why"].endswith("mallory@example.org")
    assert [found[name]["kind"] for name in ("by-hand", DROP_IN)] == ["packages", "units"]
    assert "python3 listens" in found["tcp 0.0.0.0:8099"]["why"]
    assert found["net.ipv4.conf.all.log_martians"]["why"].startswith("is 1,")
    assert "-    tcp dport 8099 accept" in found["rules in force"]["lines"]
    assert "its unit file changed" in found["nginx.service"]["why"]
    dated = ("/etc/chrony/chrony.conf", "lab", "by-hand", DROP_IN, "tcp 0.0.0.0:8099")
    assert all(found[name]["since"] for name in dated)
    assert not {name for name in found if name.startswith(("ssh", "/etc/nginx"))}
    _has_noticed_it_all(watched)

    said = follow(watched, "What a host told", "Look", "A deploy makes it good", "Undo it by hand", "All is well")
    assert DROP_IN in said
    assert SECRET not in said
    assert "all is as it is declared" in said
    assert noticed(watched) == {}


def _has_noticed_it_all(watched: Watched) -> None:
    """The host did, without an admin: by names alone, and told it once."""
    found = {name: (one["kind"], one["why"]) for name, one in noticed(watched).items()}
    assert found.pop("rules in force")[1].endswith("there is `tcp dport 8099 accept`")
    assert found.pop("net.ipv4.conf.all.log_martians")[1].startswith("is 1,")
    [keys] = [name for name in found if name.endswith("lab/.ssh/authorized_keys")]
    assert found == {
        "/etc/chrony/chrony.conf": ("files", "content"),
        "/etc/mainstay/backup/web.json": ("files", "content"),
        keys: ("files", "content"),
        "mallory": ("users", "nobody declared it"),
        "by-hand": ("packages", "nobody declared it"),
        DROP_IN: ("units", "nobody declared it"),
        "tcp 0.0.0.0:8099": ("sockets", "python3 listens, and no role declares it"),
    }
    until("a mail", partial(told_by_mail, watched))
    assert [*noticed(watched)] != []
    files = f"/var/lib/mainstay/*.json {METRICS}"
    written = watched.root(DATA, f"cat {files} || true; journalctl -q --no-pager {UNITS}")
    assert DROP_IN in written
    assert SECRET not in written
    assert told_by_mail(watched) == 1
    [mail] = [text for one in (watched.lab.root / "mail").glob("*.eml") if FOUND in (text := one.read_text())]
    assert DROP_IN in mail
    assert SECRET not in mail


def test_a_host_that_is_down_is_told_and_hides_no_other(watched: Watched) -> None:
    watched.root(CONTROL, "echo '* * * * * root true' >/etc/cron.d/by-hand")
    watched.power(VAULT, "halt")
    code, findings = drift(watched)
    assert code == 3
    assert {(one["host"], one["kind"], one["what"]) for one in findings} == {
        (VAULT, "not looked at", "host"),
        (CONTROL, "files", "/etc/cron.d/by-hand"),
    }
