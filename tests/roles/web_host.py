"""What the suites of both web roles look at on a host, reading only."""

import json
import uuid
from dataclasses import replace

import pytest
import requests
from testinfra.host import Host

from inventories.fleet import Volume
from roles.common.volume_plan import unit_name
from tests.roles.web_client import Client
from tests.waiting import until

EXPOSURE_AT_MOST = 1.4
"""Of 10; `systemd-analyze security`. What is left: it has a network and a low port."""
LOG = "/var/log/http/access.log"
FLUSH_SECONDS = 15
LOGGED = {"time", "method", "path", "status", "bytes", "seconds", "range", "country"}


def assert_content_is_on_its_volume(host: Host, label: str, volume: Volume, owner: str) -> None:
    """Mounted by its label, owned by the role's user, writable by nobody else, and nginx bound to it."""
    facts = json.loads(host.check_output(f"findmnt --json -o LABEL,FSTYPE,OPTIONS --mountpoint {volume.mount}"))
    (mounted,) = facts["filesystems"]
    # A container has no udev, from which findmnt takes the label: ask the device then.
    found = mounted["label"] or host.check_output(f"blkid -p -s LABEL -o value $(findmnt -no SOURCE {volume.mount})")
    assert (found, mounted["fstype"]) == (label, volume.filesystem)
    assert {"nodev", "nosuid", "noexec"} <= set(mounted["options"].split(","))
    assert host.check_output(f"stat -L -c '%U %a' {volume.mount}/public") == f"{owner} 755"
    bound = host.check_output("systemctl show -p BindsTo --value nginx.service").split()
    assert unit_name(volume.mount) in bound
    assert host.user(owner).shell == "/usr/sbin/nologin"


def assert_nginx_is_confined(host: Host, volume: Volume) -> None:
    """No process of it was ever root, it can write no content, and systemd rates its sandbox well."""
    users = set(host.check_output("ps -C nginx -o user=").split())
    assert users == {"www-data"}
    assert host.run(f"sudo -u www-data test -w {volume.mount}/public").rc != 0
    said = host.check_output("systemd-analyze security --no-pager nginx.service | tail -1")
    assert float(said.split(":")[1].split()[0]) <= EXPOSURE_AT_MOST, said


def assert_the_log_holds_no_person(host: Host, client: Client) -> None:
    """A request is logged without its address, agent, referrer and query; the log is destroyed within a day."""
    path = f"/mainstay-{uuid.uuid4().hex}"
    client.get(f"{path}?secret=query", User_Agent="agent-of-a-person", Referer="http://from.example/")
    line = until("a line in the log", lambda: host.run(f"grep -F {path} {LOG}").stdout, timeout_s=FLUSH_SECONDS)
    entry = json.loads(line)
    assert set(entry) == LOGGED
    assert entry["path"] == path
    assert host.service("mainstay-requests.timer").is_running
    assert host.run("systemctl is-failed mainstay-requests.service").stdout.strip() == "inactive"


def assert_without_tls(client: Client, path: str, status: int) -> None:
    """Port 80 shows nothing: it leads to the same place by TLS, or those who follow no redirect get an error. A
    challenge that it does not know is not there."""
    clear = replace(client, scheme="http")
    answer = clear.get(path)
    assert answer.status_code == status, path
    assert answer.headers.get("Location") == (f"https://{client.name}{path}" if status == 301 else None)
    assert clear.status("/.well-known/acme-challenge/none-that-is-known") == 404
    assert replace(clear, name="another.example").status(path) == 404


def assert_no_certificate_for_another_name(client: Client) -> None:
    """Nor for none: what is served is not told to who only knows the address."""
    for name in ("another.example", client.address):
        with pytest.raises(requests.exceptions.SSLError, match=r"(?i)unrecognized[_ ]name"):
            replace(client, name=name).status("/")


def files_below(host: Host, root: str, pattern: str) -> list[str]:
    """Paths from root on, as in URLs, of files whose name matches; sorted, without dot directories."""
    found = host.check_output(f"cd {root} && find . -name '.?*' -prune -o -type f -name '{pattern}' -print")
    return sorted(path.removeprefix(".") for path in found.splitlines())
