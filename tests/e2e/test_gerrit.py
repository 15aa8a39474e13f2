"""Gerrit, as a deploy puts it into service: as its users and strangers meet it, and when it is killed."""

import re
import secrets
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from cloud.converge import converge
from inventories.editing import Plain, apply
from inventories.files import sha256
from inventories.inventory import load_site
from lab import gerrit_war, storage
from roles.gerrit import secure
from tests.gerrit_site import HOST, SERVER_ID, VERSION, gerrit_site, timers
from tests.roles.web_client import clients
from tests.saved_site import Saved
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
SITE = "/srv/gerrit/site"
VERSION_URL = "/config/server/version"
SHOW = "systemctl show gerrit -p NRestarts -p ActiveState --value | xargs"


@pytest.fixture(scope="module")
def gerrit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    """As a deploy leaves it: a second one finds nothing to do."""
    for made in gerrit_site(tmp_path_factory.mktemp("gerrit")):
        timers(made, "enable")
        yield made
        timers(made, "disable")


def version(gerrit: Saved) -> str:
    """As it is told over TLS; empty when it is not."""
    try:
        answer = clients(load_site(gerrit.inventory), HOST)["IPv4"].get(VERSION_URL)
    except requests.RequestException:
        return ""
    return answer.text.removeprefix(")]}'\n").strip('"\n') if answer.status_code == 200 else ""


def test_it_answers_by_tls_and_by_ssh_on_both_protocols(gerrit: Saved) -> None:
    until("it answers", lambda: version(gerrit) == VERSION, timeout_s=120)
    site = load_site(gerrit.inventory)
    for client in clients(site, HOST).values():
        answer = client.get(VERSION_URL)
        assert answer.status_code == 200
        assert "max-age=31536000" in answer.headers["Strict-Transport-Security"]
    for address in (site.lock.hosts[HOST].ipv4, site.lock.hosts[HOST].ipv6):
        with socket.create_connection((address, 29418), 10) as connection:
            assert connection.recv(4) == b"SSH-"


def test_a_second_deploy_finds_nothing_to_do_so_init_added_nothing_to_its_configuration(gerrit: Saved) -> None:
    again = converge(gerrit.inventory, "gerrit")
    assert (again.code, again.changed) == (0, ()), again.output
    assert SERVER_ID in gerrit.root(HOST, f"git config -f {SITE}/etc/gerrit.config gerrit.serverId")


def test_nobody_outside_can_say_who_they_are_and_the_proxy_on_the_host_can(gerrit: Saved) -> None:
    until("it answers", lambda: version(gerrit) == VERSION, timeout_s=120)
    site = load_site(gerrit.inventory)
    header = secure.header(secure.token(site)).get_secret_value()
    claim = {header: "mallory", "X-Gerrit-Name": "Mallory", "X-Gerrit-Email": "mallory@example.org"}
    for client in clients(site, HOST).values():
        answer = client.get("/login/", **claim)
        assert "GerritAccount" not in answer.headers.get("Set-Cookie", ""), answer.headers
    headers = " ".join(f"-H '{name}: {value}'" for name, value in claim.items())
    direct = gerrit.root(HOST, f"curl -s -o /dev/null -D - {headers} http://127.0.0.1:8081/login/")
    assert re.search("Set-Cookie: GerritAccount=", direct), direct
    readable = f"find /etc/nginx {SITE}/etc -type f -perm -o=r -exec grep -l {header} {{}} +"
    assert gerrit.root(HOST, f"{readable} || true") == ""


def administers(gerrit: Saved, token: str) -> int:
    """The status of a question that administrators alone are answered well."""
    path = "/a/accounts/self/capabilities/administrateServer"
    login = b64encode(f"{secure.ACCOUNT}:{token}".encode()).decode()
    return clients(load_site(gerrit.inventory), HOST)["IPv4"].get(path, Authorization=f"Basic {login}").status_code


@pytest.mark.full
def test_an_administrator_came_into_being_and_its_token_is_changed_by_a_deploy(gerrit: Saved) -> None:
    until("it answers", lambda: version(gerrit) == VERSION, timeout_s=120)
    site = load_site(gerrit.inventory)
    old, new = secure.token(site).get_secret_value(), secrets.token_urlsafe(32)
    assert administers(gerrit, old) == 200
    assert administers(gerrit, new) == 401
    apply(site.secrets.path, site.secrets.entries, {secure.TOKEN: Plain(new, ())}, site.readers)
    changed = converge(gerrit.inventory, "gerrit")
    assert changed.ok, changed.output
    assert new not in changed.output
    assert (administers(gerrit, old), administers(gerrit, new)) == (401, 200)
    again = converge(gerrit.inventory, "gerrit")
    assert (again.code, again.changed) == (0, ()), again.output
    # Lost at the server: what is noted of it goes, and the next start makes it anew.
    gerrit.root(HOST, f"rm {SITE}/etc/mainstay.token && systemctl restart gerrit")
    assert administers(gerrit, new) == 200
    assert gerrit.root(HOST, f"ls {SITE}/tmp") == ""


@pytest.mark.full
def test_killed_it_comes_back_by_itself_without_its_caches(gerrit: Saved) -> None:
    until("it answers", lambda: version(gerrit) == VERSION, timeout_s=120)
    gerrit.root(HOST, f"touch {SITE}/cache/broken.h2.db && pkill -9 -u gerrit java")
    until("it is up again", lambda: gerrit.root(HOST, SHOW).endswith("active") and version(gerrit), timeout_s=120)
    assert gerrit.root(HOST, f"ls {SITE}/cache").split().count("broken.h2.db") == 0
    gerrit.root(HOST, f"touch {SITE}/cache/kept && systemctl restart gerrit")
    assert "kept" in gerrit.root(HOST, f"ls {SITE}/cache").split()


def test_a_site_of_a_version_that_is_not_declared_is_refused_and_not_touched(gerrit: Saved) -> None:
    mark = f"{SITE}/etc/mainstay.version"
    gerrit.root(HOST, f"echo 3.99.0 >{mark}")
    try:
        program = f"runuser -u gerrit -- python3 -I /usr/local/lib/mainstay/gerrit_site.py prepare {SITE}"
        done = gerrit.ssh(HOST, program)
    finally:
        gerrit.root(HOST, f"echo {VERSION} >{mark}")
    assert done.returncode == 1
    assert f"the site is of Gerrit 3.99.0, and {VERSION} is declared" in done.stderr


def test_its_unit_has_little_power(gerrit: Saved) -> None:
    told = gerrit.root(HOST, "systemd-analyze security gerrit.service --no-pager | tail -1")
    found = re.search(r"exposure level for gerrit.service: ([\d.]+)", told)
    assert found
    assert float(found[1]) <= 2.5


@contextmanager
def served(gerrit: Saved, folder: Path) -> Iterator[str]:
    """A folder by https, at an address of the lab's gateway whose certificate the host trusts."""
    pem, key = storage.tls(gerrit.lab)
    trusted = "/usr/local/share/ca-certificates/served.crt"
    gerrit.root(HOST, f"cat >{trusted} <<'E'\n{pem.read_text()}E\nupdate-ca-certificates -f >/dev/null 2>&1")
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer((str(gerrit.lab.gateway4), 0), handler) as server:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pem, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"https://{gerrit.lab.gateway4}:{server.server_port}"
        finally:
            server.shutdown()
            gerrit.root(HOST, f"rm {trusted} && update-ca-certificates -f >/dev/null 2>&1")


@pytest.mark.full
def test_a_war_is_fetched_by_the_host_and_one_that_is_not_the_declared_is_none(gerrit: Saved, tmp_path: Path) -> None:
    declared = gerrit.inventory.with_suffix(".toml")
    before, war = declared.read_text(), gerrit_war.war(VERSION)
    (tmp_path / "right.war").symlink_to(war)
    (tmp_path / "other.war").write_bytes(b"none of it")
    path = f"/opt/gerrit/gerrit-{VERSION}.war"
    try:
        with served(gerrit, tmp_path) as address:
            gerrit.root(HOST, f"rm {path}")
            declared.write_text(before.replace(str(war), f"{address}/other.war"))
            refused = converge(gerrit.inventory, "gerrit")
            assert not refused.ok
            assert "has the SHA-256" in refused.output
            assert gerrit.root(HOST, "ls /opt/gerrit") == ""
            declared.write_text(before.replace(str(war), f"{address}/right.war"))
            fetched = converge(gerrit.inventory, "gerrit")
        assert fetched.changed == (f"{HOST}: gerrit | war and plugins",), fetched.output
        assert gerrit.root(HOST, f"sha256sum {path}").split()[0] == sha256(war)
    finally:
        declared.write_text(before)


def test_a_war_here_that_is_not_the_declared_stops_before_any_host_is_touched(gerrit: Saved, tmp_path: Path) -> None:
    declared = gerrit.inventory.with_suffix(".toml")
    before, other = declared.read_text(), tmp_path / "other.war"
    other.write_bytes(b"none of it")
    try:
        for name, told in ((other, "settings.gerrit.war.sha256"), (tmp_path / "none", "settings.gerrit.war.source")):
            declared.write_text(before.replace(str(gerrit_war.war(VERSION)), str(name)))
            refused = converge(gerrit.inventory, "gerrit")
            assert (refused.ok, refused.changed) == (False, ())
            assert told in refused.output
            assert "Traceback" not in refused.output
    finally:
        declared.write_text(before)
