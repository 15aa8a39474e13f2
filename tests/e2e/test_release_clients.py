"""Programs that people fetch releases with, and a day on which every phone resumes: nginx as the role configures it."""

import hashlib
import http.server
import json
import re
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from backup.certificate import new_key, self_signed
from inventories import by_name, trusted
from inventories.fleet import Fleet
from inventories.inventory import LoadedSite
from lab import nginx
from lab.fetch import Offer
from lab.release_archive import CURRENT, DEVICES, FACTORY_AHEAD, Archive, archive
from tests.browser import Browser, browser
from tests.crowd import ask, connected, many_files, status
from tests.waiting import until

NAME = "release.site.localhost"
"""Below localhost curl and browsers find this machine, without a resolver."""
KNOWING_IT = 'mount --bind "$0" /etc/hosts && exec "$@"'
"""Of others, in a mount namespace."""
IMAGE = f"factory/{DEVICES[0]}/16/{DEVICES[0]}-factory-{CURRENT}.zip"
IMAGE_BYTES, FULL_BYTES = 48 << 20, 1 << 18
CUT_AT = 8 << 20
AT_ONCE = 40
"""Downloads of one address."""
PHONES = 300
INSTALLER = """
async function fetched(url, parts) {
    const size = Number((await fetch(url, {method: "HEAD"})).headers.get("Content-Length"));
    const step = Math.ceil(size / parts);
    const ranges = [...Array(parts).keys()].map(one => [one * step, Math.min(size, (one + 1) * step) - 1]);
    const answers = await Promise.all(ranges.map(([first, last]) =>
        fetch(url, {headers: {Range: `bytes=${first}-${last}`}})));
    const bodies = await Promise.all(answers.map(one => one.blob()));
    const digest = await crypto.subtle.digest("SHA-256", await new Blob(bodies).arrayBuffer());
    return {
        status: answers.map(one => one.status),
        ranges: answers.map(one => one.headers.get("Content-Range")),
        sha256: [...new Uint8Array(digest)].map(one => one.toString(16).padStart(2, "0")).join(""),
    };
}
function begin(url, parts) {
    fetched(url, parts).then(found => window.found = found, error => window.found = {error: error.name});
}
"""


@dataclass(frozen=True)
class Release:
    """A release server on loopback. origin: of the page that may read from it in a browser."""

    archive: Archive
    folder: Path
    port: int
    origin: str

    @property
    def url(self) -> str:
        return f"https://{NAME}:{self.port}/{IMAGE}"

    @property
    def certificate(self) -> Path:
        return self.folder / trusted.ROOTS

    def sha256(self, path: str = IMAGE) -> str:
        return hashlib.sha256(self.archive.packages[path]).hexdigest()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a website with the installer's page."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "index.html").write_text(f"<!doctype html><title>Installer</title><script>{INSTALLER}</script>")

    class Pages(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *words: object) -> None:
            super().__init__(*words, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(scope="module")
def release(page: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    folder, origin = tmp_path_factory.mktemp("release"), f"http://install.localhost:{page}"
    full = archive(FULL_BYTES)
    image = archive_image()
    content = Archive({**full.packages, IMAGE: image}, full.metadata, full.checksums, full.times)
    content.write(folder / "volume")
    key = new_key()
    certificate = self_signed(key, (NAME,))
    (folder / "site.pem").write_text(key + certificate)
    (folder / trusted.ROOTS).write_text(certificate)
    (folder / "nginx").mkdir()
    volumes = {"content": {"size_gb": 10, "mount": "/srv/release"}}
    host = {"role": "release", "plan": "p", "region": "ams", "dns": [NAME], "volumes": volumes}
    settings = {"installer_origins": [origin], "connections_per_address": AT_ONCE}
    site = {"site": {"name": "x", "domain": "site.localhost"}, "settings": {"release": settings}, "hosts": {"r": host}}
    loaded = LoadedSite(folder / "x.toml", Fleet.model_validate(site))
    with nginx.serving(loaded, "r", folder / "volume", folder / "nginx", folder / "site.pem") as port:
        yield Release(content, folder, port, origin)


def archive_image() -> bytes:
    """Of a size that takes a while, and differs from part to part."""
    return b"".join(hashlib.sha256(bytes([n % 256, n // 256])).digest() * 32768 for n in range(IMAGE_BYTES >> 20))


def test_aria2_fetches_by_four_connections_and_goes_on_after_it_was_killed(release: Release, tmp_path: Path) -> None:
    to, log = tmp_path / "image.zip", tmp_path / "log"
    hosts = tmp_path / "hosts"
    hosts.write_text(f"127.0.0.1 {NAME}\n")
    words = [
        "unshare",
        "-m",
        "sh",
        "-c",
        KNOWING_IT,
        str(hosts),
        "aria2c",
        "-q",
        "-c",
        "-x4",
        "-s4",
        "-k1M",
        "--file-allocation=none",
        "--auto-save-interval=1",
    ]
    words += ["--no-conf", f"--ca-certificate={release.certificate}", f"--dir={tmp_path}", f"--out={to.name}"]
    with subprocess.Popen([*words, "--max-download-limit=8M", release.url]) as first:
        until("some of it", lambda: held(to) > CUT_AT and to.with_name("image.zip.aria2").exists())
        first.send_signal(signal.SIGKILL)
    assert held(to) < IMAGE_BYTES
    subprocess.run([*words, f"--log={log}", "--log-level=info", release.url], check=True)
    assert hashlib.sha256(to.read_bytes()).hexdigest() == release.sha256()
    begun = [int(first) for first in re.findall(r"^Range: bytes=(\d+)-", log.read_text(), re.MULTILINE)]
    assert len(begun) >= 4
    assert min(begun) > 0


def held(file: Path) -> int:
    """Bytes of a file that were written, without its holes."""
    return file.stat().st_blocks * 512 if file.exists() else 0


def test_curl_goes_on_after_it_was_killed_and_asks_for_nothing_twice(release: Release, tmp_path: Path) -> None:
    to = tmp_path / "image.zip"
    words = ["curl", "-sf", "-C", "-", "--cacert", str(release.certificate), "-o", str(to), release.url]
    with subprocess.Popen([*words, "--limit-rate", "16M"]) as first:
        until("some of it", lambda: held(to) > CUT_AT)
        first.kill()
    had = to.stat().st_size
    assert had < IMAGE_BYTES
    told = subprocess.check_output([*words, "-w", "%{http_code} %{size_download}"], text=True)
    assert told == f"206 {len(release.archive.packages[IMAGE]) - had}"
    assert hashlib.sha256(to.read_bytes()).hexdigest() == release.sha256()


@pytest.fixture
def chromium(release: Release, tmp_path: Path) -> Iterator[Browser]:
    # Whom it would trust is not asked here.
    with browser(tmp_path, "--ignore-certificate-errors") as found:
        yield found


def installed(chromium: Browser, release: Release, parts: int) -> dict[str, object]:
    chromium.js(f"begin({json.dumps(release.url)}, {parts})")
    found: dict[str, object] = until("the image", lambda: chromium.js("window.found"))
    return found


def test_a_browser_fetches_an_image_by_ranges_from_the_installers_page(release: Release, chromium: Browser) -> None:
    chromium.open(f"{release.origin}/index.html")
    found = installed(chromium, release, 6)
    step = IMAGE_BYTES // 6
    ranges = [f"bytes {n * step}-{(n + 1) * step - 1}/{IMAGE_BYTES}" for n in range(6)]
    assert found == {"status": [206] * 6, "ranges": ranges, "sha256": release.sha256()}


def test_a_browser_gets_nothing_for_a_page_of_another_origin(release: Release, chromium: Browser) -> None:
    chromium.open(f"{release.origin.replace('install.', 'elsewhere.')}/index.html")
    assert installed(chromium, release, 6) == {"error": "TypeError"}


@dataclass(frozen=True)
class Phone:
    """An update client with half of its package, which is what the device is offered."""

    release: Release
    device: str
    tls: ssl.SSLContext

    def get(self, path: str, **headers: str) -> requests.Response:
        """By a connection of its own: others may have to wait for long in between."""
        with by_name.session(NAME, self.tls) as session:
            address = f"https://127.0.0.1:{self.release.port}/{path}"
            return session.get(address, headers=headers, timeout=60, allow_redirects=False)

    def offered(self) -> str:
        """The package's path; both requests must be answered."""
        told = [self.get(f"ota/{self.device}/{self.device}-stable{end}") for end in ("", "-changelog.html")]
        assert [one.status_code for one in told] == [200, 200]
        offer = Offer.parse(told[0].text)
        return f"ota/{self.device}/{offer.android}/{self.device}-ota_update-{offer.build}.zip"

    def resume(self, package: str) -> bytes | None:
        """All of the package, or nothing where the server has no room."""
        whole = self.release.archive.packages[package]
        had = whole[: len(whole) // 2]
        answer = self.get(package, Range=f"bytes={len(had)}-")
        assert answer.status_code in {206, 429}
        return had + answer.content if answer.status_code == 206 else None


def test_on_a_release_day_every_phone_gets_its_metadata_and_in_the_end_its_package(release: Release) -> None:
    """All are of one address, whose downloads are at their limit; then those end, and each tries until it is let in."""
    tls = trusted.context(release.folder)
    devices = [device for device in DEVICES if device != FACTORY_AHEAD]
    phones = [Phone(release, devices[number % len(devices)], tls) for number in range(PHONES)]

    def refused(phone: Phone) -> bool:
        return phone.resume(phone.offered()) is None

    def updated(phone: Phone) -> bool:
        package = phone.offered()
        content = until("let in", lambda: phone.resume(package))
        promised = phone.get(f"{package}.sha256sum").text.split()[0]
        return hashlib.sha256(content or b"").hexdigest() == promised

    with many_files(), ThreadPoolExecutor(PHONES) as pool:
        with ExitStack() as stack:
            for _ in range(AT_ONCE):
                reader = stack.enter_context(connected("127.0.0.1", "127.0.0.1", release.port, NAME))
                ask(reader, f"/{IMAGE}", name=NAME)
                assert status(reader) == 200
            assert list(pool.map(refused, phones)) == [True] * PHONES
        assert list(pool.map(updated, phones)) == [True] * PHONES


def test_a_link_within_metadata_is_not_followed_though_its_owner_owns_what_it_leads_to(release: Release) -> None:
    folder = release.folder / f"volume/metadata/ota/{DEVICES[0]}"
    (folder / f"{DEVICES[0]}-linked").symlink_to(folder / f"{DEVICES[0]}-stable")
    phone = Phone(release, DEVICES[0], trusted.context(release.folder))
    answers = [phone.get(f"ota/{DEVICES[0]}/{DEVICES[0]}-{channel}").status_code for channel in ("stable", "linked")]
    assert answers == [200, 404]
