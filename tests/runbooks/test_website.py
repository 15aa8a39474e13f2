"""The runbooks of whoever looks after the website, followed to the letter on two web servers."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inventories.inventory import load_site
from roles.web.maintenance import policy
from tests.browser import browser
from tests.contrast import must_stand_out
from tests.roles.web_client import SECURITY_HEADERS, Client, clients
from tests.roles.web_host import assert_without_tls
from tests.runbooks.reader import editing, follow
from tests.website import MARK, SERVERS, Website, website_site

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
MESSAGE = "/.messages/latest.txt"
FOR_PROGRAMS = (MESSAGE, "/.well-known/security.txt")
FOR_PEOPLE = (
    *("/", "/about", "/docs", "/docs/", "/get", "/assets/css/style.css", "/404.html", "/no/such/page"),
    *("/maintenance.html", "/.git/HEAD", "/.messages/", "/.messages/none"),
)


@pytest.fixture(scope="module")
def website(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Website]:
    yield from website_site(tmp_path_factory.mktemp("website"))


def test_publish_the_website_tell_phones_something_and_take_it_back(website: Website) -> None:
    message = website.folder / "latest.txt"
    message.write_text("No release this month.\n")
    names: dict[str, Any] = {"site": website.built, "message": message}
    before = website.edition
    website.build()
    follow(website, "publish-the-website", "Look first", "Publish", **names)
    website.must_agree()
    follow(website, "publish-the-website", "Tell phones something", **names)
    assert {website.client(host).get(MESSAGE).content for host in SERVERS} == {message.read_bytes()}
    follow(website, "publish-the-website", "Take it back", **names)
    website.must_agree()
    follow(website, "publish-the-website", "Take it back", **names)
    assert {host: website.shown(host) for host in SERVERS} == {host: {before} for host in SERVERS}


def test_the_website_goes_into_maintenance_and_out_of_it(website: Website, tmp_path: Path) -> None:
    page, text = "website-maintenance", "Wir ziehen um & <b>bald</b> zur\u00fcck."
    declared = tmp_path / "declared"
    declared.write_text(f'[settings.web]\nmaintenance = true\nmaintenance_text = "{text}"\n\n')
    on = editing(tmp_path, f"sed -i '/^.settings.web.certificate.$/e cat {declared}' \"$1\"")
    said = follow(website, page, "Into maintenance", editor=on)
    assert said.count("in maintenance since") == len(SERVERS)
    for host in SERVERS:
        for client in clients(load_site(website.inventory), host).values():
            must_rest(client)
    new = website.build()
    website.publish()
    for host in SERVERS:
        must_rest(website.client(host))
        assert MARK.findall(website.client(host).get(MESSAGE).content) == [b"%d" % new]
    must_be_readable(website.client(), text, tmp_path / "profile")
    off = editing(tmp_path, """sed -i 's/^maintenance = true/maintenance = false/' "$1\"""")
    subprocess.run([off, website.inventory.with_suffix(".toml")], check=True)
    early = website.web("publish", str(website.built), "--replace-message")
    assert (early.returncode, "which it is not to be in: run deploys/web.py" in early.stderr) == (1, True)
    said = follow(website, page, "Out of maintenance", editor="true")
    assert "in maintenance" not in said
    website.must_agree()


def must_rest(client: Client) -> None:
    """One page for whatever people ask for; programs notice nothing."""
    told = {client.get(path).text for path in FOR_PEOPLE}
    assert len(told) == 1
    for path in FOR_PEOPLE:
        plain = client.get(path)
        known, part = client.get(path, If_None_Match=plain.headers["ETag"]), client.get(path, Range="bytes=0-3")
        for answer in (plain, client.head(path), known, part):
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "600"), path
            assert (answer.headers["Content-Type"], answer.headers["Cache-Control"]) == (
                "text/html; charset=utf-8",
                "no-store",
            )
            assert SECURITY_HEADERS.items() <= answer.headers.items()
            assert answer.headers["Content-Security-Policy"] == policy()
            assert "Strict-Transport-Security" in answer.headers
    for path in FOR_PROGRAMS:
        answer = client.get(path)
        assert (answer.status_code, "Retry-After" in answer.headers) == (200, False), path
        assert MARK.search(answer.content)
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert client.ask("POST", "/").status_code == 405
    assert_without_tls(client, "/", 301)


def must_be_readable(client: Client, text: str, profile: Path) -> None:
    """In light and dark, on a phone, by who does not see it; it asks for nothing else."""
    address = f"https://{client.name}/docs/"
    options = (f"--host-resolver-rules=MAP {client.name} {client.address}", "--ignore-certificate-errors")
    with browser(profile, *options) as chromium:
        for dark in (False, True):
            chromium.open(address, width=360, height=640, dark=dark)
            assert chromium.requests == [address]
            assert chromium.js("document.documentElement.scrollWidth") == 360
            assert chromium.js("getComputedStyle(document.body).maxWidth") == "576px", "its style is not allowed"
            must_stand_out(chromium, more_than=1)
        told = chromium.tree()
    assert ("heading", "Down for maintenance") in told
    assert ("main", "") in told
    assert ("StaticText", text) in told
