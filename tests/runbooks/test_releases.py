"""Runbooks of release managers, followed to the letter on two release servers."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inventories.inventory import load_site
from roles.release.tools.signature import CERTIFICATES
from tests.publishing_site import SERVERS, Publishing, publishing_site
from tests.runbooks.reader import editing, follow
from tests.saved_site import Saved, saved_site

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
FIELD = "retired ="


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publishing]:
    yield from publishing_site(tmp_path_factory.mktemp("releases"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    yield from saved_site(tmp_path_factory.mktemp("alone"))


def test_publish_a_release(site: Publishing) -> None:
    release, build = site.built()
    titles = ("Look first", "Publish", "Promote")
    said = follow(site, "publish-a-release", *titles, release=release, build=build)
    assert "all servers serve the newest commit" in said
    assert f"beta: {build} promoted from testing for FP5, panther: published on release-1, release-2" in said
    assert {site.offered(server, "panther", "beta") for server in SERVERS} == {build}


@pytest.mark.full
def test_pull_a_release(site: Publishing) -> None:
    before = site.offered("release-1", "panther", "testing")
    release, build = site.built()
    site.done("publish", release)
    titles = ("Stop the offer", "It was begun, and not published")
    said = follow(site, "pull-a-release", *titles, devices="panther FP5", channel="testing")
    assert f"Phones that have taken {build} keep it" in said
    assert "nothing was begun" in said
    assert {site.offered(server, "panther", "testing") for server in SERVERS} == {before}
    site.must_agree()


def test_add_a_device(site: Publishing, tmp_path: Path) -> None:
    release, build = site.built(("bonito",))
    files = load_site(site.inventory).files
    certificate = tmp_path / "bonito.x509.pem"
    shutil.move(files / CERTIFICATES / certificate.name, certificate)
    names: dict[str, Any] = {"files": files, "device": "bonito", "certificate": certificate, "release": release}
    said = follow(site, "add-a-device", "Its certificate", "Its first release", **names)
    assert f"bonito testing: {build}, the first" in said
    assert {site.offered(server, "bonito", "testing") for server in SERVERS} == {build}


@pytest.mark.full
def test_retire_a_device(site: Publishing) -> None:
    editor = editing(site.folder, f"""sed -i 's/^{FIELD} .*/{FIELD} ["sunfish", "shiba"]/' "$1\"""")
    said = follow(site, "retire-a-device", "Answer 410", editor=editor)
    assert "8 passed" in said or "4 passed" in said
    assert {site.client(server).get("/ota/shiba/shiba-stable").status for server in SERVERS} == {410}


@pytest.mark.full
def test_add_a_release_server(alone: Saved, tmp_path: Path) -> None:
    """The editor is told apart by what is there: first the host, then its name."""
    host = tmp_path / "host"
    host.write_text(
        '[hosts.release-2]\nrole = "release"\nplan = "vc2-1c-1gb"\nregion = "ams"\nfirewall = "public-web"\n'
        'vpcs = ["internal"]\nsettings.release.certificate.challenge = "none"\n'
        'volumes.content = { size_gb = 10, mount = "/srv/release" }\n\n'
    )
    named = 's/^settings.release.certificate.challenge.*/dns = ["release.lab.example.org"]/'
    first = f"sed -i '/^.hosts.release-1.$/{{h;s|.*|cat {host}|e;G}}' \"$1\""
    editor = editing(alone.folder, f'if grep -q release-2 "$1"; then sed -i \'{named}\' "$1"; else {first}; fi')
    titles = ("The host", "What it serves", "Its name")
    said = follow(alone, "add-a-release-server", *titles, editor=editor, new="release-2")
    assert "release-2: brought up to date" in said
    hashes = [
        alone.root(server, "cd /srv/release; find public metadata -type f -exec sha256sum {} + | sort")
        for server in SERVERS
    ]
    assert hashes[0] == hashes[1]
