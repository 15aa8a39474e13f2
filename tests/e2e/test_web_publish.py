"""The website is published on a host in service while visitors look: each answer is of one release, none an error."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest

from cloud.converge import REPOSITORY
from inventories.inventory import load_site
from inventories.ssh import ssh_config
from lab import sample
from tests.browser import browser
from tests.roles.web_client import Client, clients

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
HOST = "web-1"
ASKED = ("/", "/about", "/docs/", "/docs/install", "/assets/css/style.css", "/.messages/latest.txt", "/no/such/page")
MARK = re.compile(rb"edition (\d+)\.")
STEPS = ("lock", "begin", "upload", "verify", "place", "switch", "close")
POINTS = [f"{when} {step}" for step in STEPS for when in ("before", "after")]
WORST = ("after begin", "after switch")
EDITIONS = count(1)


@dataclass
class Website:
    """The site of the rehearsal, whose every file says of which edition it is."""

    inventory: Path
    folder: Path
    edition: int = 0

    @property
    def client(self) -> Client:
        return clients(load_site(self.inventory), HOST)["IPv4"]

    def build(self, **pages: str) -> int:
        """The next edition, as it is to be published."""
        self.edition = next(EDITIONS)
        sample.website(self.folder / "site")
        for name, text in pages.items():
            (self.folder / "site" / f"{name}.html").write_text(text)
        for path in (self.folder / "site").rglob("*.*"):
            if path.is_file():
                comment = {".css": "/* {} */", ".txt": "{}"}.get(path.suffix, "<!-- {} -->")
                with path.open("a") as file:
                    file.write(comment.format(f"edition {self.edition}.") + "\n")
        return self.edition

    def mainstay(self, *words: str, point: str = "") -> "subprocess.CompletedProcess[str]":
        """`mainstay web WORDS`. point: where it is killed."""
        line = [sys.executable, "-m", "tests.faults.web_killed", point] if point else [REPOSITORY / "bin/mainstay"]
        return subprocess.run(
            [*line, "web", *words],
            cwd=REPOSITORY,
            env=os.environ | {"MAINSTAY_INVENTORY": str(self.inventory)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def must(self, *words: str) -> Any:
        """What it says for programs."""
        done = self.mainstay(*words, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def publish(self, *words: str) -> Any:
        return self.must("publish", str(self.folder / "site"), "--replace-message", *words)

    def root(self, command: str) -> str:
        config = self.folder / "ssh_config"
        config.write_text(ssh_config(load_site(self.inventory)))
        words = ["ssh", "-F", str(config), HOST, f"sudo sh -ec '{command}'"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


@dataclass
class Visitor:
    """Asks for one address after the other, as fast as it can."""

    client: Client
    seen: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        while not self.done.is_set():
            for path in ASKED:
                answer = self.client.get(path)
                editions = {int(found) for found in MARK.findall(answer.content)}
                if answer.status_code != (404 if path == "/no/such/page" else 200) or len(editions) != 1:
                    self.wrong.append(f"{path}: {answer.status_code}, of {editions}")
                self.seen += editions


@contextmanager
def visited(website: Website) -> Iterator[Visitor]:
    """Somebody looks all the time, and finds nothing wrong."""
    visitor = Visitor(website.client)
    thread = threading.Thread(target=visitor.look)
    thread.start()
    try:
        yield visitor
    finally:
        visitor.done.set()
        thread.join()
    assert visitor.wrong == []
    assert len(visitor.seen) > len(ASKED)


@pytest.fixture(scope="module")
def website(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Website]:
    """Afterwards it is the rehearsal's again."""
    made = Website(site, tmp_path_factory.mktemp("website"))
    made.build()
    made.publish()
    yield made
    sample.website(made.folder / "rehearsed")
    done = made.mainstay("publish", str(made.folder / "rehearsed"), "--replace-message")
    assert done.returncode == 0, done.stdout + done.stderr


def test_visitors_see_the_old_edition_and_then_the_new_and_back_again_without_an_error(website: Website) -> None:
    old = website.edition
    with visited(website) as visitor:
        new = website.build()
        published = website.publish()
        assert MARK.findall(website.client.get("/about").content) == [b"%d" % new]
        website.must("rollback")
    assert {*visitor.seen} == {old, new}
    assert sum(one != other for one, other in pairwise(visitor.seen)) == 2
    assert website.must("rollback", published["id"])["changed"]


def test_the_same_again_changes_nothing(website: Website) -> None:
    assert website.publish()["changes"] is False
    assert website.must("status")["servers"][HOST]["begun"] == []


@pytest.mark.parametrize("point", [pytest.param(one, marks=() if one in WORST else pytest.mark.full) for one in POINTS])
def test_killed_anywhere_visitors_notice_nothing_and_the_next_run_finishes(website: Website, point: str) -> None:
    old = website.edition
    with visited(website) as visitor:
        new = website.build()
        killed = website.mainstay("publish", str(website.folder / "site"), point=point)
        assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
        website.publish()
    assert {*visitor.seen} <= {old, new}
    assert sum(one != other for one, other in pairwise(visitor.seen)) <= 1
    assert MARK.findall(website.client.get("/about").content) == [b"%d" % new]
    assert website.must("status")["exit_code"] == 0


def test_a_message_goes_to_phones_alone_and_is_taken_back(website: Website, tmp_path: Path) -> None:
    (tmp_path / "message").write_text("Update now.\n")
    before = website.client.get("/.messages/latest.txt").text
    assert website.must("message", str(tmp_path / "message"))["changed"] == [".messages/latest.txt"]
    answer = website.client.get("/.messages/latest.txt")
    assert (answer.text, "Content-Encoding" in answer.headers) == ("Update now.\n", False)
    refused = website.mainstay("publish", str(website.folder / "site"))
    assert (refused.returncode, "--replace-message" in refused.stderr) == (1, True)
    website.must("rollback")
    assert website.client.get("/.messages/latest.txt").text == before


def test_what_is_not_publishable_is_told_and_no_server_asked(website: Website, tmp_path: Path) -> None:
    sample.website(tmp_path)
    (tmp_path / "docs/install.html").unlink()
    done = website.mainstay("publish", str(tmp_path))
    assert done.returncode == 50
    assert "redirects: /get leads to /docs/install, which is not there" in done.stdout.splitlines()


def test_hidden_files_that_came_there_by_another_way_are_not_served(website: Website) -> None:
    website.root("cd /srv/web/public; mkdir .git; echo x > .git/HEAD; echo x > docs/.htaccess; chmod -R a+rX .git docs")
    try:
        for path in ("/.git/HEAD", "/docs/.htaccess", "/%2egit/HEAD", "/.git/"):
            assert website.client.status(path) == 404, path
    finally:
        website.root("cd /srv/web/public; rm -r .git docs/.htaccess")


def test_the_owner_can_link_within_a_release_and_to_nothing_else(website: Website) -> None:
    website.root(
        "cd /srv/web/public; ln -s about.html in.html; ln -s /etc/passwd out.txt; chown -h web in.html out.txt"
    )
    try:
        assert [website.client.status(path) for path in ("/in", "/out.txt")] == [200, 404]
    finally:
        website.root("cd /srv/web/public; rm in.html out.txt")


def test_a_browser_shows_a_published_page_with_its_style(website: Website, tmp_path: Path) -> None:
    head = '<link rel="stylesheet" href="/assets/css/style.css">'
    website.build(styled=f'<!doctype html><title>Styled</title>{head}<p class="c9">Words.</p>')
    website.publish()
    style = website.client.get("/assets/css/style.css")
    assert style.headers["Content-Encoding"] == "gzip"
    client = website.client
    # Whom it would trust is not asked here: that of the suite of the role is.
    options = (f"--host-resolver-rules=MAP {client.name} {client.address}", "--ignore-certificate-errors")
    with browser(tmp_path, *options) as chromium:
        chromium.open(f"https://{client.name}/styled")
        assert chromium.js("getComputedStyle(document.querySelector('.c9')).color") == "rgb(0, 0, 9)"
        assert chromium.js("document.title") == "Styled"
