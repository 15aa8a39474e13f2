"""Requests become counts in which nobody shows, and a client's country is found by Debian's list."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from roles.common.nginx.tree.usr.local.lib.mainstay import count_requests, countries
from roles.common.nginx.tree.usr.local.lib.mainstay.count_requests import Count, Key, counted, folded, place
from roles.release.tools.requested import Counts, Row, added

LINE = {
    "time": "2026-11-25T23:59:59+00:00",
    "method": "GET",
    "path": "/ota/panther/panther-stable",
    "status": 200,
    "bytes": 27,
    "seconds": 0.0,
    "range": "",
    "country": "NL",
}
FULL = "/ota/panther/16/panther-ota_update-260720420.zip"


def line(**fields: Any) -> bytes:
    return json.dumps(LINE | fields).encode() + b"\n"


@pytest.mark.parametrize(
    ("path", "kind", "device"),
    [
        ("/ota/panther/panther-stable", "metadata", "panther"),
        ("/ota/panther/panther-security-express", "metadata", "panther"),
        ("/ota/panther/panther-stable-changelog.html", "metadata", "panther"),
        (FULL, "full", "panther"),
        ("/ota/panther/16/panther-incremental-1-2.zip", "incremental", "panther"),
        ("/factory/FP4/16/FP4-factory-1.zip", "factory", "FP4"),
        (f"{FULL}.sha256sum", "other", "other"),
        ("/ota/panther/16/shiba-ota_update-1.zip", "other", "other"),
        ("/ota/pan%2fther/pan%2fther-stable", "other", "other"),
        ("/", "other", "other"),
    ],
)
def test_a_path_tells_kind_and_device(path: str, kind: str, device: str) -> None:
    assert place(path) == (kind, device)


def test_a_download_counts_as_begun_where_it_asks_for_the_first_byte() -> None:
    ranges = ("", "bytes=0-", "bytes=5-", "bytes=0-99", "bytes=-9")
    lines = [line(path=FULL, bytes=100, range=asked) for asked in ranges]
    counts, unreadable = counted(
        [*lines, line(path=FULL, method="HEAD", bytes=0), b"no line", b"{}\n", b'{"path": 1}\n']
    )
    assert counts == {Key("2026-11-25", "NL", "panther", "full", "2xx"): Count(6, 3, 500)}
    assert unreadable == 3


def rows(*found: tuple[str, str, str, Count]) -> dict[Key, Count]:
    return {Key("d", country, device, kind, "2xx"): count for country, device, kind, count in found}


def test_no_phone_shows() -> None:
    """One of a rare model, one in a small country, one alone of its kind; and many parts of one download."""
    alone = Count(1, 1, 1)
    counts = rows(
        ("NL", "panther", "full", Count(300, 100, 9)),
        ("NL", "rare", "full", Count(1000, 9, 9)),
        ("IS", "panther", "full", alone),
        ("IS", "panther", "metadata", Count(59, 59, 9)),
        ("IS", "panther", "incremental", alone),
        ("DE", "panther", "metadata", Count(60, 60, 9)),
    )
    assert folded(counts) == {
        Key("d", "NL", "panther", "full", "2xx"): Count(300, 100, 9),
        Key("d", "other", "other", "full", "2xx"): Count(1001, 10, 10),
        Key("d", "DE", "panther", "metadata", "2xx"): Count(60, 60, 9),
        Key("d", "other", "other", "other", "2xx"): Count(60, 60, 10),
    }


def test_folding_loses_no_request() -> None:
    counts = {Key("d", f"c{n % 7}", f"d{n % 11}", "full", "2xx"): Count(n, n, n) for n in range(200)}
    total = sum(count.requests for count in counts.values())
    assert sum(count.requests for count in folded(counts).values()) == total


def test_a_log_that_is_destroyed_is_written_over_where_it_lies(tmp_path: Path) -> None:
    log, kept = tmp_path / "counting-1.log", tmp_path / "kept"
    log.write_bytes(line() * 20_000)
    kept.hardlink_to(log)
    count_requests.destroy(log)
    assert not log.exists()
    assert kept.read_bytes() == bytes(len(line()) * 20_000)


def test_ranges_of_countries_become_what_nginx_reads() -> None:
    assert list(countries.ipv4(["# a comment\n", "16777216,16777471,AU\n", "16777472,16778239,CN\n"])) == [
        "1.0.0.0-1.0.0.255 AU;\n",
        "1.0.1.0-1.0.3.255 CN;\n",
    ]
    assert list(countries.ipv4(["1,2,NL\n", "3,4,NL\n", "5,6,??\n", "7,8,NL\n"])) == [
        "0.0.0.1-0.0.0.4 NL;\n",
        "0.0.0.7-0.0.0.8 NL;\n",
    ]


def test_networks_of_ipv6_never_overlap_and_small_ones_are_passed_over() -> None:
    lines = [
        "2001:db8::,2001:db8:2ff:ffff:ffff:ffff:ffff:ffff,NL\n",
        "2001:db8:300::,2001:db8:300:ffff:ffff:ffff:ffff:ffff,DE\n",
        "2001:db8:301::,2001:db8:7ff:ffff:ffff:ffff:ffff:ffff,FR\n",
    ]
    assert list(countries.ipv6(lines)) == [
        "2001:db8::/39 NL;\n",
        "2001:db8:200::/40 NL;\n",
        "2001:db8:300::/40 FR;\n",
        "2001:db8:400::/38 FR;\n",
    ]


@pytest.mark.parametrize("bad", ["1,2\n", "1,2,N;\n", "1,2,NLD\n", "a,b,NL\n", "::g,::1,NL\n"])
def test_what_is_no_list_of_countries_is_refused(bad: str) -> None:
    with pytest.raises((ValueError, OSError)):
        list(countries.ipv4([bad]))


def test_counts_of_all_servers_are_added_up() -> None:
    one = Row(day="2026-11-25", country="NL", device="panther", kind="full", status="2xx", requests=1, begun=1, bytes=5)
    other = one.model_copy(update={"country": "DE"})
    assert added([one, other, one]) == [other, one.model_copy(update={"requests": 2, "begun": 2, "bytes": 10})]


@pytest.mark.parametrize("change", [{"day": "today"}, {"device": "\x1b[31m"}, {"kind": "all"}, {"requests": "many"}])
def test_what_a_server_says_that_are_no_counts_is_refused(change: dict[str, str]) -> None:
    row = {"day": "2026-11-25", "country": "NL", "device": "panther", "kind": "full", "status": "2xx"}
    row |= {"requests": "1", "begun": "1", "bytes": "1"} | change
    with pytest.raises(ValidationError):
        Counts.model_validate({"from": "1", "unreadable": 0, "rows": [row]})
