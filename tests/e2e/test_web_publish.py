"""The website is published on a host in service while visitors look: each answer is of one release, none an error."""

import gzip
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import sample
from roles.web.archive import made_of
from tests.browser import browser
from tests.waiting import until
from tests.website import MARK, SERVERS, Website, goes_on, stopped, visited, website_site

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
STEPS = ("lock", "begin", "upload", "verify", "place", "switch", "close")
POINTS = [f"{when} {step}" for step in STEPS for when in ("before", "after")]
WORST = ("after begin", "after switch")
POWER_LOST_AT_WORST = "after switch"
LARGE = 10_000_000


@pytest.fixture(scope="module")
def website(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Website]:
    yield from website_site(tmp_path_factory.mktemp("website"))


def full(points: list[str], *worst: str) -> list[object]:
    return [pytest.param(one, marks=[pytest.mark.full] * (one not in worst)) for one in points]


def test_visitors_see_the_old_edition_and_then_the_new_and_back_again_without_an_error(website: Website) -> None:
    old = website.edition
    with visited(website) as visitors:
        new = website.build()
        published = website.publish()
        assert MARK.findall(website.client().get("/about").content) == [b"%d" % new]
        website.done("rollback")
    assert [({*one.seen}, one.turns) for one in visitors.values()] == [({old, new}, 2)] * 2
    assert website.done("rollback", published["id"])["changed"]


def test_the_same_again_changes_nothing(website: Website) -> None:
    assert website.publish()["changes"] is False
    website.must_agree()


@pytest.mark.parametrize("point", full(POINTS, *WORST))
def test_killed_anywhere_visitors_notice_nothing_and_the_next_run_finishes(website: Website, point: str) -> None:
    old = website.edition
    with visited(website) as visitors:
        new = website.build()
        killed = website.web("publish", str(website.built), "--replace-message", point=point)
        assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
        website.publish()
    for one in visitors.values():
        assert {*one.seen} <= {old, new}
        assert one.turns <= 1
    website.must_agree()


@pytest.mark.parametrize("point", full(POINTS, POWER_LOST_AT_WORST))
def test_a_server_whose_power_is_lost_anywhere_serves_a_whole_edition_and_the_next_run_finishes(
    website: Website, point: str
) -> None:
    old, new = website.edition, website.build()
    with visited(website, away=["web-2"]) as visitors:
        with website.begin_web(
            *("publish", str(website.built), "--replace-message"), point=f"{point} web-2", what="STOP"
        ) as running:
            stopped(running)
            website.cut_power("web-2")
            code = goes_on(running)
        assert code == (0 if point == "after close" else 3)
        switched = POINTS.index(point) >= POINTS.index("after switch")
        assert website.shown("web-2") == {new if switched else old}
        assert len(website.shown("web-1")) == 1
        website.publish()
    for one in visitors.values():
        assert {*one.seen} <= {old, new}
        assert one.turns <= 1
    website.must_agree()


@pytest.mark.full
def test_a_link_that_is_cut_in_an_upload_stops_it_and_what_came_is_not_sent_again(website: Website) -> None:
    old, new = website.edition, website.build()
    words = ("publish", str(website.built), "--replace-message")
    (website.built / "assets/img/large.png").write_bytes(os.urandom(LARGE))
    website.limit_link("web-2", 8)
    with visited(website, away=["web-2"]):
        with website.begin_web(*words, point="before upload web-2", what="STOP") as running:
            stopped(running)
            running.send_signal(signal.SIGCONT)
            until("a part has come", lambda: _come(website, "web-2") > LARGE // 4)
            website.cut("web-2", off=True)
            _, said = running.communicate()
            website.cut("web-2", off=False)
        assert running.returncode in (1, 3), said
        assert "web-2: " in said
        assert [website.shown(host) for host in SERVERS] == [{old}, {old}]
        sent = website.sent("web-2")
        until("the server gives the lost one up", lambda: website.web(*words).returncode == 0, timeout_s=300)
        assert website.sent("web-2") - sent < LARGE * 7 // 8
    assert [website.shown(host) for host in SERVERS] == [{new}, {new}]
    website.must_agree()


def _come(website: Website, host: str) -> int:
    return int(website.root(host, "du -sb --apparent-size /srv/web/incoming | cut -f1"))


@pytest.mark.full
def test_a_server_that_is_down_stops_it_or_is_left_out_and_catches_up(website: Website) -> None:
    old, new = website.edition, website.build()
    words = ("publish", str(website.built), "--replace-message")
    website.power("web-2", "halt")
    try:
        ran = website.web(*words)
        assert (ran.returncode, "nothing is published; --without web-2 leaves it out" in ran.stderr) == (3, True)
        assert website.shown("web-1") == {old}
        ran = website.web(*words, "--without", "web-2")
        assert (ran.returncode, "web-2 was left out: the same command again" in ran.stderr) == (0, True), ran.stderr
        assert website.shown("web-1") == {new}
        found = website.standing()
        assert (found["exit_code"], "wrong" in found["servers"]["web-2"]) == (3, True)
    finally:
        website.power("web-2", "start")
    assert website.shown("web-2") == {old}
    assert website.standing()["exit_code"] == 51
    website.publish()
    website.must_agree()
    refused: list[tuple[tuple[str, ...], str]] = [
        (("web-3",), "no web server web-3"),
        (SERVERS, "no web server is left"),
    ]
    for names, why in refused:
        given = [word for name in names for word in ("--without", name)]
        ran = website.web("rollback", *given)
        assert (ran.returncode, why in ran.stderr) == (2, True)


def test_a_client_gets_the_smallest_that_it_takes_and_each_is_the_same_page(website: Website) -> None:
    css = "/assets/css/style.css"
    manifest = website.root("web-2", "cat /srv/web/public/../manifest.json")
    client = website.client("web-2")
    plain = client.get(css, Accept_Encoding="identity")
    taken = {
        "gzip, deflate, br, zstd": "gzip",
        "gzip;q=0.5": "gzip",
        "gzip;q=0": "",
        "br, zstd": "",
        "identity": "",
        "": "",
    }
    tags = {}
    for asked, encoding in taken.items():
        answer = client.get(css, Accept_Encoding=asked)
        raw = answer.raw.read(decode_content=False)
        assert (answer.status_code, answer.headers.get("Content-Encoding", "")) == (200, encoding), asked
        assert answer.headers["Content-Type"] == "text/css; charset=utf-8", asked
        assert answer.headers["Vary"] == "Accept-Encoding", asked
        assert int(answer.headers["Content-Length"]) == len(raw), asked
        assert (gzip.decompress(raw) if encoding else raw) == plain.content, asked
        head = client.head(css, Accept_Encoding=asked)
        assert {**head.headers, "Date": ""} == {**answer.headers, "Date": ""}, asked
        tags[encoding] = answer.headers["ETag"]
        again = client.get(css, Accept_Encoding=asked, If_None_Match=tags[encoding])
        assert (again.status_code, again.headers["Vary"]) == (304, "Accept-Encoding"), asked
    assert len({*tags.values()}) == 2
    for made in [file["path"] for file in json.loads(manifest)["files"] if made_of(file["path"])]:
        assert client.status(f"/{made}") == 404, made


def test_a_message_goes_to_phones_alone_and_is_taken_back(website: Website, tmp_path: Path) -> None:
    (tmp_path / "message").write_text("Update now.\n")
    before = website.client().get("/.messages/latest.txt").text
    assert website.done("message", str(tmp_path / "message"))["changed"] == [".messages/latest.txt"]
    answer = website.client().get("/.messages/latest.txt")
    assert (answer.text, "Content-Encoding" in answer.headers) == ("Update now.\n", False)
    refused = website.web("publish", str(website.built))
    assert (refused.returncode, "--replace-message" in refused.stderr) == (1, True)
    website.done("rollback")
    assert website.client().get("/.messages/latest.txt").text == before


def test_what_is_not_publishable_is_told_and_no_server_asked(website: Website, tmp_path: Path) -> None:
    sample.website(tmp_path)
    (tmp_path / "docs/install.html").unlink()
    done = website.web("publish", str(tmp_path))
    assert done.returncode == 50
    assert "redirects: /get leads to /docs/install, which is not there" in done.stdout.splitlines()


def test_hidden_files_that_came_there_by_another_way_are_not_served(website: Website) -> None:
    website.root(
        "web-1", "cd /srv/web/public; mkdir .git; echo x > .git/HEAD; echo x > docs/.htaccess; chmod -R a+rX .git docs"
    )
    try:
        for path in ("/.git/HEAD", "/docs/.htaccess", "/%2egit/HEAD", "/.git/"):
            assert website.client().status(path) == 404, path
    finally:
        website.root("web-1", "cd /srv/web/public; rm -r .git docs/.htaccess")


def test_the_owner_can_link_within_a_release_and_to_nothing_else(website: Website) -> None:
    website.root(
        "web-1", "cd /srv/web/public; ln -s about.html in.html; ln -s /etc/passwd out.txt; chown -h web in.html out.txt"
    )
    try:
        assert [website.client().status(path) for path in ("/in", "/out.txt")] == [200, 404]
    finally:
        website.root("web-1", "cd /srv/web/public; rm in.html out.txt")


def test_a_browser_shows_a_published_page_with_its_style(website: Website, tmp_path: Path) -> None:
    head = '<link rel="stylesheet" href="/assets/css/style.css">'
    website.build(styled=f'<!doctype html><title>Styled</title>{head}<p class="c9">Words.</p>')
    website.publish()
    style = website.client().get("/assets/css/style.css")
    assert style.headers["Content-Encoding"] == "gzip"
    client = website.client()
    # Whom it would trust is not asked here: that of the suite of the role is.
    options = (f"--host-resolver-rules=MAP {client.name} {client.address}", "--ignore-certificate-errors")
    with browser(tmp_path, *options) as chromium:
        chromium.open(f"https://{client.name}/styled")
        assert chromium.js("getComputedStyle(document.querySelector('.c9')).color") == "rgb(0, 0, 9)"
        assert chromium.js("document.title") == "Styled"
