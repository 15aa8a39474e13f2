"""The page of an audit of sources in a real browser: on a phone, in light and in the dark."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from roles.common.turns import Coverage
from roles.gerrit.tools.sources.audit import Verdict
from roles.gerrit.tools.sources.findings import Finding, Kind
from roles.gerrit.tools.sources.page import SHOWN, write
from roles.gerrit.tools.sources.told import Audited
from tests.browser import Browser, browser
from tests.contrast import must_stand_out
from tests.unit.ledgers import at

LONG = "x" * 300
MANIFEST = "https://review.example.org/platform/manifest"


def finding(project: str, kind: Kind, *devices: str, file: str = "") -> Finding:
    url = f"https://review.example.org/{project}"
    about = (project, project, url, "main", file, kind, "no refs/heads/main", "revision main")
    return Finding(*about, devices=devices, groups=devices, where="default.xml, line 7")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "sources.html"
    many = tuple(finding(f"p{number}", Kind.MIRROR_BEHIND, "one") for number in range(SHOWN + 3))
    found = (
        finding("platform/build", Kind.REVISION),
        finding(f"device/maker/{LONG}", Kind.LFS_MISSING, "one", "two", file=LONG),
        finding("<b>hostile</b>", Kind.UNASKED),
        *many,
    )
    wrong = Verdict(200, 1490, 190, 40, 12, Coverage(900, 1000, at(-900), overdue=True), found, 300)
    clean = Verdict(3, 3, 3, 0, 0, None, (), 2)
    write(path, [Audited(MANIFEST, ("own",), wrong), Audited(f"{MANIFEST} next", ("own",), clean)], at(0), "prod")
    return path


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.mark.parametrize("width", [320, 390, 1200])
def test_nothing_is_wider_than_the_window_and_nobody_is_asked(chromium: Browser, page: Path, width: int) -> None:
    chromium.open(page, width=width)
    assert chromium.js("document.documentElement.scrollWidth") <= width
    assert chromium.requests == [page.as_uri()]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(chromium: Browser, page: Path, dark: bool) -> None:
    chromium.open(page, dark=dark)
    must_stand_out(chromium, more_than=100)


def test_it_says_what_is_wrong_whom_it_hits_and_what_to_do(chromium: Browser, page: Path) -> None:
    chromium.open(page)
    assert chromium.js("document.title") == f"{SHOWN + 5} findings: 203 projects of 2 manifests - prod"
    headings = chromium.js("[...document.querySelectorAll('h2')].map(it => it.textContent)")
    assert headings == [
        "Manifests",
        "What is hit",
        "Missing revision (1)",
        f"Mirror behind ({SHOWN + 3})",
        "Missing lfs object (1)",
        "Not asked (1)",
    ]
    rows = chromium.js("[...document.querySelectorAll('tbody tr')].map(it => it.innerText.split(/\\s*[\\n\\t]\\s*/))")
    assert rows == [["every device", "1 wrong"], ["one", f"{SHOWN + 4} wrong"], ["two", "1 wrong"]]
    text = chromium.js("document.body.innerText")
    assert "And 3 more." in text
    assert "<b>hostile</b>" in text
    assert "(overdue)" in text
