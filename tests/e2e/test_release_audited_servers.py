"""Two release servers are audited, and what is wrong with them keeps builds from being offered."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from inventories.inventory import load_site
from lab import sample
from tests.publishing_site import SERVERS, Publishing, publishing_site

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
PROMOTED = ("--from", "testing", "--to", "beta")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publishing]:
    yield from publishing_site(tmp_path_factory.mktemp("audited"))


def full(build: str) -> str:
    return f"ota/panther/16/panther-ota_update-{build}.zip"


@contextmanager
def cut(site: Publishing, *builds: str) -> Iterator[None]:
    """Of these builds the full packages on the second server."""
    places = [f"/srv/release/public/{full(build)}" for build in builds]
    keep, put_back = "cp -a {0} /srv/$(basename {0})", "cp -a /srv/$(basename {0}) {0} && rm /srv/$(basename {0})"
    _on_each(site, places, f"{keep} && truncate -s 1000 {{0}}")
    try:
        yield
    finally:
        _on_each(site, places, put_back)


def _on_each(site: Publishing, places: list[str], command: str) -> None:
    """And nginx lets go of what it has open."""
    site.root("release-2", "; ".join([*(command.format(place) for place in places), "systemctl restart nginx"]))


def test_servers_are_audited_from_outside_and_on_their_disks(site: Publishing) -> None:
    ran = site.release("audit", "--deep", "--json")
    found = json.loads(ran.stdout)
    assert (ran.returncode, [one for one in found["findings"] if one["fails"]]) == (0, []), ran.stdout
    assert {(one["name"], one["answers"], one["commit"]) for one in found["servers"]} == {
        (server, True, site.head()) for server in SERVERS
    }
    assert all(one["read_ratio"] > 0 for one in found["servers"])
    path = f"ota/panther/16/panther-ota_update-{sample.CURRENT.number}.zip"
    place = f"/srv/release/public/{path}"
    damage = f"truncate -s 1000 {place} && chown root {place}"
    letting_go = "systemctl restart nginx"  # whose processes each keep files open
    site.root("release-2", f"cp -a {place} /srv/kept.zip && {damage} && {letting_go}")
    try:
        ran = site.release("audit", "--json")
    finally:
        site.root("release-2", f"cp -a /srv/kept.zip {place} && rm /srv/kept.zip && {letting_go}")
    told = [one for one in json.loads(ran.stdout)["findings"] if one["fails"]]
    assert ran.returncode == 51
    assert {(one["server"], one["kind"], one["path"]) for one in told} == {
        ("release-2", "truncated", path),
        ("release-2", "owner, mode or link", path),
    }


def test_a_server_that_does_not_answer_by_ipv6_alone_is_found(site: Publishing) -> None:
    chain = "nft add chain ip6 silent input '{ type filter hook input priority -10; }'"
    rule = "nft add rule ip6 silent input tcp dport 443 reject with tcp reset"
    site.root("release-2", f"nft add table ip6 silent && {chain} && {rule}")
    try:
        ran = site.release("audit", "--json")
    finally:
        site.root("release-2", "nft delete table ip6 silent")
    found = json.loads(ran.stdout)
    told = [(one["server"], one["kind"], one["found"]) for one in found["findings"] if one["fails"]]
    address = load_site(site.inventory).lock.hosts["release-2"].ipv6
    assert (ran.returncode, told) == (3, [("release-2", "unreachable", f"{address} port 443: Connection refused")])
    assert [one["answers"] for one in found["servers"]] == [True, False]


def test_servers_read_their_packages_by_themselves_and_fail_until_damage_is_mended(site: Publishing) -> None:
    read = "systemctl start mainstay-release-read"
    site.root("release-1", read)
    kept = json.loads(site.root("release-1", "cat /var/lib/mainstay-release/read.json"))
    newest = max(kept["readings"], key=lambda path: kept["readings"][path]["read"])
    assert kept["readings"][newest]["sha256"]
    place = f"/srv/release/public/{newest}"
    site.root("release-1", f"cp -a {place} /srv/kept && printf x | dd of={place} conv=notrunc status=none")
    try:
        assert site.root("release-1", f"{read} || echo failed") == "failed"
        assert f"{newest}: SHA-256 " in site.root("release-1", "journalctl -o cat -n 20 -u mainstay-release-read")
        told = json.loads(site.release("audit", "--server", "release-1", "--json").stdout)
        kinds = {(one["kind"], one["path"]) for one in told["findings"] if one["fails"]}
        assert kinds == {("differing", newest)}
    finally:
        site.root("release-1", f"cp -a /srv/kept {place} && rm /srv/kept && {read}")
    assert site.root("release-1", "systemctl is-enabled mainstay-release-read.timer") == "enabled"


def test_damage_on_one_server_keeps_a_build_from_being_promoted_until_it_is_mended(site: Publishing) -> None:
    folder, build = site.built()
    site.done("publish", folder)
    before, head = site.offered("release-1", "panther", "beta"), site.head()
    told = f"release-2: panther testing: {full(build)}: truncated: found 1,000 bytes"
    with cut(site, build):
        ran = site.release("promote", build, *PROMOTED)
        assert (ran.returncode, told in ran.stderr, "to do: remove it" in ran.stderr) == (51, True, True), ran.stderr
        ran = site.release("promote", build, *PROMOTED, "--dry")
        assert (ran.returncode, told in ran.stdout, "it would be refused" in ran.stdout) == (51, True, True)
        ran = site.release("promote", build, *PROMOTED, "--dry", "--json")
        dry = json.loads(ran.stdout)
        assert (ran.returncode, dry["would_pass"]) == (51, False)
        assert {(one["server"], one["path"]) for one in dry["findings"]} == {("release-2", full(build))}
        assert site.head() == head
        site.must_agree()
        site.done("promote", build, *PROMOTED, "--device", "FP5")
        assert [site.offered(one, "panther", "beta") for one in SERVERS] == [before] * 2
    site.done("promote", build, *PROMOTED)
    assert [site.offered(one, "panther", "beta") for one in SERVERS] == [build] * 2
    site.must_agree()


@pytest.mark.full
def test_a_rollback_leads_away_from_a_damaged_build_and_to_none(site: Publishing) -> None:
    (first, earlier), (second, later) = site.built(), site.built()
    for folder in (first, second):
        site.done("publish", folder)
    back, head = ("rollback", "panther", "--channel", "testing"), site.head()
    with cut(site, earlier, later):
        ran = site.release(*back)
        [told] = [line for line in ran.stderr.splitlines() if ": truncated: " in line]
        assert (ran.returncode, full(earlier) in told) == (51, True), ran.stderr
        assert site.release(*back, "--dry").returncode == 51
        assert site.head() == head
        site.done(*back, "--to", sample.CURRENT.number)
    assert {site.offered(one, "panther", "testing") for one in SERVERS} == {sample.CURRENT.number}
    site.must_agree()


@pytest.mark.full
def test_a_server_whose_metadata_is_another_than_its_commits_hinders_both(site: Publishing) -> None:
    folder, build = site.built()
    site.done("publish", folder)
    place = "/srv/release/metadata/ota/panther/panther-beta"
    site.root("release-2", f"cp -a {place} /srv/line && echo {build} 1 16 >{place}")
    try:
        for words in (("promote", build, *PROMOTED), ("rollback", "panther", "--channel", "testing")):
            ran = site.release(*words)
            told = "release-2: panther beta: ota/panther/panther-beta: differing"
            assert (ran.returncode, told in ran.stderr) == (51, True), ran.stderr
    finally:
        site.root("release-2", f"cp -a /srv/line {place} && rm /srv/line")
    site.done("promote", build, *PROMOTED)


@pytest.mark.full
def test_a_server_that_only_missed_a_commit_hinders_nothing(site: Publishing) -> None:
    folder, build = site.built()
    site.done("publish", folder)
    site.done("promote", build, *PROMOTED, "--without", "release-2")
    site.done("promote", build, *PROMOTED)
    assert {site.offered(one, "panther", "beta") for one in SERVERS} == {build}
    site.must_agree()
