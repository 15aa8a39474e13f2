"""A publisher dies at any step, on real servers: phones that ask are never misled, and the next run ends it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.publishing_site import SERVERS, Publishing, polled, publishing_site

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

STEPS = ("plan", "begin", "upload", "verify", "place", "checksums", "metadata", "switch", "close")
POINTS = [(when, step) for step in STEPS for when in ("before", "after")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publishing]:
    yield from publishing_site(tmp_path_factory.mktemp("killed"))


def killed(site: Publishing, point: tuple[str, str], *words: str | Path) -> None:
    """A command that dies there, and again, by another admin, that goes on; unless it died when all was done."""
    program = (sys.executable, "-m", "tests.faults.publisher_killed", *point)
    with polled(site):
        ran = site.release(*words, program=program)
        assert ran.returncode == -9, ran.stdout + ran.stderr
        if point != ("after", "close") or site.standing()["exit_code"]:
            site.done(*words)
    site.must_agree()


def points(worst: tuple[str, str]) -> list[object]:
    return [pytest.param(one, marks=[pytest.mark.full] * (one != worst), id=" ".join(one)) for one in POINTS]


@pytest.mark.parametrize("point", points(("after", "place")))
def test_a_publisher_that_died_is_followed_by_one_that_goes_on(site: Publishing, point: tuple[str, str]) -> None:
    folder, build = site.built()
    killed(site, point, "publish", folder)
    assert {site.offered(one, "panther", "testing") for one in SERVERS} == {build}


@pytest.mark.parametrize("point", [one for one in points(("after", "switch")) if "upload" not in str(one)])
def test_a_promotion_that_died_is_ended(site: Publishing, point: tuple[str, str]) -> None:
    folder, build = site.built()
    site.done("publish", folder)
    killed(site, point, "promote", build, "--from", "testing", "--to", "beta")
    assert {site.offered(one, "FP5", "beta") for one in SERVERS} == {build}


@pytest.mark.full
@pytest.mark.parametrize("point", [one for one in points(("after", "metadata")) if "upload" not in str(one)])
def test_a_rollback_that_died_is_ended(site: Publishing, point: tuple[str, str]) -> None:
    before = site.offered("release-1", "panther", "testing")
    folder, _ = site.built()
    site.done("publish", folder)
    killed(site, point, "rollback", "panther", "--channel", "testing")
    assert {site.offered(one, "panther", "testing") for one in SERVERS} == {before}


@pytest.mark.parametrize("point", points(("after", "place"))[:10])
def test_what_a_dead_publisher_began_can_be_taken_back(site: Publishing, point: tuple[str, str]) -> None:
    head, (folder, build) = site.head(), site.built()
    program = (sys.executable, "-m", "tests.faults.publisher_killed", *point)
    with polled(site):
        assert site.release("publish", folder, program=program).returncode == -9
        site.done("abandon")
    assert site.head() == head
    site.must_agree()
    for one in SERVERS:
        assert site.root(one, f"find /srv/release/public -name '*{build}*'") == ""
