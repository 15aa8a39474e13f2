"""The page of drills in a real browser: on a phone, in the dark, by keyboard, and as a screen reader is told of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backup.drills.glance import glance
from backup.drills.overdue import Wanted
from backup.drills.page import write
from backup.drills.report import Report
from tests.browser import Browser, browser
from tests.contrast import hexadecimal, luminance, must_stand_out
from tests.unit.drills import DATA_SET, check, failed, phases, report
from tests.unit.ledgers import at

LONG = "x" * 400
TAB, ENTER = ("Tab", 9), ("Enter", 13)


def reports() -> list[Report]:
    """Of every kind, with words that have no place to break."""
    over = tuple(one.model_copy(update={"seconds": 500.0, "budget_s": 100.0}) for one in phases(-3))
    bad = check(LONG[:60], outcome="failed", evidence=(LONG,))
    return [
        failed(-1, why=LONG, log=f"{LONG}\n" * 40, checks=(bad, check(outcome="timed out"))),
        report(-2, outcome="degraded", reservations=(LONG,), checks=(check(outcome="not judged"),)),
        report(-3, outcome="over budget", phases=over),
        *(report(-4 - hour, id=f"{hour}-{LONG[:100]}") for hour in range(9)),
    ]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "drills.html"
    asked = [Wanted(DATA_SET, 7, at(-900)), Wanted("web-1:web", 7, at(-900))]
    write(path, glance(asked, reports(), at(0)), at(0), "prod")
    return path


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


def unfold(chromium: Browser) -> None:
    chromium.js("for (const one of document.querySelectorAll('details')) one.open = true")


@pytest.mark.parametrize("width", [320, 390, 700, 710, 900, 1200])
def test_nothing_is_wider_than_the_window(chromium: Browser, page: Path, width: int) -> None:
    chromium.open(page, width=width)
    unfold(chromium)
    assert chromium.js("document.documentElement.scrollWidth") <= width
    beyond = (
        "[...document.body.querySelectorAll('*')].filter(it => it.getBoundingClientRect().right > innerWidth + 0.5)"
    )
    hidden = ".filter(it => !it.closest('thead'))"
    assert chromium.js(f"{beyond}{hidden}.map(it => it.outerHTML.slice(0, 80))") == []


def test_names_of_data_sets_are_in_one_piece(chromium: Browser, page: Path) -> None:
    chromium.open(page, width=900)
    lines = "[...document.querySelectorAll('th a')].map(it => [it.textContent, it.getClientRects().length])"
    assert dict(chromium.js(lines)) == {DATA_SET: 1}


def test_it_asks_nobody_for_anything(chromium: Browser, page: Path) -> None:
    chromium.open(page)
    assert chromium.requests == [page.as_uri()]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(chromium: Browser, page: Path, dark: bool) -> None:
    chromium.open(page, dark=dark)
    unfold(chromium)
    must_stand_out(chromium, more_than=100)


def test_the_dark_is_dark(chromium: Browser, page: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    chromium.open(page, dark=True)
    assert luminance(hexadecimal(chromium.js(ground))) < 0.02
    chromium.open(page)
    assert luminance(hexadecimal(chromium.js(ground))) > 0.9


def test_bars_are_seen_in_light_and_dark(chromium: Browser, page: Path) -> None:
    for dark in (False, True):
        chromium.open(page, dark=dark)
        unfold(chromium)
        bars = chromium.js(
            "[...document.querySelectorAll('svg.bar')].map(it => [getComputedStyle(it.querySelector('rect')).fill,"
            " getComputedStyle(it).backgroundColor, it.querySelector('rect').getBoundingClientRect().width])"
        )
        assert bars
        for front, behind, wide in bars:
            one, other = sorted((luminance(hexadecimal(front)), luminance(hexadecimal(behind))))
            assert (other + 0.05) / (one + 0.05) >= 3
            assert wide >= 1


FOCUS = "(it => it && [it.tagName, it.textContent.trim().slice(0, 20), getComputedStyle(it).outlineStyle,"
FOCUS += " parseFloat(getComputedStyle(it).outlineWidth)])(document.activeElement)"


def test_the_keyboard_reaches_what_can_be_used_in_order_and_is_seen(chromium: Browser, page: Path) -> None:
    chromium.open(page)
    reached: list[tuple[str, str]] = []
    while len(reached) < 50:
        chromium.press(*TAB)
        tag, text, style, width = chromium.js(FOCUS)
        if tag == "BODY":
            break
        assert style != "none"
        assert width >= 2
        reached.append((tag, text))
    assert reached[0] == ("A", DATA_SET)
    usable = chromium.js(
        "[...document.querySelectorAll('a, summary, pre')].filter(it => it.checkVisibility()).map(it => it.tagName)"
    )
    assert [tag for tag, _ in reached] == usable
    assert {"A", "SUMMARY", "PRE"} == set(usable)


def test_a_drill_is_unfolded_and_folded_by_the_keyboard(chromium: Browser, page: Path) -> None:
    chromium.open(page)
    closed = "document.querySelectorAll('details')[1]"
    chromium.js(f"{closed}.querySelector('summary').focus()")
    for expected in (True, False):
        chromium.press(*ENTER)
        assert chromium.js(f"{closed}.open") is expected


def test_a_link_leads_to_its_data_set(chromium: Browser, page: Path) -> None:
    chromium.open(page)
    chromium.press(*TAB)
    chromium.press(*ENTER)
    assert chromium.js("location.hash") == "#set-1"
    assert chromium.js("document.querySelector(':target').textContent") == DATA_SET


def named(tree: list[tuple[str, str]], role: str) -> list[str]:
    return [name for one, name in tree if one == role]


@pytest.mark.parametrize("width", [320, 1200])
def test_a_screen_reader_is_told_of_all_of_it(chromium: Browser, page: Path, width: int) -> None:
    """On a phone too, where rows are laid out as blocks."""
    chromium.open(page, width=width)
    unfold(chromium)
    tree = chromium.tree()
    assert named(tree, "RootWebArea") == ["2 findings, 2 critical - restore drills of prod"]
    assert (len(named(tree, "banner")), len(named(tree, "main"))) == (1, 1)
    regions = named(tree, "region")
    assert regions[:3] == ["What is wrong, and what to do", "Data sets", DATA_SET]
    assert f"Log of {reports()[0].id}" in regions
    assert named(tree, "heading")[:2] == ["Restore drills of prod", "What is wrong, and what to do"]
    tables = named(tree, "table")
    assert tables[0] == "Data sets"
    assert f"Timeline of {reports()[2].id}" in tables
    assert f"Checks of {reports()[1].id}" in tables
    columns = named(tree, "columnheader")
    assert columns[:4] == ["data set", "last proved", "last drill", "recovery point, of budget"]
    assert named(tree, "rowheader")[:2] == [DATA_SET, "web-1:web"]
    images = named(tree, "image")
    assert images[0].startswith("The last recovery times, oldest first: 11 min 55 s, ")
    assert "restore: 8 min 20 s, from 3 min 31 s on" in images
    assert all(images)
    folds: list[Any] = named(tree, "DisclosureTriangle")
    assert len(folds) == len(chromium.js("[...document.querySelectorAll('summary')].map(it => 1)"))
    assert folds[0].startswith("✗ failed 2026-11-25 11:00 UTC")


def test_on_paper_all_is_unfolded(chromium: Browser, page: Path) -> None:
    chromium.open(page)
    shown = "[...document.querySelectorAll('details table')].filter(it => it.checkVisibility()).length"
    tables = chromium.js("document.querySelectorAll('details table').length")
    assert chromium.js(shown) < tables
    chromium("Emulation.setEmulatedMedia", media="print")
    assert chromium.js(shown) == tables
    assert chromium.js("getComputedStyle(document.querySelector('pre')).maxHeight") == "none"
    chromium("Emulation.setEmulatedMedia", media="")
