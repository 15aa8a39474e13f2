"""What update clients, the web installer and nobody else get from a release server."""

import hashlib
import re
from dataclasses import dataclass

import pytest
from testinfra.host import Host

from inventories.fleet import Volume
from inventories.inventory import LoadedSite
from roles.release.archive import METADATA
from roles.release.settings import Settings
from tests.roles import web_host
from tests.roles.web_client import SECURITY_HEADERS, Client, body_size, clients, fields

pytestmark = pytest.mark.lab
NOWHERE = "https://elsewhere.example"


@dataclass(frozen=True)
class Artifact:
    """A zip on the host; path as in its URL."""

    path: str
    size: int
    mtime: int


@pytest.fixture(scope="session")
def settings(loaded_site: LoadedSite, host_name: str) -> Settings:
    found = loaded_site.settings(host_name)["release"]
    assert isinstance(found, Settings)
    return found


@pytest.fixture(scope="session")
def package(host: Host, content: str, settings: Settings) -> Artifact:
    """The smallest full OTA of a device that is not retired."""
    found = host.check_output(f"cd {content} && find ota -name '*-ota_update-*.zip' -printf '%s %T@ %p\\n' | sort -n")
    for line in found.splitlines():
        size, mtime, path = line.split(" ")
        if path.split("/")[1] not in settings.retired:
            return Artifact(f"/{path}", int(size), int(float(mtime)))
    raise AssertionError(f"no OTA package below {content}")


@pytest.fixture(scope="session")
def metadata(host: Host, content: str, settings: Settings) -> str:
    """Path of a channel's metadata."""
    root = f"{content.rpartition('/')[0]}/{METADATA}"
    for path in web_host.files_below(host, root, "*-stable"):
        if path.split("/")[2] not in settings.retired:
            return path
    raise AssertionError(f"no channel metadata below {root}")


def on_host(host: Host, root: str, path: str, first: int, count: int) -> str:
    """SHA-256 of a part of a file."""
    return str(host.check_output(f"tail -c +{first + 1} {root}{path} | head -c {count} | sha256sum").split()[0])


def test_metadata_is_one_plain_line_fresh_within_a_minute(client: Client, metadata: str) -> None:
    answer = client.get(metadata)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Cache-Control"] == "public, max-age=60"
    assert "Content-Encoding" not in answer.headers
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert re.fullmatch(r"\S+ \d+ \S+\n?", answer.text)


def test_a_package_has_its_length_its_type_and_a_year_to_be_cached(client: Client, package: Artifact) -> None:
    headers = client.head(package.path).headers
    assert headers["Content-Length"] == str(package.size)
    assert headers["Content-Type"] == "application/zip"
    assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert headers["Accept-Ranges"] == "bytes"
    assert "Content-Encoding" not in headers


def test_validators_depend_on_the_file_alone_so_that_all_servers_agree(client: Client, package: Artifact) -> None:
    etag = client.head(package.path).headers["ETag"]
    assert etag == f'"{package.mtime:x}-{package.size:x}"'
    assert client.get(package.path, If_None_Match=etag).status_code == 304
    assert client.get(package.path, Range="bytes=5-", If_Range='"another"').status_code == 200


def test_a_download_resumes_anywhere(client: Client, package: Artifact, host: Host, content: str) -> None:
    for first in (0, 1, package.size // 2, package.size - 1):
        count = min(package.size - first, 65_536)
        asked = f"bytes={first}-" if first + count == package.size else f"bytes={first}-{first + count - 1}"
        answer = client.get(package.path, Range=asked)
        assert answer.status_code == 206
        assert answer.headers["Content-Range"] == f"bytes {first}-{first + count - 1}/{package.size}"
        assert hashlib.sha256(answer.content).hexdigest() == on_host(host, content, package.path, first, count)


def test_a_complete_download_that_resumes_is_told_so(client: Client, package: Artifact) -> None:
    answer = client.get(package.path, Range=f"bytes={package.size}-")
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{package.size}"
    assert answer.headers["Cache-Control"] == "no-store"
    assert {name: values for name, values in fields(answer).items() if len(values) > 1} == {}


def test_several_ranges_come_as_parts_and_too_many_as_the_whole(client: Client, package: Artifact) -> None:
    parts = client.get(package.path, Range="bytes=0-9,20-29")
    assert parts.status_code == 206
    assert parts.headers["Content-Type"].startswith("multipart/byteranges")
    assert parts.content.count(b"\r\nContent-Range: bytes ") == 2
    many = client.get(package.path, Range="bytes=" + ",".join(f"{n}-{n}" for n in range(0, 200, 2)))
    assert (many.status_code, many.headers["Content-Length"]) == (200, str(package.size))
    whole = client.get(package.path, Range="bytes=0-,0-,0-")
    assert (whole.status_code, whole.headers["Content-Length"]) == (200, str(package.size))


def test_a_missing_incremental_is_a_404_with_and_without_a_range(client: Client, package: Artifact) -> None:
    device, android = package.path.split("/")[2:4]
    missing = f"/ota/{device}/{android}/{device}-incremental-100000000-100000001.zip"
    for answer in (client.get(missing), client.get(missing, Range="bytes=0-"), client.head(missing)):
        assert answer.status_code == 404
        assert answer.headers["Cache-Control"] == "no-store"


def test_nothing_is_listed_and_nothing_redirects(client: Client, package: Artifact) -> None:
    folder = package.path.rsplit("/", 1)[0]
    for path in ("/", "/ota", "/ota/", folder, f"{folder}/", "/factory", "/index.html"):
        assert client.status(path) == 404, path


def test_retired_devices_are_gone_on_every_path(client: Client, settings: Settings) -> None:
    for device in settings.retired:
        for path in (f"{device}-stable", f"{device}-stable-changelog.html", f"14/{device}-ota_update-1.zip", ""):
            assert client.status(f"/ota/{device}/{path}") == 410
        assert client.status(f"/factory/{device}/14/{device}-factory-1.zip") == 410
        assert client.status(f"/ota/{device}er/{device}er-stable") == 404


def test_checksums_are_plain_text_in_the_normal_form(client: Client, package: Artifact) -> None:
    answer = client.get(f"{package.path}.sha256sum")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert re.fullmatch(rf"[0-9a-f]{{64}}  {re.escape(package.path.rsplit('/', 1)[1])}\n", answer.text)


def test_changelogs_are_pages(client: Client, metadata: str) -> None:
    assert client.get(f"{metadata}-changelog.html").headers["Content-Type"] == "text/html; charset=utf-8"


def test_the_web_installer_may_read_lengths_and_ranges(client: Client, package: Artifact, settings: Settings) -> None:
    for origin in settings.installer_origins:
        missing = client.get("/factory/none.zip", Origin=origin)
        past_end = client.get(package.path, Origin=origin, Range=f"bytes={package.size}-")
        for answer in (client.get(package.path, Origin=origin, Range="bytes=0-99"), missing, past_end):
            assert answer.headers["Access-Control-Allow-Origin"] == origin
            exposed = answer.headers["Access-Control-Expose-Headers"]
            assert {"Content-Length", "Content-Range", "Accept-Ranges"} <= set(exposed.split(", "))
            assert "Origin" in answer.headers["Vary"]
        preflight = client.ask("OPTIONS", package.path, Origin=origin, Access_Control_Request_Headers="range")
        assert preflight.status_code == 204
        assert preflight.headers["Access-Control-Allow-Origin"] == origin
        assert "Range" in preflight.headers["Access-Control-Allow-Headers"].split(", ")


def test_other_origins_may_not(client: Client, package: Artifact) -> None:
    for answer in (client.head(package.path, Origin=NOWHERE), client.ask("OPTIONS", package.path, Origin=NOWHERE)):
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


def test_only_reading_is_allowed(client: Client, package: Artifact) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "PROPFIND", "TRACE"):
        for path in (package.path, "/nothing-here"):
            answer = client.ask(method, path)
            assert answer.status_code == 405, (method, path)
            assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


def test_dot_files_and_paths_out_of_the_archive_are_not_there(client: Client) -> None:
    for path in ("/.git/HEAD", "/ota/.git/config", "/%2e%2e/%2e%2e/etc/passwd", "/ota/%2egit/config", "/.htaccess"):
        assert client.status(path) in (400, 404), path


def test_answers_carry_no_cookie_and_no_version_but_the_security_headers(
    client: Client, metadata: str, settings: Settings
) -> None:
    for path in (metadata, "/nothing-here"):
        headers = client.get(path).headers
        assert headers["Server"] == "nginx"
        assert "Set-Cookie" not in headers
        assert SECURITY_HEADERS.items() <= headers.items()
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["Strict-Transport-Security"] == f"max-age={settings.hsts_seconds}"


def test_without_tls_phones_get_an_error_and_browsers_are_led_on(
    client: Client, package: Artifact, metadata: str
) -> None:
    for path in (metadata, package.path, f"{metadata}-changelog.html"):
        web_host.assert_without_tls(client, path, 403)
    web_host.assert_without_tls(client, "/", 301)


def test_who_asks_for_another_name_gets_no_certificate(client: Client) -> None:
    web_host.assert_no_certificate_for_another_name(client)


def test_the_whole_package_is_what_lies_on_the_volume(client: Client, package: Artifact) -> None:
    if package.size < 2**24:
        assert body_size(client.get(package.path)) == package.size


def test_the_archive_is_on_its_own_volume(host: Host, settings: Settings, volume: Volume) -> None:
    web_host.assert_content_is_on_its_volume(host, settings.volume, volume, "release")


def test_nginx_is_confined(host: Host, volume: Volume) -> None:
    web_host.assert_nginx_is_confined(host, volume)


def test_each_night_a_part_of_all_packages_is_read(host: Host) -> None:
    assert host.service("mainstay-release-read.timer").is_running
    assert host.service("mainstay-release-read.timer").is_enabled
    said = host.check_output("systemd-analyze security --no-pager mainstay-release-read.service | tail -1")
    assert float(re.findall(r"[0-9]+\.[0-9]+", said)[0]) <= 1.5, said


def test_the_log_holds_no_person(host: Host, loaded_site: LoadedSite, host_name: str) -> None:
    web_host.assert_the_log_holds_no_person(host, clients(loaded_site, host_name)["IPv4"])
