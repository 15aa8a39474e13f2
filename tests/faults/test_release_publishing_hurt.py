"""While a release is published a server loses its power, its room or its link: phones are never misled, and the same
command ends it."""

import json
from collections.abc import Iterator

import pytest

from tests.faults.test_release_publishing_killed import POINTS
from tests.publishing_site import SERVERS, Publishing, polled, publishing_site
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

FILLER = "/srv/release/filler"
AWAY = {"before": "release-1", "after": "release-2"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publishing]:
    yield from publishing_site(tmp_path_factory.mktemp("hurt"))


def must_be_published(site: Publishing, build: str) -> None:
    """On both servers, and on their disks to the last byte."""
    site.must_agree()
    sums = f"find /srv/release/public -name '*{build}*.sha256sum' -execdir sha256sum --quiet -c {{}} +"
    for server in SERVERS:
        assert site.offered(server, "panther", "testing") == build
        site.root(server, sums)


@pytest.mark.parametrize(
    "point",
    [pytest.param(one, marks=[pytest.mark.full] * (one != ("after", "switch")), id=" ".join(one)) for one in POINTS],
)
def test_a_server_that_loses_its_power_misleads_nobody(site: Publishing, point: tuple[str, str]) -> None:
    """With all that it had not brought to its disk."""
    server = AWAY[point[0]]
    folder, build = site.built()
    with polled(site, may_be_away=[server]):
        with site.paused(*point, "publish", folder) as publisher:
            site.lose_power(server)
            publisher.go_on()
            site.power(server, "start")
            code, said = publisher.ended()
            assert code in (0, 1, 3), said
        site.done("publish", folder)
    must_be_published(site, build)


@pytest.mark.full
@pytest.mark.parametrize("step", ["begin", "upload", "place", "switch", "close"])
def test_a_disk_that_becomes_full_on_the_way_misleads_nobody(site: Publishing, step: str) -> None:
    folder, build = site.built(full_bytes=5_000_000)
    with polled(site):
        with site.paused("before", step, "publish", folder) as publisher:
            room = "$(($(df --output=avail -B1 /srv/release | tail -1) - 50000000))"
            filling = f"fallocate -l {room} {FILLER}; dd if=/dev/zero of={FILLER}.rest bs=4k 2>/dev/null || true"
            site.root("release-2", filling)
            publisher.go_on()
            code, said = publisher.ended()
        site.root("release-2", f"rm {FILLER} {FILLER}.rest")
        assert code in (0, 1), said
        assert code == 0 or "No space left" in said
        site.done("publish", folder)
    must_be_published(site, build)


@pytest.mark.full
def test_a_link_that_is_cut_in_an_upload_stops_it_and_what_came_is_not_sent_again(site: Publishing) -> None:
    folder, build = site.built(("panther",), full_bytes=10_000_000)
    site.limit_link("release-2", 8)
    size = "du -sb --apparent-size /srv/release/incoming | cut -f1"
    with polled(site, may_be_away=["release-2"]):
        with site.paused("before", "upload", "publish", folder) as publisher:
            publisher.go_on()
            until("a part has come", lambda: int(site.root("release-2", size)) > 2_000_000)
            site.cut("release-2", off=True)
            code, said = publisher.ended()
            site.cut("release-2", off=False)
        assert code in (1, 3), said
        assert "release-2: " in said
        assert site.offered("release-1", "panther", "testing") != build
        told = json.loads(site.done("publish", folder, "--dry", "--json"))
        left = {one["name"]: one["bytes"] for one in told["servers"]}
        assert left["release-1"] == 0
        assert 0 < left["release-2"] < sum(path.stat().st_size for path in folder.rglob("*.zip")) - 1_000_000
        again = ("publish", folder)
        until("the server gives the lost one up", lambda: site.release(*again).returncode == 0, timeout_s=300)
    must_be_published(site, build)
