"""What an audit makes of metadata, lists and surveys, whatever they say; what is legitimate is no finding."""

import random
import struct
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lab.release_archive import COMMIT, CURRENT, DEVICES, OLD, RETIRED, archive
from roles.release.archive import Offer
from roles.release.tools.audit import compared, inside, outside, resumed
from roles.release.tools.audit.client import Answer, Ask
from roles.release.tools.audit.findings import Finding, Kind, settled
from roles.release.tools.audit.inside import Disk
from roles.release.tools.audit.truth import METADATA, Truth, channels, lines_of, parsed, recorded
from roles.release.tools.retention import DAY_S, Kept

DEVICE = DEVICES[0]
FULL = f"ota/{DEVICE}/16/{DEVICE}-ota_update-{CURRENT}.zip"
GOOD = b"260720420 1785977859 16\n"
WHOLE = archive()
TRUTH = Truth(COMMIT, WHOLE.metadata, recorded(WHOLE.checksums), frozenset({RETIRED}))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        GOOD + GOOD,
        b"260720420 1785977859\n",
        b"260720420  1785977859 16\n",
        b"260720420 -1 16\n",
        b"260720420 1785977859 16 \n",
        b"../../etc 1785977859 16\n",
        b"260720420 1785977859 ../16\n",
        b"260720420 1785977859 sixteen\n",
        b"260720420 9999999999999999 16\n",
        b"\xff\xfe 1785977859 16\n",
        b"<html>",
        b"1 1 1" + b" " * 2000,
    ],
)
def test_a_line_that_is_none_offers_nothing_and_is_told(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"is not one line|has .* bytes|names no build"):
        parsed(content)
    path = "ota/panther/panther-stable"
    truth = Truth("c", {path: content}, {})
    assert truth.offers == {}
    [one] = truth.problems()
    assert (one.server, one.kind, one.device, one.channel, one.path) == (
        METADATA,
        Kind.MALFORMED,
        "panther",
        "stable",
        path,
    )
    assert str(one).isprintable()


def test_a_name_in_metadata_that_is_none_is_told_and_of_a_retired_device_nothing_is() -> None:
    files = {"ota/panther/shiba-stable": GOOD, "ota/gone/gone-stable": b"x", "README.md": b"read me"}
    told = list(Truth("c", files, {}, frozenset({"gone"})).problems())
    assert [(one.path, one.kind) for one in told] == [("ota/panther/shiba-stable", Kind.MALFORMED)]


def test_packages_are_needed_for_the_channels_that_promise_them() -> None:
    needs = TRUTH.needs(TRUTH.offers)
    assert needs[FULL].about == (DEVICE, "beta, security-express, stable, testing")
    assert needs[FULL].is_promised
    base = needs[f"ota/{DEVICE}/16/{DEVICE}-ota_update-{OLD}.zip"]
    assert base.is_optional
    incremental = needs[f"ota/{DEVICE}/16/{DEVICE}-incremental-{OLD}-{CURRENT}.zip"]
    assert not incremental.is_promised
    assert not [path for path in needs if RETIRED in path]
    assert channels(TRUTH.lines) == ["testing", "security-express", "beta", "stable", "factory", "oldstable"]


def test_the_base_that_phones_are_offered_too_is_not_optional() -> None:
    offer = Offer("1", 1, "16")
    needs = TRUTH.needs({("panther", "oldstable"): offer, ("panther", "stable"): offer})
    assert [need.is_optional for need in needs.values()] == [False]


@pytest.mark.parametrize("size", [22, 500, 9000])
def test_the_end_of_a_zip_is_recognised_whatever_its_comment_says(size: int) -> None:
    comment = b"PK\5\6" + bytes(size - 22)
    data = bytes(100) + b"PK\5\6" + bytes(8) + struct.pack("<LLH", 60, 40, len(comment)) + comment
    assert outside.ends(data, len(data))
    assert outside.ends(data[50:], len(data))
    assert not outside.ends(data[:-1], len(data) - 1)
    assert not outside.ends(data + b"x", len(data) + 1)
    assert not outside.ends(data[50:], len(data) - 1)
    assert not outside.ends(b"", 0)


@pytest.mark.parametrize(("known", "kind"), [(519, Kind.DIFFERING), (520, None), (521, Kind.TRUNCATED)])
def test_a_package_of_another_size_than_is_on_record_is_told_though_it_is_whole(known: int, kind: Kind | None) -> None:
    content = WHOLE.packages[FULL]
    assert len(content) == 520
    facts = {"content-type": "application/zip", "accept-ranges": "bytes", "etag": '"1"'}
    facts["cache-control"] = "public, max-age=31536000, immutable"
    needs = {FULL: TRUTH.needs(TRUTH.offers)[FULL]}
    head, tail, _ = outside.second_round(needs)
    answers = {
        head: Answer(200, facts | {"content-length": "520"}),
        tail: Answer(206, facts | {"content-range": "bytes 0-519/520"}, content),
    }
    told = list(outside.package_findings("one", TRUTH, needs, answers, {FULL: known}))
    assert [one.kind for one in told] == ([kind] if kind else [])
    answers[tail] = Answer(200, facts, content)
    told = list(outside.package_findings("one", TRUTH, needs, answers, {FULL: 520}))
    assert [(one.kind, one.found) for one in told] == [(Kind.ANSWER, "status 200 to a range")]


def disk(**changes: Any) -> Disk:
    said: dict[str, Any] = {
        "owner": 7,
        "files": {f"public/{FULL}": ["file", 9, 0o644, 7, 0, 1]},
        "texts": {"metadata/.commit": COMMIT},
        "sizes": {},
        "free": 1 << 40,
        "size": 1 << 41,
    }
    return Disk.of(said | changes)


def found(told: Iterator[Finding], kind: Kind) -> list[str]:
    return [one.path for one in told if one.kind is kind]


def judged(one: Disk, truth: Truth = TRUTH) -> Iterator[Finding]:
    return inside.findings("one", one, truth, truth.needs(truth.offers), {}, {})


def test_little_room_is_told_and_fails_nothing() -> None:
    assert found(judged(disk(free=1 << 20)), Kind.ROOM) == [""]
    assert found(judged(disk()), Kind.ROOM) == []
    assert Kind.ROOM.severity != Kind.AHEAD.severity


def test_metadata_that_names_no_commit_and_a_stray_file_in_it_are_told() -> None:
    files = {"metadata/ota/x/x-stable": ["file", 1, 0o644, 7, 0, 1]}
    told = found(judged(disk(files=files, texts={})), Kind.DIFFERING)
    assert {".commit", "ota/x/x-stable"} <= {*told}


def test_only_what_is_on_record_can_be_unlisted_or_begin_nowhere() -> None:
    """A site without a list of checksums has no unlisted packages."""
    strange = f"ota/{DEVICE}/16/{DEVICE}-incremental-1-{CURRENT}.zip"
    files = {f"public/{path}": ["file", 9, 0o644, 7, 0, 1] for path in (FULL, strange)}
    with_list = list(judged(disk(files=files)))
    assert [one.path for one in with_list if one.kind is Kind.UNUSABLE] == [strange]
    none = list(judged(disk(files=files), Truth(COMMIT, WHOLE.metadata, {}, frozenset({RETIRED}))))
    assert not [one for one in none if one.kind in (Kind.UNUSABLE, Kind.UNLISTED)]


def test_an_incremental_from_a_later_build_is_to_no_use() -> None:
    files = dict(WHOLE.metadata) | {f"ota/{DEVICE}/{DEVICE}-oldstable": b"260720421 1785977860 16\n"}
    strange = f"ota/{DEVICE}/16/{DEVICE}-incremental-260720421-{CURRENT}.zip"
    one = disk(files={f"public/{strange}": ["file", 9, 0o644, 7, 0, 1]})
    assert found(judged(one, Truth(COMMIT, files, {}, frozenset({RETIRED}))), Kind.UNUSABLE) == [strange]


def test_size_and_content_that_no_list_vouches_for_are_compared() -> None:
    one, other = disk(), disk(files={f"public/{FULL}": ["file", 8, 0o644, 7, 0, 1]})
    told = list(compared.inside({"a": one, "b": other}, TRUTH, {}))
    assert [(it.server, it.path, it.kind) for it in told] == [("b", FULL, Kind.DISAGREE)]
    truth = Truth(COMMIT, WHOLE.metadata, {})
    read = {"a": {FULL: "1" * 64}, "b": {FULL: "2" * 64}}
    assert [it.path for it in compared.hashes(read, truth, {})] == [FULL]
    assert list(compared.hashes(read, TRUTH, {})) == []  # the list says which one is wrong


def test_what_is_seen_twice_is_told_once_and_what_is_cut_does_not_differ_too() -> None:
    def one(kind: Kind, text: str) -> Finding:
        return Finding("a", "panther", "stable", "p", kind, text, "x")

    told = settled([one(Kind.AHEAD, "404"), one(Kind.AHEAD, "nothing"), one(Kind.TRUNCATED, "8")])
    assert [it.found for it in told] == ["404", "8"]
    assert [it.kind for it in settled([one(Kind.DIFFERING, "h"), one(Kind.TRUNCATED, "8")])] == [Kind.TRUNCATED]
    apart = [Finding("a", "", "", "", Kind.UNREACHABLE, text, "x") for text in ("ssh", "https")]
    assert len(settled(apart)) == 2


def test_a_survey_that_on_disk_would_not_make_is_refused() -> None:
    changes: list[dict[str, Any]] = [
        {"files": {"public/x": ["file"]}},
        {"owner": None},
        {"sizes": {"x": []}},
        {"free": "much"},
    ]
    for spoilt in changes:
        with pytest.raises((ValueError, KeyError, TypeError)):
            disk(**spoilt)


def test_whatever_servers_say_is_judged() -> None:
    """Fuzzed: no answer, line or survey stops an audit, and no word of a server steers a terminal."""
    source = random.Random(26)
    words = (GOOD, b"PK\5\6", b"\xff\0\x1b[31m", b" ", b"260720420", b"/../", b"a" * 64, b"\n", b"{}", b"-", b"x")

    def noise() -> bytes:
        return b"".join(source.choices(words, k=source.randrange(6)))

    def text() -> str:
        return noise().decode(errors="surrogateescape")

    asks = [*outside.first_round(TRUTH), *outside.second_round(TRUTH.needs(TRUTH.offers))]
    for _ in range(20):
        names = (
            "content-type",
            "content-length",
            "cache-control",
            "content-range",
            "etag",
            "accept-ranges",
            "location",
        )
        answers = {
            ask: Answer(
                source.choice((0, 200, 206, 302, 404, 410, 500)),
                {name: text() for name in source.sample(names, 3)},
                noise(),
                source.choice(("", "", text())),
            )
            for ask in asks
        }
        needs = TRUTH.needs(outside.served(TRUTH, answers) | lines_of({("x", "stable"): noise()}))
        told = list(outside.metadata_findings("one", TRUTH, answers))
        told += outside.package_findings("one", TRUTH, needs, answers, {})
        files = {
            f"{source.choice(('public', 'metadata'))}/{source.choice((FULL, 'ota/x/', 'factory/'))}{text()}": [
                source.choice(("file", "folder", "a FIFO")),
                source.randrange(99),
                source.randrange(0o7777),
                source.randrange(9),
                source.randrange(99),
                1,
            ]
            for _ in range(30)
        }
        one = disk(files=files, texts={path: text() for path in files})
        told += inside.findings("one", one, TRUTH, needs, {FULL: (9, noise())}, {})
        told += compared.inside({"one": one, "two": disk()}, TRUTH, needs)
        truth = Truth("c", {path.partition("/")[2]: noise() for path in files}, {"x": noise()})
        told += truth.problems()
        assert told
        assert all(str(it).isprintable() for it in settled(told))


PARTS = {
    "head": Answer(200, {"content-length": "900"}),
    "part": Answer(206, {"content-range": "bytes 7-20/900"}, b"x" * 14),
    "beyond": Answer(416, {"content-range": "bytes */900"}, b"<html>"),
}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, ""),
        ({"head": Answer(404)}, ""),
        ({"part": Answer(200, {"content-length": "900"}, b"x" * 900)}, "status 200, Content-Range missing, 900 bytes"),
        (
            {"part": Answer(206, {"content-range": "bytes 7-20/901"}, b"x" * 14)},
            "status 206, Content-Range bytes 7-20/901",
        ),
        (
            {"part": Answer(206, {"content-range": "bytes 7-20/900"}, b"x" * 13)},
            "bytes 7-20/900, 13 bytes to bytes=7-20",
        ),
        ({"beyond": Answer(200, {}, b"")}, "status 200, Content-Range missing, 0 bytes to bytes=1125899906842624-"),
        ({"beyond": Answer(416, {}, b"")}, "status 416, Content-Range missing"),
        ({"beyond": Answer(error="more than 4,096 bytes")}, "more than 4,096 bytes"),
    ],
)
def test_parts_of_a_package_are_what_phones_that_resume_need(changed: dict[str, Answer], told: str) -> None:
    answers: dict[Ask, Answer] = dict(zip(resumed.asks(FULL), (PARTS | changed).values(), strict=True))
    found = [*resumed.findings("release-1", FULL, TRUTH.needs(TRUTH.offers), answers)]
    assert [one.kind for one in found] == ([Kind.ANSWER] if told else [])
    assert told in "".join(one.found for one in found)


def test_another_package_is_asked_for_each_time() -> None:
    now = datetime.now(UTC)
    seen = {resumed.sample(TRUTH, now + timedelta(seconds=number)) for number in range(400)}
    offered = TRUTH.needs(TRUTH.offers)
    assert seen == {path for path, need in offered.items() if not need.is_optional}


@pytest.mark.parametrize(
    ("over", "stay"),
    [
        ({}, {"7", "8"}),  # Of builds that were never offered the newest.
        ({("d", str(number)): number * DAY_S for number in range(7)}, {"4", "5", "6", "7", "8"}),
        ({("d", str(number)): number * DAY_S for number in range(3)}, {"1", "2", "7", "8"}),
    ],
)
def test_builds_stay_as_the_settings_of_prune_say(over: dict[tuple[str, str], int], stay: set[str]) -> None:
    files = {
        f"public/ota/d/16/d-ota_update-{number}.zip": inside.File("file", 1, 0, 0, number, 0) for number in range(9)
    }
    disk = Disk(0, files, {}, {}, 0, 0)
    truth = Truth("c", {}, {}, kept=Kept(builds=2, days=3), over=over, time=7 * DAY_S)
    packages = disk.packages(frozenset())
    gone = {packages[one].build for one in inside.to_no_use(disk, packages, truth)}
    assert {one.build for one in packages.values()} - gone == stay


def test_of_a_build_that_a_channel_offers_all_packages_stay() -> None:
    paths = [f"factory/{DEVICE}/{DEVICE}-factory-{build}.zip" for build in ("1", "2", CURRENT, "3", "4")]
    files = {
        f"public/{path}": inside.File("file", 1, 0, 0, since, 0)
        for path, since in zip(paths, (9, 8, 1, 7, 2), strict=True)
    }
    disk = Disk(0, files, {}, {}, 0, 0)
    truth = replace(TRUTH, kept=Kept(builds=2, days=3))
    packages = disk.packages(frozenset())
    assert {packages[one].build for one in inside.to_no_use(disk, packages, truth)} == {"3", "4"}
