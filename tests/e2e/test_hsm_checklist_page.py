"""A checklist as a page, in a real browser and on its paper."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import Browser, browser
from tests.hsm_ceremony import Holders
from tests.hsm_site import Site, site


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    with site(folder) as one:
        Holders(folder / "holders").declare(one)
    done = Site(folder, {}).mainstay("checklist", "new-hsm", "--html", str(folder / "new.html"))
    assert done.code == 0, done
    return folder / "new.html"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.mark.parametrize("width", [360, 794, 1200])
def test_nothing_is_wider_than_the_window_and_nothing_is_fetched(chromium: Browser, page: Path, width: int) -> None:
    chromium.open(page, width=width)
    assert chromium.js("document.documentElement.scrollWidth") <= width
    assert chromium.requests == [page.as_uri()]


def test_it_has_what_the_printed_text_has(chromium: Browser, page: Path) -> None:
    chromium.open(page)
    shown = chromium.js("[...document.querySelectorAll('pre')].map(it => it.textContent)")
    told = Site(page.parent, {}).mainstay("checklist", "new-hsm", "--json").told
    assert shown == [command for step in told["steps"] for command in step["commands"]]
    boxes = chromium.js("document.querySelectorAll('ol > li > .box').length")
    assert boxes == len(told["steps"])


def test_no_step_is_cut_by_the_end_of_a_sheet(chromium: Browser, page: Path) -> None:
    """On A4, where the page's own margins leave 267 mm."""
    chromium.open(page)
    printed = base64.b64decode(chromium("Page.printToPDF", preferCSSPageSize=True)["data"])
    (page.parent / "new.pdf").write_bytes(printed)
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 7
    chromium("Emulation.setEmulatedMedia", media="print")
    cut = "[...document.querySelectorAll('ol > li')].filter(it => getComputedStyle(it).breakInside !== 'avoid').length"
    assert chromium.js(cut) == 0
    assert chromium.js("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
