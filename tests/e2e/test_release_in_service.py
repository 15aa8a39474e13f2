"""A release server under load, and what it keeps of who asked: limits hold packages alone, logs become counts."""

import json
import os
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

from inventories.inventory import load_site
from inventories.lock import LockedHost
from inventories.ssh import ssh_config
from lab.fetch import lab_of
from roles.release.settings import Settings
from tests.crowd import NAME, among, crowd, get, half_open, many_files
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
HOST = "release-1"
METADATA, CHANGELOG = "/ota/panther/panther-stable", "/ota/panther/panther-stable-changelog.html"
LARGE = "/ota/panther/16/panther-ota_update-1.zip"
DUTCH, AMERICAN = "193.0.6.139", "2001:4860::8888"
"""Of the registry of Europe, in Amsterdam, and of a large company: where they are does not change."""
NEIGHBOUR, STRANGERS = "2001:4860::8844", {"IPv4": "193.0.6.140", "IPv6": "2001:4860:0:1::1"}
CLIENTS = 500
COUNTS = "/var/lib/mainstay/requests"


@pytest.fixture(scope="module")
def host(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Host:
    config = tmp_path_factory.mktemp("ssh") / "config"
    config.write_text(ssh_config(load_site(site)))
    return testinfra.get_host(f"ssh://{HOST}", ssh_config=str(config), sudo=True)


@pytest.fixture(scope="module")
def locked(site: Path) -> LockedHost:
    return load_site(site).lock.hosts[HOST]


@pytest.fixture
def large(host: Host) -> Iterator[str]:
    """A package that no socket buffers whole; of one time, as nginx may still have the file of the test before open."""
    file = f"/srv/release/public{LARGE}"
    host.check_output(f"truncate -s 1G {file} && chown release: {file} && touch -d 2026-01-01 {file}")
    yield LARGE
    host.check_output(f"rm {file}")


@pytest.fixture(autouse=True)
def room() -> Iterator[None]:
    with many_files():
        yield


@pytest.fixture
def few(host: Host) -> Iterator[int]:
    """A limit for IPv4 addresses that is reached in seconds; the file itself stays as it was deployed."""
    file, other, at_most = "/etc/nginx/limits.conf", "/run/limits.conf", 200
    host.check_output(f"sed -E 's/(limit_conn addresses) [0-9]+/\\1 {at_most}/' {file} > {other}")
    host.check_output(f"mount --bind {other} {file} && systemctl reload nginx.service")
    yield at_most
    host.check_output(f"umount {file} && rm {other} && systemctl reload nginx.service")


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_nobody_is_refused_metadata_while_packages_are_at_their_limit(
    family: str, host: Host, site: Path, locked: LockedHost, large: str, few: int
) -> None:
    """500 clients of one address, or of one IPv6 network; and others still get their packages."""
    settings = load_site(site).settings(HOST)["release"]
    assert isinstance(settings, Settings)
    address, own, at_most = {
        "IPv4": (locked.ipv4, [DUTCH], few),
        "IPv6": (locked.ipv6, [AMERICAN, NEIGHBOUR], settings.connections_per_network),
    }[family]
    with among(load_site(site), HOST, *own, STRANGERS[family]):
        with ExitStack() as stack:
            assert crowd(stack, address, own, large, at_most) == {200: at_most}
            assert crowd(stack, address, own, large, 5) == {429: 5}
            assert crowd(stack, address, own, METADATA, CLIENTS) == {200: CLIENTS}
            assert crowd(stack, address, own, CHANGELOG, CLIENTS) == {200: CLIENTS}
            assert get(address, large, STRANGERS[family]) == 200
        until("room again", lambda: get(address, large, own[0]) == 200)


def test_connections_that_never_open_keep_nobody_out(host: Host, site: Path, locked: LockedHost) -> None:
    """More than the queue for them takes."""
    (queue,) = host.check_output("ss -Hltn sport = :443 src 0.0.0.0 | awk '{print $3}'").split()
    cookies = "nstat -asz TcpExtSyncookiesRecv | awk 'NR == 2 {print $2}'"
    before = int(host.check_output(cookies))
    with among(load_site(site), HOST, DUTCH):
        half_open(locked.ipv4, 2 * int(queue))
        assert [get(locked.ipv4, METADATA, DUTCH) for _ in range(20)] == [200] * 20
    assert int(host.check_output(cookies)) > before


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_http_1_and_http_2_answer_alike(family: str, locked: LockedHost, large: str) -> None:
    """Of a part, of one past the end, of metadata, and of what is not there."""
    asked = {(large, "5-9"): 206, (large, f"{2**30}-"): 416, (METADATA, ""): 200, ("/ota/none-stable", "0-"): 404}
    address = {"IPv4": locked.ipv4, "IPv6": f"[{locked.ipv6}]"}[family]
    for (path, part), code in asked.items():
        answers = {version: headers(version, address, path, part) for version in ("1.1", "2")}
        assert answers["1.1"]["status"] == str(code)
        assert answers["2"] == answers["1.1"]


def headers(version: str, address: str, path: str, part: str) -> dict[str, str]:
    """Of an answer by this version of HTTP, without what differs from second to second and connection to connection."""
    words = ["curl", "-ksD-", "-o/dev/null", f"--http{version}", "--resolve", f"{NAME}:443:{address}"]
    said = subprocess.check_output([*words, *(["-r", part] if part else []), f"https://{NAME}{path}"], text=True)
    first, *lines = said.strip().splitlines()
    assert first.split()[0] == f"HTTP/{version}"
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return {"status": first.split()[1]} | {name: fields[name] for name in fields.keys() - {"date", "connection"}}


def run_of_counts(host: Host) -> list[dict[str, Any]]:
    """What the daily unit makes of the log of now: the rows of its newest counts."""
    host.check_output("systemctl start mainstay-requests.service")
    newest = host.check_output(f"cat {COUNTS}/$(ls -t {COUNTS} | head -1)")
    rows: list[dict[str, Any]] = json.loads(newest)["rows"]
    return rows


def written(disk: Path, words: bytes) -> int:
    """How often the words lie anywhere on a disk, free or not; holes are passed over."""
    found, end, chunk = 0, 0, 1 << 24
    size = disk.stat().st_size
    with disk.open("rb", buffering=0) as raw:
        while end < size:
            try:
                begin = os.lseek(raw.fileno(), end, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(raw.fileno(), begin, os.SEEK_HOLE)
            for start in range(begin, end, chunk):
                found += os.pread(raw.fileno(), min(chunk, end - start) + len(words), start).count(words)
    return found


def test_the_log_becomes_counts_by_country_and_device_and_no_line_of_it_is_left_anywhere(
    host: Host, site: Path, locked: LockedHost, large: str
) -> None:
    """Neither in a file nor in a free block of the disk. Lines before the run are found by the same search."""
    config = lab_of(load_site(site))
    disk = config.root / "hosts" / locked.instance_id / "disk.img"
    run_of_counts(host)
    trace = uuid.uuid4().hex
    with among(load_site(site), HOST, DUTCH, AMERICAN):
        for source, address in ((DUTCH, locked.ipv4), (AMERICAN, locked.ipv6)):
            assert {get(address, METADATA, source) for _ in range(60)} == {200}
            with ExitStack() as stack:
                assert crowd(stack, address, [source], large, 10) == {200: 10}
        get(locked.ipv4, "/factory/panther/16/panther-factory-1.zip", DUTCH)
        get(locked.ipv4, f"/{trace}", DUTCH)
    log = host.file("/var/log/http/access.log")
    until("the log", lambda: "\n".join(log.content_string.splitlines()).count("ota_update-1.zip") == 20)
    assert DUTCH not in log.content_string
    assert AMERICAN not in log.content_string
    assert trace in log.content_string
    host.check_output("sync")
    assert written(disk, trace.encode())

    rows = run_of_counts(host)
    found = {(row["country"], row["device"], row["kind"], row["status"]): row["requests"] for row in rows}
    assert found == {
        ("NL", "panther", "metadata", "2xx"): 60,
        ("US", "panther", "metadata", "2xx"): 60,
        ("NL", "panther", "full", "2xx"): 10,
        ("US", "panther", "full", "2xx"): 10,
        ("other", "other", "other", "other"): 2,
    }
    assert host.file("/var/log/http").listdir() == ["access.log"]
    assert log.size == 0
    host.check_output("sync")
    assert written(disk, trace.encode()) == 0
    for word in (trace, DUTCH, AMERICAN):
        assert host.run(f"grep -rqs {word[:-1]}[{word[-1]}] /var/log /var/lib /var/tmp /run").rc == 1


def test_what_was_asked_of_all_servers_is_told(host: Host, site: Path, locked: LockedHost) -> None:
    run_of_counts(host)
    counted = asked_of_all(site)
    with among(load_site(site), HOST, DUTCH):
        for _ in range(60):
            get(locked.ipv4, METADATA, DUTCH)
    until("the log", lambda: host.file("/var/log/http/access.log").content_string.count(METADATA) == 60)
    run_of_counts(host)
    after = asked_of_all(site)
    assert after - counted == {("NL", "panther", "metadata"): 60}


def asked_of_all(site: Path) -> Counter[tuple[str, str, str]]:
    """Requests by country, device and kind, as the command tells them."""
    words = [sys.executable, "-m", "cli.main", "release", "requests", "--json", "--inventory", str(site)]
    told = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert told["missing"] == []
    found: Counter[tuple[str, str, str]] = Counter()
    for row in told["rows"]:
        found[row["country"], row["device"], row["kind"]] += row["requests"]
    return found


def test_a_run_that_was_cut_counts_nothing_twice_and_destroys_what_it_left(
    host: Host, site: Path, locked: LockedHost
) -> None:
    """Cut between its counts and the end of the log, and before its counts."""
    run_of_counts(host)
    with among(load_site(site), HOST, DUTCH):
        get(locked.ipv4, METADATA, DUTCH)
    log = host.file("/var/log/http/access.log")
    until("the log", lambda: log.size)
    before = set(host.file(COUNTS).listdir())
    host.check_output("cp -p /var/log/http/access.log /var/log/http/counting-1.log")
    host.check_output("cp -p /var/log/http/access.log /var/log/http/counting-2.log")
    host.check_output(f"touch {COUNTS}/1.json")
    host.check_output("systemctl start mainstay-requests.service")
    assert len(set(host.file(COUNTS).listdir()) - before) == 3
    assert host.file(f"{COUNTS}/1.json").size == 0
    assert json.loads(host.file(f"{COUNTS}/2.json").content_string)["rows"][0]["requests"] == 1
    assert host.file("/var/log/http").listdir() == ["access.log"]
    host.check_output(f"rm {COUNTS}/1.json {COUNTS}/2.json")


def test_a_new_list_of_countries_is_taken_up(host: Host) -> None:
    """As after an upgrade of the package."""
    lists = host.file("/var/lib/mainstay/countries/ipv4.conf")
    reloads = "journalctl -u nginx.service -g Reloaded --output=cat | wc -l"
    before, number = lists.mtime, int(host.check_output(reloads))
    host.check_output("touch /usr/share/tor/geoip")
    until("new lists", lambda: lists.mtime > before)
    until("nginx takes them up", lambda: int(host.check_output(reloads)) > number)
