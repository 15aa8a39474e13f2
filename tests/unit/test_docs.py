"""The documents as a site: whole, without a broken link, without anybody else's server, and as they read elsewhere."""

import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from inventories.inventory import CLONE

LOADING = {"src", "srcset", "poster", "data", "background"}
OUTSIDE = re.compile(r"\s*(?:[a-z]+:)?//", re.IGNORECASE)
OF_STYLES = re.compile(r"(?:url\(|@import)\s*[\"']?\s*((?:[a-z]+:)?//[^\"')]*)", re.IGNORECASE)
BLOCKS = ("li", "pre", "table", "tr", "td")
READMES = sorted(str(path.relative_to(CLONE)) for path in CLONE.glob("roles/*/README.md"))
PAGES = sorted(
    str(path.relative_to(CLONE))
    for part in ("docs", "roles", "backup", "bundle")
    for path in (CLONE / part).rglob("*.md")
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every warning, as of a link that leads nowhere or a page that nothing leads to, is an error."""
    site = tmp_path_factory.mktemp("docs") / "site"
    words: list[str | Path] = [
        Path(sys.executable).with_name("mkdocs"),
        "build",
        "--strict",
        "--quiet",
        "--site-dir",
        site,
    ]
    done = subprocess.run(words, cwd=CLONE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return site


class Loads(HTMLParser):
    """What a browser asks for when it shows a page, as far as that is on other servers."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = OF_STYLES.findall(page)
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if (name in LOADING or (tag, name) == ("link", "href")) and OUTSIDE.match(value or ""):
                self.found.append(value or "")


def test_every_page_is_built(built: Path) -> None:
    made = {str(path.relative_to(built)) for path in built.rglob("*.html")}
    assert {page.replace("README.md", "index.html").replace(".md", ".html") for page in PAGES} <= made


def test_no_page_asks_another_server_for_anything(built: Path) -> None:
    assert Loads('<img src="//a.example/x"><link href="https://b.example/y"><a href="https://c.example">').found == [
        "//a.example/x",
        "https://b.example/y",
    ]
    found = {str(path): Loads(path.read_text()).found for path in built.rglob("*.html")}
    found |= {str(path): OF_STYLES.findall(path.read_text()) for path in built.rglob("*.css")}
    assert len(found) > len(PAGES)
    assert {path: loads for path, loads in found.items() if loads} == {}


@pytest.mark.parametrize("page", ["README.md", *PAGES])
def test_lists_and_blocks_are_those_that_other_readers_see(built: Path, page: str) -> None:
    """What shows a page in a repository reads it by CommonMark, and mkdocs by rules of its own."""
    shown = (built / page.replace("README.md", "index.html").replace(".md", ".html")).read_text()
    ours = shown.partition('itemprop="articleBody"')[2].partition("<footer")[0]
    theirs = MarkdownIt("commonmark").enable("table").render((CLONE / page).read_text())
    assert _blocks(ours) == _blocks(theirs)


def _blocks(page: str) -> Counter[str]:
    return Counter(re.findall(rf"<({'|'.join(BLOCKS)})[ >]", page))


@pytest.mark.parametrize("readme", READMES)
def test_each_role_begins_at_a_glance(readme: str) -> None:
    headings = re.findall(r"^## (.*)$", (CLONE / readme).read_text(), re.MULTILINE)
    assert headings[0] == "At a glance"


def test_the_readme_names_every_role() -> None:
    named = re.findall(r"^\| \[\w+\]\((roles/\w+/README\.md)\)", (CLONE / "README.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(f"roles/{path.parent.name}/README.md" for path in CLONE.glob("roles/*/recovery.py"))
