"""The page that people look at says what status found, and nothing that a host says becomes markup."""

from html.parser import HTMLParser
from pathlib import Path

from backup.page import render, write
from tests.unit.ledgers import at, failed, started
from tests.unit.test_status import NOW, good, good_ledger, look, snapshots


class Seen(HTMLParser):
    """The tags and the words of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += f"{' '.join(data.split())} "


def test_a_page_on_which_all_is_well() -> None:
    seen = Seen(render([look(good())], at(NOW), "prod"))
    assert "All backups are well - prod" in seen.words
    assert "release-1:release 2 h ago in 22 h 976.6 KiB 100% 2 h ago ok" in seen.words
    assert "What is wrong" not in seen.words


def test_a_page_says_what_is_wrong_and_what_to_do_the_worst_first() -> None:
    row = look(good(vault=snapshots(0), heard=None))
    seen = Seen(render([look(good()), row], at(NOW), "prod"))
    assert "2 findings - prod" in seen.words
    for one in row.findings:
        assert one.what in seen.words
        assert one.to_do in seen.words
    assert [attributes["class"] for tag, attributes in seen.tags if tag == "li"] == ["critical", "warning"]
    assert "snapshot gone, host silent" in seen.words


def test_a_page_needs_nothing_from_elsewhere_and_takes_no_markup_from_hosts() -> None:
    evil = failed(NOW - 1, error="<script>alert(1)</script>\udce9")
    text = render([look(good(ledger=[*good_ledger(), started(NOW - 1), evil]))], at(NOW), "<b>prod")
    seen = Seen(text)
    assert not {"script", "img", "link", "iframe"} & {tag for tag, _ in seen.tags}
    assert "<script>alert(1)</script>\\udce9" in seen.words
    assert not any("src" in attributes or "href" in attributes for _, attributes in seen.tags)
    text.encode()


def test_a_page_of_what_never_ran(tmp_path: Path) -> None:
    row = look(good(ledger=[], control=[], vault=None, copy=None, heard=None))
    write(tmp_path / "status.html", [row], at(NOW), "prod")
    assert (
        "never - - - - never ran, not to be listed, host silent" in Seen((tmp_path / "status.html").read_text()).words
    )
