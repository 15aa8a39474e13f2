"""The pages of an envelope as they are printed: whole on their sheets, and read by a scanner as they are typed."""

import base64
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from inventories import identities
from tests.browser import Browser, browser
from tests.envelopes import sheets, with_copy
from tests.people_site import Place, made

SHEET_MM = (180, 267)
"""Of A4 within the page's own margins."""
PIXELS_PER_MM = 96 / 25.4
FINE = 2
"""Pixels of a picture for each of the page's: about what a printer and a camera leave of it."""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One key, then a share, of a site with long names, many mirrors and long secrets of the second copy."""
    folder = tmp_path_factory.mktemp("paper")
    for name in ("alice", "bob"):
        made(folder, name)
    place = Place(folder, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(identities.VARIABLE, str(folder / "alice"))
        patch.setenv("MAINSTAY_INVENTORY", str(place.inventory))
        with_copy(place)
        place.put("control", copy_access_key="A" * 32, copy_secret_key="s" * 64)
        mirrors = "".join(f'a-long-name-{at} = "https://git.example.com/{"long/" * 5}{at}.git"\n' for at in range(5))
        place.inventory.write_text(place.inventory.read_text().replace("mainstay = ", f"{mirrors}mainstay = "))
        for words in ((), ("--shares", "3/5")):
            done = place.run("envelope", "--out", str(folder / f"out{len(words)}"), *words)
            assert done.exit_code == 0, (done.output, done.exception)
    return [folder / "out0/key.html", folder / "out2/share-5-of-5.html"]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


def printed(chromium: Browser, page: Path) -> None:
    """Shows it as it is laid out for paper, as wide as a sheet within its margins."""
    width = round(SHEET_MM[0] * PIXELS_PER_MM)
    chromium.open(page, width=width, height=1000)
    chromium("Emulation.setEmulatedMedia", media="print")
    chromium("Emulation.setDeviceMetricsOverride", width=width, height=1000, deviceScaleFactor=FINE, mobile=False)


@pytest.mark.parametrize("which", [0, 1])
def test_each_sheet_is_one_sheet_of_paper_and_nothing_is_cut(chromium: Browser, pages: list[Path], which: int) -> None:
    printed(chromium, pages[which])
    assert chromium.requests == [pages[which].as_uri()]
    heights = chromium.js("[...document.querySelectorAll('section')].map(it => it.getBoundingClientRect().height)")
    assert len(heights) == 3
    assert [height for height in heights if height > SHEET_MM[1] * PIXELS_PER_MM] == []
    beyond = "[...document.querySelectorAll('body *')].filter(it => it.getBoundingClientRect().right > innerWidth + 0.5"
    assert chromium.js(f"{beyond} || it.matches('pre') && it.scrollWidth > it.clientWidth).map(it => it.tagName)") == []
    paper = base64.b64decode(chromium("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) == 3


@pytest.mark.parametrize("which", [0, 1])
def test_a_scanner_reads_what_is_to_be_typed(chromium: Browser, pages: list[Path], which: int, tmp_path: Path) -> None:
    printed(chromium, pages[which])
    chromium.screenshot(tmp_path / "page.png")
    words = ["zbarimg", "--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", str(tmp_path / "page.png")]
    read = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    for text in sheets(pages[which]).values():
        assert text in read
