"""What browsers and phones get from a web server."""

import pytest
from testinfra.host import Host

from inventories.fleet import Volume
from inventories.inventory import LoadedSite
from roles.web.settings import Settings
from tests.roles import web_host
from tests.roles.web_client import SECURITY_HEADERS, Client, clients

pytestmark = pytest.mark.lab
MISSING = "/no/such/page"


@pytest.fixture(scope="session")
def settings(loaded_site: LoadedSite, host_name: str) -> Settings:
    found = loaded_site.settings(host_name)["web"]
    assert isinstance(found, Settings)
    return found


@pytest.fixture(scope="session")
def for_people(settings: Settings) -> None:
    if settings.maintenance:
        pytest.skip("not checked: the website is in maintenance")


@pytest.fixture(scope="session")
def pages(host: Host, content: str) -> list[str]:
    return web_host.files_below(host, content, "*.html")


def test_people_get_the_page_of_maintenance_when_it_is_declared_and_only_then(
    client: Client, settings: Settings
) -> None:
    assert (client.status("/") == 503) is settings.maintenance


@pytest.mark.usefixtures("content", "for_people")
def test_the_front_page_is_a_page_for_a_few_minutes(client: Client, settings: Settings) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == f"public, max-age={settings.page_seconds}"


@pytest.mark.usefixtures("for_people")
def test_a_page_is_found_without_its_extension_and_a_folder_by_its_index(client: Client, pages: list[str]) -> None:
    for page in [page for page in pages if page != "/404.html"][:20]:
        short = page.removesuffix("index.html") if page.endswith("/index.html") else page.removesuffix(".html")
        assert client.get(short).content == client.get(page).content, page


@pytest.mark.usefixtures("content")
def test_phones_get_their_message_as_plain_text(client: Client) -> None:
    answer = client.get("/.messages/latest.txt")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Cache-Control"] == "public, max-age=60"
    assert int(answer.headers["Content-Length"]) == len(answer.content)


@pytest.mark.usefixtures("for_people")
def test_old_addresses_lead_to_the_new_for_good(client: Client, settings: Settings) -> None:
    for old, new in settings.places().items():
        answer = client.get(old)
        assert (answer.status_code, answer.headers["Location"]) == (301, new), old
        if new.startswith("/") and "#" not in new:
            assert client.status(new) == 200, new


@pytest.mark.usefixtures("for_people")
def test_what_is_missing_gets_the_sites_own_404_with_that_status(client: Client, host: Host, content: str) -> None:
    own = host.check_output(f"cat {content}/404.html")
    for path in (MISSING, "/404.html", "/.messages/", "/assets/"):
        answer = client.get(path)
        assert answer.status_code == 404, path
        assert answer.text.strip() == own.strip()
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.usefixtures("for_people")
def test_dot_files_other_than_the_public_ones_are_not_there(client: Client) -> None:
    for path in ("/.git/HEAD", "/.git/", "/.htaccess", "/docs/.git/config", "/%2egit/HEAD", "/.messages/../.git/HEAD"):
        assert client.status(path) == 404, path


@pytest.mark.usefixtures("for_people")
def test_styles_are_cached_longer_and_compressed(client: Client, host: Host, content: str, settings: Settings) -> None:
    for path in web_host.files_below(host, content, "*.css"):
        answer = client.get(path)
        assert answer.headers["Content-Type"] == "text/css; charset=utf-8"
        assert answer.headers["Cache-Control"] == f"public, max-age={settings.asset_seconds}"
        plain = client.get(path, Accept_Encoding="identity")
        if int(plain.headers["Content-Length"]) >= 1024:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert answer.headers["Vary"] == "Accept-Encoding"
        assert answer.content == plain.content


@pytest.mark.usefixtures("for_people")
def test_what_was_compressed_beforehand_has_no_address_of_its_own(client: Client, host: Host, content: str) -> None:
    made = web_host.files_below(host, content, "*.gz")
    for path in made:
        if host.file(f"{content}{path.removesuffix('.gz')}").exists:
            assert client.status(path) == 404, path
            answer = client.get(path.removesuffix(".gz"))
            assert (answer.headers["Content-Encoding"], answer.headers["Vary"]) == ("gzip", "Accept-Encoding"), path


@pytest.mark.usefixtures("content")
def test_a_message_is_never_compressed(client: Client) -> None:
    assert "Content-Encoding" not in client.get("/.messages/latest.txt").headers


def test_only_reading_is_allowed(client: Client) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
        answer = client.ask(method, "/")
        assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD"), method


@pytest.mark.usefixtures("for_people")
def test_answers_carry_no_cookie_and_no_version_but_the_security_headers(client: Client, settings: Settings) -> None:
    for path in ("/", MISSING):
        headers = client.get(path).headers
        assert headers["Server"] == "nginx"
        assert "Set-Cookie" not in headers
        assert SECURITY_HEADERS.items() <= headers.items()
        assert headers["Content-Security-Policy"] == settings.content_security_policy
        assert headers["Strict-Transport-Security"] == f"max-age={settings.hsts_seconds}"
        assert headers["Permissions-Policy"] == settings.permissions_policy
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_without_tls_everything_leads_to_tls(client: Client) -> None:
    for path in ("/", MISSING, "/.messages/latest.txt"):
        web_host.assert_without_tls(client, path, 301)


def test_who_asks_for_another_name_gets_no_certificate(client: Client) -> None:
    web_host.assert_no_certificate_for_another_name(client)


def test_the_pages_are_on_their_own_volume(host: Host, settings: Settings, volume: Volume) -> None:
    web_host.assert_content_is_on_its_volume(host, settings.volume, volume, "web")


def test_nginx_is_confined(host: Host, volume: Volume) -> None:
    web_host.assert_nginx_is_confined(host, volume)


def test_the_log_holds_no_person(host: Host, loaded_site: LoadedSite, host_name: str) -> None:
    web_host.assert_the_log_holds_no_person(host, clients(loaded_site, host_name)["IPv4"])
