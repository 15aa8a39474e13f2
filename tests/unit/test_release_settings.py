"""What the settings of the release and web roles accept, and what becomes of them."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from inventories.errors import InputError
from inventories.fleet import Fleet
from inventories.inventory import LoadedSite
from roles.common import nginx
from roles.release.settings import Settings as Release
from roles.web.settings import Settings as Web


@pytest.mark.parametrize(
    ("settings", "bad"),
    [
        (Release, {"retired": ["sun/fish"]}),
        (Release, {"retired": ["a|.*"]}),
        (Release, {"installer_origins": ["https://install.example.org/"]}),
        (Release, {"installer_origins": ["*"]}),
        (Web, {"redirects": {"old": "/new"}}),
        (Web, {"redirects": {"/old": "//evil.example"}}),
        (Web, {"redirects": {"/old": "http://example.org/"}}),
        (Web, {"redirects": {"/old": '/new";}'}}),
        (Web, {"redirects": {"/old": "/$host"}}),
        (Web, {"redirects": {"/a": "/b", "/b": "/c"}}),
        (Web, {"redirects": {"/a": "/a/"}}),
        (Web, {"redirects": {"/old%20page": "/new"}}),
        (Web, {"redirects": {"/a//b": "/new"}}),
        (Web, {"redirects": {"/a/../b": "/new"}}),
        (Web, {"connections_per_address": 65536}),
        (Web, {"redirects": {"/" + 200 * "a": "/b"}}),
        (Web, {"redirects": {"/a": "/b", "/A/": "/c"}}),
        (Web, {"content_security_policy": "default-src 'self'\""}),
    ],
    ids=str,
)
def test_settings_that_cannot_be_meant_are_refused(settings: type[Any], bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings.model_validate(bad)


def test_a_page_redirects_with_and_without_its_slash_and_a_file_as_it_is() -> None:
    settings = Web(redirects={"/News/": "/blog/", "/old.html": "/new"})
    assert settings.places() == {"/news": "/blog/", "/news/": "/blog/", "/old.html": "/new"}


def test_the_shared_files_know_the_volume_they_wait_for() -> None:
    files = nginx.files(
        _site({"content": {"size_gb": 10, "mount": "/srv/re-lease"}}), "a", Release(log_days=2), ("GET",), ()
    )
    assert "BindsTo=srv-re\\x2dlease.mount\n" in files["/etc/systemd/system/nginx.service.d/sandbox.conf"]
    assert "count_requests.py --days 2\n" in files["/etc/systemd/system/mainstay-requests.service"]
    assert not any("{" + "{" in text for text in files.values())


def test_a_host_without_the_content_volume_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"hosts\.a\.volumes: no volume 'content'"):
        nginx.content_volume(_site({}), "a", Release())


def _site(volumes: dict[str, Any]) -> LoadedSite:
    host = {"role": "release", "plan": "p", "region": "ams", "volumes": volumes}
    fleet = {"site": {"name": "x", "domain": "example.org"}, "hosts": {"a": host | {"dns": ["www.example.org"]}}}
    return LoadedSite(Path("x.toml"), Fleet.model_validate(fleet))
