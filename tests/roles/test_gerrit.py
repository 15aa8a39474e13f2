"""What people and programs get from a Gerrit, and what its host keeps to itself."""

import json
import socket

import pytest
import requests
from testinfra.host import Host

from inventories.fleet import Volume
from inventories.inventory import LoadedSite
from roles.gerrit import secure
from roles.gerrit.deploy import DECLARED, PASSWORDS, TOKEN, WARS
from roles.gerrit.settings import HTTP_PORT, SSH_PORT, Settings
from tests.roles import web_host
from tests.roles.web_client import Client, clients

pytestmark = pytest.mark.lab
EXPOSURE_AT_MOST = 2.5
"""Of 10; what is left: it has a network, and Java makes code at run time."""
VERSION = "/config/server/version"


@pytest.fixture(scope="session")
def settings(loaded_site: LoadedSite, host_name: str) -> Settings:
    found = loaded_site.settings(host_name)["gerrit"]
    assert isinstance(found, Settings)
    return found


@pytest.fixture(scope="session")
def folder(volume: Volume) -> str:
    return f"{volume.mount}/site"


def told(answer: requests.Response) -> object:
    """What Gerrit says, without what keeps browsers from running it."""
    return json.loads(answer.text.removeprefix(")]}'"))


def test_the_declared_version_answers_by_tls(client: Client, settings: Settings) -> None:
    answer = client.get(VERSION)
    assert (answer.status_code, told(answer)) == (200, settings.war.version)
    assert answer.headers["Strict-Transport-Security"] == f"max-age={settings.hsts_seconds}"


def test_ssh_answers_with_a_host_key_of_the_site(client: Client, host: Host, folder: str) -> None:
    with socket.create_connection((client.address, SSH_PORT), 10) as connection:
        assert connection.recv(4) == b"SSH-"
    kept = {line.split()[1] for line in host.check_output(f"cat {folder}/etc/ssh_host_*.pub").splitlines()}
    # As the server says: Gerrit tells nobody its keys by http.
    shown = host.check_output(f"ssh-keyscan -p {SSH_PORT} 127.0.0.1 2>/dev/null").splitlines()
    assert {line.split()[2] for line in shown if not line.startswith("#")} <= kept


def test_only_nginx_hears_gerrits_http(client: Client, host: Host) -> None:
    listening = host.check_output(f"ss -Hltn 'sport = :{HTTP_PORT}'").splitlines()
    addresses = {line.split()[3].rpartition(":")[0].strip("[]").removeprefix("::ffff:") for line in listening}
    assert addresses == {"127.0.0.1"}
    with pytest.raises(OSError, match=r"refused|timed out|unreachable"):
        socket.create_connection((client.address, HTTP_PORT), 3).close()


def test_without_tls_everything_leads_to_tls(client: Client) -> None:
    web_host.assert_without_tls(client, VERSION, 301)


def test_who_asks_for_another_name_gets_no_certificate(client: Client) -> None:
    web_host.assert_no_certificate_for_another_name(client)


def test_nobody_says_who_they_are(client: Client, loaded_site: LoadedSite) -> None:
    header = secure.header(secure.token(loaded_site)).get_secret_value()
    claim = {header: "mallory", "X-Gerrit-Name": "Mallory", "X-Gerrit-Email": "mallory@example.org"}
    for path in ("/login/", "/login", "/"):
        assert "GerritAccount" not in client.get(path, **claim).headers.get("Set-Cookie", ""), path


def test_it_runs_as_its_own_user_with_the_java_that_it_needs(host: Host, settings: Settings) -> None:
    pid = host.check_output("systemctl show -p MainPID --value gerrit.service")
    user, words = host.check_output(f"ps -o user=,args= -ww -p {pid}").split(maxsplit=1)
    assert user == "gerrit"
    assert f"{WARS}/gerrit-{settings.war.version}.war" in words
    assert host.user("gerrit").shell == "/usr/sbin/nologin"
    assert host.check_output(f"readlink /proc/{pid}/exe") == "/usr/lib/jvm/java-21-openjdk-amd64/bin/java"
    assert (
        host.check_output(f"sha256sum {f'{WARS}/gerrit-{settings.war.version}.war'}").split()[0] == settings.war.sha256
    )


def test_its_unit_has_little_power_and_time_to_end(host: Host) -> None:
    said = host.check_output("systemd-analyze security --no-pager gerrit.service | tail -1")
    assert float(said.split(":")[1].split()[0]) <= EXPOSURE_AT_MOST, said
    assert host.check_output("systemctl show -p TimeoutStopUSec --value gerrit.service") == "5min"


def test_its_site_is_its_own_on_its_own_volume(host: Host, settings: Settings, volume: Volume, folder: str) -> None:
    assert host.check_output(f"stat -f -c %T {volume.mount}") == "btrfs"
    assert host.mount_point(volume.mount).exists
    assert (
        host.check_output(f"stat -c '%U:%G %a' {folder} {folder}/etc {folder}/git").split("\n")[:2]
        == ["gerrit:gerrit 750"] * 2
    )
    strangers = host.check_output(f"find {folder}/git {folder}/etc {folder}/data ! -user gerrit")
    assert strangers == ""
    found = host.check_output(f"git config -f {folder}/etc/gerrit.config gerrit.serverId")
    assert found == settings.server_id


def test_no_secret_is_readable_by_others(host: Host, folder: str, loaded_site: LoadedSite) -> None:
    for path in (TOKEN, f"{folder}/etc/secure.config"):
        assert host.file(path).mode == 0o600, path
    assert host.check_output(f"find {folder}/etc -name 'ssh_host_*_key' ! -perm 600") == ""
    if host.file(PASSWORDS).exists:
        assert host.check_output(f"stat -c '%U:%G %a' {PASSWORDS}") == "root:www-data 640"
    token = secure.token(loaded_site)
    patterns = "\n".join((token.get_secret_value(), secure.header(token).get_secret_value()))
    readable = f"find /etc {folder}/etc -type f -perm -o=r -exec grep -lF -f - {{}} +"
    assert host.check_output(f"printf '%s' '{patterns}' | {readable} || true") == ""


def test_plugins_are_the_declared_ones(host: Host, settings: Settings, folder: str) -> None:
    wanted = {f"{one.name}.jar": one.sha256 for one in settings.wars()["war"][1]}
    lines = host.check_output(f"cd {folder}/plugins && find . -type f -exec sha256sum {{}} +").splitlines()
    assert {line[66:].removeprefix("./"): line[:64] for line in lines} == wanted
    assert json.loads(host.file(DECLARED).content_string)["outgoing"] is settings.outgoing
    program = "python3 -I /usr/local/lib/mainstay/loaded_by_gerrit.py"
    assert host.check_output(f"{program} http://127.0.0.1:{HTTP_PORT} {secure.ACCOUNT}") == ""


def test_nginx_is_confined_and_its_log_holds_no_person(host: Host, loaded_site: LoadedSite, host_name: str) -> None:
    said = host.check_output("systemd-analyze security --no-pager nginx.service | tail -1")
    assert float(said.split(":")[1].split()[0]) <= web_host.EXPOSURE_AT_MOST, said
    assert set(host.check_output("ps -C nginx -o user=").split()) == {"www-data"}
    web_host.assert_the_log_holds_no_person(host, clients(loaded_site, host_name)["IPv4"])
