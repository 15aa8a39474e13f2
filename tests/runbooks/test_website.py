"""The runbook of whoever publishes the website, followed to the letter on two web servers."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.runbooks.reader import follow
from tests.website import SERVERS, Website, website_site

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
MESSAGE = "/.messages/latest.txt"


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
