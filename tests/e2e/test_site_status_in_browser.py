"""The page of a whole site in a real browser: on a phone, in the dark, and as a screen reader is told of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backup.store import COPY, VAULT
from doctor.hosts import Clock
from inventories.inventory import LoadedSite
from status import backups, hosts, releases, review, website
from status.asked import Answer
from status.page import write
from status.site import Looked, Whole
from status.told import Seen, unseen
from tests.browser import Browser, browser
from tests.contrast import must_stand_out
from tests.e2e.test_drill_page_in_browser import named
from tests.unit.ledgers import at
from tests.unit.test_site_status import site_of, standings, web_server
from tests.unit.test_site_status_host import NOON, disk
from tests.unit.test_site_status_host import said as of_host
from tests.unit.test_status import DAY, NOW, good, look, snapshots

LONG = "x" * 300


def whole(loaded: LoadedSite) -> Whole:
    """With something of every kind, and words that have no place to break."""
    clock = Clock(0, 0.5, 1)
    bad = {"units": {"failed": [f"{LONG}.service"], "stopped": []}, "disks": [disk(2, 50)], "reboot_required": NOON - 9}
    answers: dict[str, Answer | str] = {"web-1": Answer(of_host(**bad), clock), "web-2": Answer(of_host(), clock)}
    rows = [look(good(vault=snapshots(0))), look(good())]
    stored = backups.together(loaded, rows, [], (VAULT, COPY), at(NOW + 99 * DAY), at(NOW), [f"said: {LONG}"])
    web = website.together({"web-1": web_server("x"), "web-2": web_server(LONG)})
    gone = Seen([unseen("Gerrit", f"it cannot be seen: {LONG}", "`mainstay gerrit status`")])
    looked = (
        Looked(hosts.SOURCE, hosts.together(loaded, answers, {}, at(NOW))),
        Looked(backups.SOURCE, stored),
        Looked(releases.SOURCE, releases.together(standings())),
        Looked(website.SOURCE, web),
        Looked(review.SOURCE, gone, LONG),
    )
    return Whole("prod", at(NOW), looked)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    write(folder / "status.html", whole(site_of(folder)))
    return folder / "status.html"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.mark.parametrize("width", [320, 390, 720, 1280])
def test_it_is_no_wider_than_the_window_and_asks_nobody(chromium: Browser, page: Path, width: int) -> None:
    chromium.open(page, width=width)
    assert chromium.js("document.documentElement.scrollWidth") <= width
    assert chromium.requests == [page.as_uri()]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(chromium: Browser, page: Path, dark: bool) -> None:
    chromium.open(page, dark=dark)
    must_stand_out(chromium, more_than=50)


@pytest.mark.parametrize("width", [390, 1280])
def test_a_screen_reader_is_told_of_all_of_it(chromium: Browser, page: Path, width: int) -> None:
    chromium.open(page, width=width)
    tree = chromium.tree()
    assert (len(named(tree, "banner")), len(named(tree, "main"))) == (1, 1)
    headings = ["Status of prod", "What needs a person, and what to do", "Hosts", "Hosts", "Backups", "Data sets"]
    assert named(tree, "heading")[:6] == headings
    assert named(tree, "region")[1:] == ["Hosts", "Backups", "Releases", "Website", "Gerrit"]
    tables = ["Hosts", "Data sets", "Where backups lie", "Release servers", "Releases", "Web servers"]
    assert named(tree, "table") == tables
    assert {"host", "data set", "store"} <= {*named(tree, "columnheader")}
    assert {"web-1", "release-1:release", "the vault"} <= {*named(tree, "rowheader")}
