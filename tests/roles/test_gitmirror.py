"""What clients get from a mirror of git repositories."""

import json

import pytest
from testinfra.host import Host

from inventories.fleet import Volume
from inventories.inventory import LoadedSite
from roles.gitmirror.deploy import FETCHING, SERVING
from roles.gitmirror.settings import Settings
from tests.roles import web_host
from tests.roles.web_client import SECURITY_HEADERS, Client, clients

pytestmark = pytest.mark.lab
MISSING = "/no/such/repository"
ADVERTISED = "info/refs?service=git-upload-pack"
EXPOSURE_AT_MOST = 2.5


@pytest.fixture(scope="session")
def settings(loaded_site: LoadedSite, host_name: str) -> Settings:
    found = loaded_site.settings(host_name)["gitmirror"]
    assert isinstance(found, Settings)
    return found


@pytest.fixture(scope="session")
def repositories(host: Host, content: str) -> list[str]:
    """Paths of some of them, without .git."""
    found = host.check_output(f"find {content} -name '*.git' -prune | sort | head -20").splitlines()
    return [path.removeprefix(content).removesuffix(".git") for path in found]


def test_a_repository_is_served_with_and_without_git_at_its_end(client: Client, repositories: list[str]) -> None:
    for path in repositories:
        for name in (path, f"{path}.git"):
            answer = client.get(f"{name}/{ADVERTISED}", Git_Protocol="version=2")
            assert answer.status_code == 200, name
            assert answer.headers["Content-Type"] == "application/x-git-upload-pack-advertisement"
            assert answer.headers["Cache-Control"] == "no-store"
            assert not {"Expires", "Pragma"} & {*answer.headers}
            assert b"version 2\n" in answer.content
            assert b"fetch=" in answer.content
            assert b"filter" in answer.content


def test_nobody_pushes_and_no_file_is_fetched_by_its_name(client: Client, repositories: list[str]) -> None:
    for path in (f"{one}.git" for one in repositories[:3]):
        assert client.status(f"{path}/info/refs?service=git-receive-pack") == 403
        assert client.ask("POST", f"{path}/git-receive-pack").status_code == 403
        assert client.status(f"{path}/info/refs") == 403
        for file in ("HEAD", "config", "packed-refs", "objects/info/packs", "mainstay-told", ""):
            assert client.status(f"{path}/{file}") == 404, file


def test_files_of_lfs_are_asked_for_at_the_source(client: Client, repositories: list[str], settings: Settings) -> None:
    for path in repositories[:3]:
        for name in (path, f"{path}.git"):
            answer = client.ask("POST", f"{name}/info/lfs/objects/batch")
            assert answer.status_code == 307
            assert answer.headers["Location"] == f"{settings.source}{path}.git/info/lfs/objects/batch"


def test_what_is_missing_is_not_there(client: Client) -> None:
    paths = ("/", "/../etc/passwd", "/%2e%2e/etc/passwd/info/refs?service=git-upload-pack")
    for path in (*paths, f"{MISSING}/{ADVERTISED}", f"{MISSING}.git/{ADVERTISED}", f"/-x/{ADVERTISED}"):
        answer = client.get(path)
        assert answer.status_code in (400, 404), path
        assert answer.headers.get("Cache-Control", "no-store") == "no-store"


def test_only_reading_is_allowed(client: Client) -> None:
    for method in ("PUT", "DELETE", "OPTIONS", "PROPFIND", "MKCOL", "TRACE"):
        assert client.ask(method, f"{MISSING}/{ADVERTISED}").status_code == 405, method


def test_answers_carry_no_cookie_and_no_version_but_the_security_headers(client: Client, settings: Settings) -> None:
    headers = client.get(MISSING).headers
    assert headers["Server"] == "nginx"
    assert "Set-Cookie" not in headers
    assert SECURITY_HEADERS.items() <= headers.items()
    assert headers["Strict-Transport-Security"] == f"max-age={settings.hsts_seconds}"


def test_without_tls_everything_leads_to_tls(client: Client) -> None:
    web_host.assert_without_tls(client, f"{MISSING}/{ADVERTISED}", 301)


def test_who_asks_for_another_name_gets_no_certificate(client: Client) -> None:
    web_host.assert_no_certificate_for_another_name(client)


def test_the_repositories_are_on_their_own_volume(host: Host, settings: Settings, volume: Volume) -> None:
    web_host.assert_content_is_on_its_volume(host, settings.volume, volume, "gitmirror")


def test_nginx_is_confined(host: Host, volume: Volume) -> None:
    web_host.assert_nginx_is_confined(host, volume)


def test_the_log_holds_no_person(host: Host, loaded_site: LoadedSite, host_name: str) -> None:
    web_host.assert_the_log_holds_no_person(host, clients(loaded_site, host_name)["IPv4"])


def test_what_fetches_and_what_answers_have_little_power(host: Host) -> None:
    for unit in (FETCHING, SERVING):
        said = host.check_output(f"systemd-analyze security --no-pager {unit}.service | tail -1")
        assert float(said.split(":")[1].split()[0]) <= EXPOSURE_AT_MOST, said
    assert host.check_output(f"systemctl show -p User --value {FETCHING}.service") == "gitmirror"
    users = {*host.check_output("ps -C fcgiwrap -o user=").split()}
    assert users
    assert not users & {"root", "gitmirror", "www-data"}
    assert host.check_output("stat -c '%U %a' /run/mainstay-gitmirror.sock") == "www-data 600"
    assert not host.service("fcgiwrap.socket").is_running
    assert not host.service("fcgiwrap.service").is_running


@pytest.mark.usefixtures("content")
def test_what_is_listed_was_fetched_by_the_timer(host: Host, settings: Settings) -> None:
    assert host.service(f"{FETCHING}.timer").is_running
    told = json.loads(host.check_output("cat /var/lib/gitmirror/status.json"))
    assert told["source"] == settings.source
    assert (told["failed"], told["problem"]) == ({}, "")
    metrics = host.check_output("cat /var/lib/prometheus/node-exporter/mainstay-gitmirror.prom")
    assert f"mainstay_gitmirror_repositories {told['repositories']}\n" in metrics
