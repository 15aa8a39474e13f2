"""The page of all drills says what reports say, takes no markup from them, and stays small however many there are."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import html5lib
import pytest
from markupsafe import Markup

from backup.drills import page
from backup.drills.glance import Drilled, glance
from backup.drills.overdue import WORDS, Wanted
from backup.drills.page import look, render, write
from backup.drills.report import CheckRun, Estimate, PhaseRun, Report
from backup.drills.told import against, as_text, coverage, summary, took
from tests.unit.drills import DATA_SET, check, failed, phases, report, source
from tests.unit.ledgers import at
from tests.unit.test_status_page import Seen

DAY = 24.0
EVIL = "<script>alert(1)</script>\"'&`<b>`\u202e\udce9\x1b[31m{{ 7*7 }}"
ASKED = [Wanted(DATA_SET, 7, at(-30 * DAY)), Wanted("web-1:web", 7, at(-30 * DAY))]


def shown(*found: Report) -> list[Drilled]:
    return glance(ASKED, sorted(found, key=lambda one: one.begun, reverse=True), at(0))


def of(*found: Report) -> str:
    return render(shown(*found), at(0), "prod")


def hostile() -> Report:
    """One with markup in every field that takes any text."""

    def evil(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: one if name in KEPT else evil(one) for name, one in value.items()}
        if isinstance(value, list):
            return [evil(one) for one in value]
        return EVIL if isinstance(value, str) and value not in WORDS else value

    one = failed(-1, checks=(check(outcome="failed"),), reservations=("x",), fault="x", caught=False, rto_seconds=9.0)
    made = evil(one.model_dump())
    made["versions"] = {EVIL: EVIL}
    return Report.model_validate(made)


KEPT = ("data_set", "begun", "ended", "expires", "taken", "store", "kind", "gone", "outcome")


def test_a_page_says_how_each_data_set_is() -> None:
    seen = Seen(of(report(-2)))
    assert "1 finding, 1 critical - restore drills of prod" in seen.words
    assert "release-1:release 2 h ago ✓ passed, 2 h ago 25 min of 2 h 11 min 55 s of 1 h" in seen.words
    assert "31.0 GiB of 372.0 GiB; 1 of 12 parts in the last 12 drills in 7 days" in seen.words
    assert "web-1:web never - - - - - 23 days ago, overdue" in seen.words
    assert "web-1:web: not drilled (critical)" in seen.words


def test_a_page_on_which_all_is_well() -> None:
    seen = Seen(of(report(-2), report(-3, data_set="web-1:web", id="w")))
    assert "Every backup is proved" in seen.words
    assert "What is wrong" not in seen.words


def test_a_drill_is_shown_with_phases_checks_source_and_what_was_made() -> None:
    words = Seen(of(report(-2))).words
    for expected in (
        "restore 6 min 52 s of 4 h ✓ done restore went as it does",
        "packages every package that a phone is offered has the bytes that were released; compares with the list of",
        "✓ passed in 31 s 42 packages, 31.4 GiB, all as released looked at 42 of 504, all within 12 drills",
        "of the vault, taken 2026-11-25 09:00 UTC: 1,200 of 14,400 files, 31.0 GiB of 372.0 GiB, part",
        "1 h 28 min in all, of which 1 h 23 min restore 372.0 GiB at 76.3 MiB/s",
        "host drill-release-1: gone since 2026-11-25 10:15 UTC",
        "mainstay 0.1.0, restic 0.18.0",
    ):
        assert expected in words


def test_a_drill_that_failed_lies_open_and_shows_why_its_log_and_what_to_do() -> None:
    text = of(report(-9), failed(-2))
    seen = Seen(text)
    assert "In its phase restore: the vault lists no snapshot that can be read" in seen.words
    assert "What to do: docs/runbooks/verification-failed.md, then mainstay drill run release-1:release." in seen.words
    assert "repository 1a2b3c opened\nFatal: ciphertext verification failed" in text
    assert [("open" in attributes) for tag, attributes in seen.tags if tag == "details"] == [True, False]


def test_what_was_not_seen_to_be_gone_is_said() -> None:
    left = report(-2).made[0].model_copy(update={"gone": None})
    assert (
        "host drill-release-1: NOT GONE, may be removed from 2026-11-25 16:00 UTC"
        in Seen(of(report(-2, made=(left,)))).words
    )


def test_a_page_needs_nothing_from_elsewhere_and_takes_no_markup_from_reports() -> None:
    text = of(hostile())
    seen = Seen(text)
    assert not {"script", "img", "link", "iframe", "b", "object", "style"} & {
        tag for tag, _ in seen.tags if tag != "style"
    }
    assert sum(tag == "style" for tag, _ in seen.tags) == 1
    assert not any(name.startswith("on") or name == "src" for _, attributes in seen.tags for name in attributes)
    links = [attributes["href"] for _, attributes in seen.tags if "href" in attributes]
    assert links == ["#set-1"]
    assert "<script>alert(1)</script>" in seen.words
    assert "{{ 7*7 }}" in seen.words
    assert "\u202e" not in text
    assert "\x1b" not in text
    text.encode()


def test_words_for_a_terminal_steer_none() -> None:
    for text in (as_text(hostile(), at(0)), summary(shown(hostile()), at(0))):
        assert "\x1b" not in text
        assert "\u202e" not in text
        text.encode()


@pytest.mark.parametrize(
    "found",
    [
        [],
        [report(-2)],
        [failed(-2), hostile()],
        [
            report(
                -2, phases=(), checks=(), source=None, rpo=None, rto_seconds=None, estimate=None, made=(), versions={}
            )
        ],
        [report(-2, ended=None, outcome=None, phases=phases(-2)[:2])],
        [report(-hour, id=f"d{hour}") for hour in range(1, 9)],
    ],
    ids=["none", "passed", "failed", "empty", "running", "older"],
)
def test_a_page_is_valid_and_its_headings_are_in_order(found: Sequence[Report]) -> None:
    text = of(*found)
    html5lib.HTMLParser(strict=True).parse(text)
    seen = Seen(text)
    levels = [int(tag[1]) for tag, _ in seen.tags if len(tag) == 2 and tag[0] == "h" and tag[1].isdigit()]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [attributes["id"] for _, attributes in seen.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    assert {attributes["aria-labelledby"] for _, attributes in seen.tags if "aria-labelledby" in attributes} <= set(ids)
    assert {(attributes.get("href") or "#")[1:] for tag, attributes in seen.tags if tag == "a"} <= set(ids)
    tags = [tag for tag, _ in seen.tags]
    assert tags.count("svg") == tags.count("title") - 1
    assert all("scope" in attributes for tag, attributes in seen.tags if tag == "th")


def test_how_it_ended_is_said_by_a_word_and_a_sign_not_only_by_a_colour() -> None:
    seen = Seen(of(*(report(-1 - at_, id=f"d{at_}", outcome=word) for at_, word in enumerate(("passed", "failed")))))
    assert "✓ passed" in seen.words
    assert "✗ failed" in seen.words
    assert {look(word) for word in (*WORDS, "done", "timed out", "not judged")} == {"ok", "warning", "critical"}


def test_all_that_is_bad_of_late_and_the_newest_are_shown_in_full_and_the_rest_in_short() -> None:
    old = -DAY * 40
    found = [report(-hour, id=f"new{hour}") for hour in range(1, 6)]
    found += [failed(-DAY * 20, id="bad"), failed(old, id="long-ago")]
    full = [line for line in of(*found).splitlines() if line.startswith(("<strong", "<summary"))]
    assert [name for name in ("new1", "new2", "new3", "bad") if not any(name in line for line in full)] == []
    assert [name for name in ("new4", "new5", "long-ago") if any(name in line for line in full)] == []
    assert "new4" in of(*found)


@pytest.mark.parametrize("bad", [False, True], ids=["passed", "failed"])
def test_five_hundred_drills_are_less_than_a_megabyte(bad: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long what was told is; and a drill in short is put down without being laid out in full."""
    told = tuple(f"{number} " + "x" * 5000 for number in range(500))
    more: dict[str, Any] = {"checks": tuple(check(f"c{number}", evidence=told) for number in range(10))}
    more |= {"outcome": "failed", "log": "l" * 100_000, "why": "w" * 5000} if bad else {}
    laid_out: list[str] = []
    log = page._log

    def counted(text: str) -> Markup:
        laid_out.append(text)
        return log(text)

    monkeypatch.setattr(page, "_log", counted)
    found = [report(-1 - hour, id=f"d{hour}", **more) for hour in range(500)]
    text = of(*found)
    assert len(text.encode()) < 1_000_000
    assert all(one.id in text for one in found)
    assert len(laid_out) <= page.TRIED


def test_figures_that_are_odd_break_no_page() -> None:
    odd = PhaseRun(name="plan", begun=at(-9000), seconds=-5, budget_s=0, told=())
    huge = PhaseRun(name="host", begun=at(900), seconds=1e15, budget_s=1e-9)
    estimate = Estimate(bytes=0, bytes_per_second=0, restore_seconds=0, total_seconds=0)
    text = of(report(-2, phases=(odd, huge), rto_seconds=0.0, rto_budget_s=0.0, estimate=estimate))
    html5lib.HTMLParser(strict=True).parse(text)
    of(report(-2, phases=(huge, odd), checks=(CheckRun(**check().model_dump() | {"seconds": -1}),)))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.42, "0.4 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (725, "12 min 05 s"),
        (3600, "1 h"),
        (11_040, "3 h 04 min"),
        (86_400, "1 day"),
        (200_000, "2 days"),
    ],
)
def test_lengths_of_time_are_said_as_people_do(seconds: float, words: str) -> None:
    assert took(seconds) == words


def test_figures_are_said_against_their_budgets() -> None:
    assert against(60, 3600) == "1 min of 1 h"
    assert against(3601, 3600) == "1 h of 1 h, over"
    assert (against(None, 60), against(60, None)) == ("-", "1 min")


def test_coverage_counts_the_parts_of_the_last_round() -> None:
    whole = source(-1, files=9, bytes=9, of_files=9, of_bytes=9, part=1, parts=1)
    assert coverage(shown(report(-1, source=whole))[0]) == "all, 9 B"
    parts = [report(-1 - n, id=f"d{n}", source=source(-1, part=part, parts=3)) for n, part in enumerate((1, 1, 2, 3))]
    assert coverage(shown(*parts)[0]).endswith("2 of 3 parts in the last 3 drills")


def test_the_file_is_replaced_whole_and_readable_for_a_web_server(tmp_path: Path) -> None:
    path = tmp_path / "drills.html"
    write(path, shown(report(-2)), at(0), "prod")
    assert path.read_text() == of(report(-2))
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_summary_says_what_is_wrong_first() -> None:
    lines = summary(shown(report(-9), failed(-2)), at(0)).splitlines()
    assert lines[0] == "2 findings, 2 critical"
    assert lines[2].startswith("drill failed: release-1:release: the drill of 2 h ago ended as `failed`")
    assert "  last proved: 9 h ago" in lines
    assert "  RPO 25 min of 2 h; RTO 11 min 55 s of 1 h; last RTOs 11 min 55 s" in lines


def test_a_report_in_words_has_all_of_it() -> None:
    text = as_text(failed(-2, checks=(check(outcome="failed", evidence=("3 packages differ", "a.zip")),)), at(0))
    for expected in (
        "failed in its phase restore: the vault lists no snapshot",
        "what to do: docs/runbooks/verification-failed.md",
        "  restore   +3 min 31 s   6 min 52 s of 4 h          failed",
        "  packages: failed in 31 s, 42 of 504, all within 12 drills",
        "    - a.zip",
        "  Fatal: ciphertext verification failed",
    ):
        assert expected in text
    assert json.loads(failed(-2).model_dump_json())["phase"] == "restore"
