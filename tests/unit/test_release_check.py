"""A good release is publishable; whatever is wrong with one is named, and nothing else is."""

import re
import tracemalloc
from pathlib import Path

import pytest

from inventories.errors import InputError
from lab import release_build
from roles.release.archive import Offer
from roles.release.tools.check import Progress, check, published
from roles.release.tools.ota_metadata import METADATA
from tests.unit.releases import FACTORY, FULL, INCREMENTAL, NEW, OLD, PUBLISHED, Release, good, one, said

__all__ = ["good", "one"]

LINE = "ota/panther/panther-stable"


def test_a_good_release_of_several_devices_is_publishable(good: Release) -> None:
    """By EC and RSA, with and without an incremental, a factory image ahead of the OTA."""
    verdict = good.check()
    assert said(verdict) == []
    assert verdict.publishable
    assert sorted(one.kind for one in verdict.packages) == ["factory"] * 4 + ["full"] * 4 + ["incremental"] * 2
    [full] = [one for one in verdict.packages if one.path == FULL]
    assert (full.build, full.timestamp, full.patch_level) == (NEW.number, NEW.timestamp, "2026-08-05")
    assert full.size == (good.folder / FULL).stat().st_size
    assert (good.folder / f"{FULL}.sha256sum").read_text() == f"{full.sha256}  {Path(FULL).name}\n"
    gone = {f"ota/{name}/{name}-oldstable" for name in ("FP5", "panther", "shiba")}
    assert {one.path for one in verdict.unknowns} == gone


def test_progress_comes_to_its_end(good: Release) -> None:
    told: list[Progress] = []
    verdict = check(good.folder, good.certificates, None, told.append)
    assert told[-1].done == told[-1].total == verdict.size
    assert {one.package for one in told} == {one.path for one in verdict.packages}


def test_a_check_that_is_broken_off_ends(good: Release) -> None:
    def hear(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(good.folder, good.certificates, None, hear)


def test_channel_lines_that_are_not_there_come_from_the_package_and_are_told(one: Release) -> None:
    for path in (one.folder / "ota/panther").glob("panther-*"):
        path.unlink()
    verdict = one.check({})
    assert said(verdict) == []
    offered = {it.channel: (it.offer.line, it.derived) for it in verdict.offers}
    assert not any("not given" in str(it) for it in verdict.unknowns)
    assert offered == {"testing": (NEW.line, True), "factory": (NEW.line, True)}
    told = [str(it) for it in verdict.unknowns]
    assert f"ota/panther/panther-testing: is not there; its package says {NEW.line.strip()}" in told
    assert f"{INCREMENTAL}: no oldstable says whether {OLD.number} is what phones have" in told


def test_a_factory_image_alone_has_no_timestamp(one: Release) -> None:
    for path in (one.folder / "ota").rglob("*"):
        if path.is_file():
            path.unlink()
    verdict = one.check()
    assert verdict.publishable
    assert [str(it) for it in verdict.unknowns] == [
        f"{FACTORY}: no line ota/panther/panther-factory, and no OTA of its build to take it from"
    ]


def test_a_bare_checksum_is_one(one: Release) -> None:
    beside = one.folder / f"{FULL}.sha256sum"
    beside.write_text(beside.read_text().split()[0])
    assert said(one.check()) == []


def test_an_offer_that_is_published_already_needs_no_package(one: Release) -> None:
    now = PUBLISHED | {("panther", "beta"): Offer("260701000", 1_784_000_000, "16")}
    one.write("ota/panther/panther-beta", "260701000 1784000000 16\n")
    assert said(one.check(now)) == []
    assert said(one.check()) == [
        "ota/panther/panther-beta: channel: found no ota/panther/16/panther-ota_update-260701000.zip; "
        "expected the package it promises"
    ]


NOW = Offer(NEW.number, NEW.timestamp, NEW.android)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        pytest.param(
            Offer("260801000", NEW.timestamp + 9, "16"), "TIMESTAMP: found 1785977859 of 260720420", id="later"
        ),
        pytest.param(
            Offer("260720421", NEW.timestamp, "16"), "TIMESTAMP: .* as new as the published 260720421", id="as new"
        ),
        pytest.param(Offer(NEW.number, OLD.timestamp, "16"), "BUILD: .*builds never change", id="the same build"),
        pytest.param(Offer(OLD.number, OLD.timestamp, "17"), "ANDROID: found 16; expected not less than", id="Android"),
    ],
)
def test_phones_are_never_set_back(one: Release, now: Offer, expected: str) -> None:
    found = said(one.check(PUBLISHED | {("panther", "stable"): now}))
    assert len(found) == 1
    assert re.search(f"{LINE}: {expected}", found[0]), found


def test_incrementals_begin_where_phones_are_if_the_release_has_no_oldstable(one: Release) -> None:
    """Its own line comes first: that says which build phones are to have before."""
    gone = Offer("260520210", 1_780_700_000, "16")
    assert said(one.check(dict.fromkeys(PUBLISHED, gone))) == []
    (one.folder / "ota/panther/panther-oldstable").unlink()
    assert said(one.check(PUBLISHED | {("panther", "oldstable"): gone})) == []
    assert said(one.check(dict.fromkeys(PUBLISHED, gone))) == [
        f"{INCREMENTAL}: name: found base {OLD.number}; "
        "expected what panther-oldstable or phones' channels say: 260520210"
    ]


def test_that_nothing_is_known_to_be_published_is_told(good: Release) -> None:
    verdict = check(good.folder, good.certificates, None, lambda _: None)
    assert verdict.publishable
    assert str(verdict.unknowns[0]).startswith(
        ".: what is published now was not given: whether phones would be set back"
    )


def test_a_device_that_was_never_published_has_nothing_before(one: Release) -> None:
    assert said(one.check({})) == []


def test_what_is_published_is_read_from_a_checkout(good: Release, tmp_path: Path) -> None:
    """With or without ota/ above the devices."""
    found = published(good.folder)
    assert found["panther", "stable"] == found["panther", "factory"] == NOW
    assert published(good.folder / "ota") == found
    with pytest.raises(InputError, match="holds no DEVICE/DEVICE-CHANNEL"):
        published(tmp_path)
    (tmp_path / "panther").mkdir()
    (tmp_path / "panther/panther-beta").write_text("soon")
    with pytest.raises(InputError, match=r"panther-beta: channel: found what is not one line .*'soon'"):
        published(tmp_path)


def test_folders_that_are_none_are_bad_input(good: Release, tmp_path: Path) -> None:
    for folder, certificates in ((tmp_path / "x", good.certificates), (good.folder, tmp_path / "x")):
        with pytest.raises(InputError, match="x: is no folder"):
            check(folder, certificates, None, lambda _: None)


def test_an_empty_release_is_none(good: Release, tmp_path: Path) -> None:
    found = said(check(tmp_path, good.certificates, {}, lambda _: None))
    assert found == [".: packages: found none; expected ota/DEVICE/ANDROID/DEVICE-ota_update-BUILD.zip"]


def test_a_fingerprint_of_the_makers_build_is_told_and_no_more(one: Release) -> None:
    for path in (FULL, INCREMENTAL):
        one.alter(path, METADATA, f"/{NEW.number}:user", "/141234567:user")
    verdict = one.check()
    assert said(verdict) == []
    assert f"{FULL}: post-build is the fingerprint of build 141234567, not of {NEW.number}" in map(
        str, verdict.unknowns
    )


def test_memory_does_not_grow_with_what_is_read(one: Release) -> None:
    package = release_build.ota(one.folder / "ota/panther/16", "panther", NEW, one.signer, 24 << 20)
    release_build.checksum(package)
    tracemalloc.start()
    try:
        assert said(one.check()) == []
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
