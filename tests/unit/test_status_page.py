"""The page that people look at says what status found, and nothing that a host says becomes markup."""

import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import html5lib
import pytest
from typer.testing import CliRunner

from backup.data_set import Certificate, Finding, Kind
from backup.page import render, write
from backup.page_style import STYLE
from backup.status import Row
from cli.backup import app
from tests.contrast import luminance
from tests.unit.ledgers import at, failed, started
from tests.unit.test_status import DAY, NOW, good, good_ledger, look, snapshots


class Seen(HTMLParser):
    """The tags and the words of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        self.words = " ".join(self.words.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def test_a_page_on_which_all_is_well() -> None:
    seen = Seen(render([look(good())], at(NOW), "prod"))
    assert "All backups are well - prod" in seen.words
    assert "release-1:release 2 h ago in 22 h 976.6 KiB 100% 2 h ago ok" in seen.words
    assert "What is wrong" not in seen.words


def test_a_page_says_what_is_wrong_and_what_to_do_the_worst_first() -> None:
    row = look(good(vault=snapshots(0), heard=None))
    seen = Seen(render([look(good()), row], at(NOW), "prod"))
    assert "2 findings, 1 critical - prod" in seen.words
    for one in row.findings:
        assert one.what in seen.words
        assert one.to_do.replace("`", "") in seen.words
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


def test_a_page_says_when_certificates_end() -> None:
    certificates = (Certificate("a.example.org", at(NOW + 60 * DAY)), Certificate("b.example.org", at(NOW - 5 * DAY)))
    seen = Seen(render([replace(look(good()), certificates=certificates)], at(NOW), "prod"))
    assert "a.example.org release-1 2027-03-05 14:00 UTC, in 60 days" in seen.words
    assert "b.example.org release-1 2026-12-30 14:00 UTC, 5 days ago" in seen.words
    assert "Certificates" not in Seen(render([look(good())], at(NOW), "prod")).words


def everything() -> Row:
    """A data set with a finding of every kind, and a certificate."""
    told = tuple(Finding(kind, "web-1", "web", "so & so", "Do `this <now>`.") for kind in Kind)
    return replace(look(good()), findings=told, certificates=(Certificate("www.example.org", at(NOW)),))


@pytest.mark.parametrize("rows", [[], [look(good())], [look(good()), everything()]], ids=["none", "well", "all kinds"])
def test_a_page_is_valid_and_read_in_order(rows: Sequence[Row]) -> None:
    text = render(rows, at(NOW), "prod")
    html5lib.HTMLParser(strict=True).parse(text)
    tags = [tag for tag, _ in Seen(text).tags]
    assert tags.count("h1") == 1
    assert ("html", {"lang": "en"}) in Seen(text).tags
    certificates = sum(len(row.certificates) for row in rows)
    assert tags.count("tr") == sum(many + 1 for many in (len(rows), certificates) if many)
    headings = [attributes.get("scope") for tag, attributes in Seen(text).tags if tag == "th"]
    assert headings.count("row") == len(rows) + certificates
    assert headings.count("col") == (7 if rows else 0) + (3 if certificates else 0)


def test_commands_are_shown_as_such_and_severity_is_said_not_only_coloured() -> None:
    text = render([everything()], at(NOW), "prod")
    assert "Do <code>this &lt;now&gt;</code>." in text
    assert "web-1:web: late (critical)" in Seen(text).words
    assert "web-1:web: copy behind (warning)" in Seen(text).words


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(scheme: int) -> None:
    colours = dict(re.findall(r"--(\w+): #([0-9a-f]+)", STYLE.split(":root {")[scheme + 1]))
    for front in ("text", "faint", "critical", "warning", "ok"):
        for behind in ("ground", "box"):
            pair = sorted((luminance(colours[front]), luminance(colours[behind])))
            assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (front, behind)


@pytest.mark.parametrize("option", ["--html", "--prometheus"])
def test_a_page_or_metrics_of_a_part_of_the_site_are_not_made(option: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["status", "release-1:release", option, str(tmp_path / "made")])
    assert done.exit_code == 2, done.exception
    assert f"{option} tells of all data sets" in done.output
