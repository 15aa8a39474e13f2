"""`mainstay release` on two servers: published, promoted, rolled back, and what stops it before phones see anything."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import tomlkit

from backup.reach import reach
from cloud.converge import REPOSITORY
from inventories.inventory import load_site
from lab import sample
from lab.go import debian_package
from roles.common.publishing.servers import session
from roles.release.tools.places import servers
from roles.release.tools.publish import PROGRAM
from tests.publishing_site import SERVERS, Publishing, polled, publishing_site
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publishing]:
    yield from publishing_site(tmp_path_factory.mktemp("publishing"))


def must_be_untouched(site: Publishing, head: str) -> None:
    """Nothing was published, nor begun."""
    assert site.head() == head
    site.must_agree()


def test_dry_tells_what_would_come_and_changes_nothing(site: Publishing) -> None:
    head, (folder, build) = site.head(), site.built()
    said = site.done("publish", folder, "--dry")
    for server in SERVERS:
        assert f"{server}: 5 files, " in said
    assert f"-{sample.CURRENT.line}+{build} " in said
    assert f"testing: {build} for FP5, panther\n" in said
    told = json.loads(site.done("publish", folder, "--dry", "--json"))
    assert (told["would_pass"], told["builds"], [one["files"] for one in told["servers"]]) == (True, [build], [5, 5])
    must_be_untouched(site, head)


def test_a_release_is_published_promoted_and_rolled_back_while_phones_ask(site: Publishing) -> None:
    folder, build = site.built()
    before = site.offered("release-1", "panther", "beta")
    with polled(site):
        told = json.loads(site.done("publish", folder, "--json"))
        assert (told["commit"], told["servers"]) == (site.head(), [*SERVERS])
        assert json.loads(site.done("publish", folder, "--json"))["commit"] == told["commit"]
        assert {site.offered(one, "panther", "testing") for one in SERVERS} == {build}
        assert {site.offered(one, "panther", "beta") for one in SERVERS} == {before}
        site.done("promote", build, "--from", "testing", "--to", "beta")
        assert {site.offered(one, device, "beta") for one in SERVERS for device in ("panther", "FP5")} == {build}
        ran = site.release("rollback", "panther", "--channel", "beta")
        assert ran.returncode == 0, ran.stderr
        assert f"Phones that have taken {build} keep it" in ran.stderr
        assert {site.offered(one, "panther", "beta") for one in SERVERS} == {before}
        assert {site.offered(one, "FP5", "beta") for one in SERVERS} == {build}
    site.must_agree()
    subjects = site.git("log", "-3", "--format=%an: %s").splitlines()
    assert subjects == [
        f"Alice: beta: panther back to {before} from {build}",
        f"Alice: beta: {build} promoted from testing for FP5, panther",
        f"Alice: testing: {build} for FP5, panther",
    ]
    manifest = json.loads(site.root("release-2", f"cat /srv/release/publications/{told['id']}.json"))
    assert manifest["commit"] == told["commit"]
    assert len(manifest["files"]) == 10
    assert site.root("release-1", "ls -A /srv/release/incoming") == ".lock"


def test_a_promotion_never_takes_a_later_build_away(site: Publishing) -> None:
    folder, build = site.built()
    site.done("publish", folder)
    head = site.head()
    ran = site.release("promote", sample.CURRENT.number, "--from", "stable", "--to", "testing", "--device", "panther")
    assert (ran.returncode, f"offers a later build to panther ({build})" in ran.stderr) == (2, True)
    must_be_untouched(site, head)


def test_a_package_that_a_server_lacks_is_promoted_nowhere(site: Publishing) -> None:
    folder, build = site.built()
    site.done("publish", folder)
    head = site.head()
    package = f"/srv/release/public/ota/panther/16/panther-ota_update-{build}.zip"
    site.root("release-2", f"mv {package} /root/away")
    try:
        ran = site.release("promote", build, "--from", "testing", "--to", "beta")
        told = f"release-2: panther testing: ota/panther/16/panther-ota_update-{build}.zip: metadata ahead"
        assert (ran.returncode, told in ran.stderr) == (51, True)
        ran = site.release("promote", build, "--from", "testing", "--to", "beta", "--dry")
        assert (ran.returncode, "release-2: lacks ota/panther/16" in ran.stdout) == (51, True)
        assert site.head() == head
    finally:
        site.root("release-2", f"mv /root/away {package}")
    must_be_untouched(site, head)


def test_a_server_that_is_down_stops_it_or_is_left_out_and_catches_up(site: Publishing) -> None:
    head, (folder, build) = site.head(), site.built()
    site.power("release-2", "halt")
    try:
        ran = site.release("publish", folder)
        assert (ran.returncode, "--without release-2" in ran.stderr) == (3, True)
        assert site.head() == head
        site.done("publish", folder, "--without", "release-2")
        assert site.offered("release-1", "panther", "testing") == build
        assert site.release("status").returncode == 3
    finally:
        site.power("release-2", "start")
    assert site.offered("release-2", "panther", "testing") != build
    with polled(site):
        assert site.done("sync") == "release-2: brought up to date\n"
    must_be_the_same(site)
    assert site.offered("release-2", "panther", "testing") == build
    site.done("publish", folder)
    site.must_agree()


@pytest.mark.full
def test_a_server_that_was_made_anew_gets_all_of_it_and_is_whole(site: Publishing) -> None:
    site.root("release-2", "cd /srv/release && rm -rf public/* metadata/* metadata/.commit publications/*")
    assert site.release("audit", "--server", "release-2").returncode == 51
    assert site.done("sync") == "release-2: brought up to date\n"
    must_be_the_same(site)
    assert site.done("sync") == "all servers are up to date\n"


def must_be_the_same(site: Publishing) -> None:
    """On both servers, in all bytes and in the times that clients see; and an audit finds nothing."""
    times = "find public -type f -printf '%p %Ts\\n' | sort"
    hashes = "find public metadata publications -type f -exec sha256sum {} + | sort"
    one, other = (site.root(server, f"cd /srv/release; {times}; {hashes}") for server in SERVERS)
    assert one == other
    ran = site.release("audit", "--deep", "--json")
    assert ran.returncode == 0, ran.stdout
    site.must_agree()


@pytest.mark.full
def test_a_server_that_only_missed_a_commit_is_brought_up_to_date(site: Publishing) -> None:
    folder, build = site.built()
    site.done("publish", folder)
    site.done("promote", build, "--from", "testing", "--to", "beta", "--without", "release-2")
    found = {one["name"]: one["behind"] for one in site.standing()["servers"]}
    assert found == {"release-1": 0, "release-2": 1}
    assert site.done("sync") == "release-2: brought up to date\n"
    assert site.offered("release-2", "panther", "beta") == build
    site.must_agree()


def test_two_publishers_do_not_mix(site: Publishing) -> None:
    head, (folder, build) = site.head(), site.built()
    with reach(load_site(site.inventory)) as way, session(servers(way)[1], PROGRAM) as other:
        other.ask("lock")
        ran = site.release("publish", folder)
        assert (ran.returncode, "release-2: somebody publishes there now" in ran.stderr) == (1, True)
    must_be_untouched(site, head)
    site.done("publish", folder)
    assert site.offered("release-2", "panther", "testing") == build


def test_what_another_has_begun_is_told_and_can_be_taken_back(site: Publishing) -> None:
    head, (folder, _) = site.head(), site.built()
    begun = {"id": "other", "who": "bob on laptop", "begun": "yesterday", "base": head, "reserve": 0, "files": []}
    with reach(load_site(site.inventory)) as way, session(servers(way)[0], PROGRAM) as dead:
        dead.ask("lock")
        dead.ask("begin", manifest=begun)
    ran = site.release("publish", folder)
    assert (ran.returncode, "other of bob on laptop, begun yesterday" in ran.stderr) == (1, True)
    assert site.release("status").returncode == 1
    assert "other was begun by bob on laptop, yesterday" in site.release("status").stdout
    site.done("abandon")
    must_be_untouched(site, head)


def test_a_full_disk_stops_it_before_anything_comes(site: Publishing) -> None:
    head, (folder, _) = site.head(), site.built()
    room = "$(($(df --output=avail -B1 /srv/release | tail -1) - 1000000000))"
    site.root("release-2", f"fallocate -l {room} /srv/release/filler")
    try:
        ran = site.release("publish", folder)
        assert (ran.returncode, "release-2: needs " in ran.stderr) == (1, True)
        assert "release-2: needs " in site.release("publish", folder, "--dry").stdout
    finally:
        site.root("release-2", "rm /srv/release/filler")
    must_be_untouched(site, head)


def test_a_damaged_package_is_not_published(site: Publishing) -> None:
    head, (folder, build) = site.head(), site.built()
    package = folder / f"ota/panther/16/panther-ota_update-{build}.zip"
    content = bytearray(package.read_bytes())
    content[len(content) // 2] ^= 1
    package.write_bytes(content)
    ran = site.release("publish", folder)
    assert (ran.returncode, package.name in ran.stderr) == (50, True)
    must_be_untouched(site, head)


def test_by_a_wrong_clock_nothing_is_published(site: Publishing) -> None:
    head, (folder, _) = site.head(), site.built()
    words = (debian_package("faketime", "faketime"), "1 day ago", str(REPOSITORY / "bin/mainstay"))
    ran = site.release("publish", folder, program=words)
    assert (ran.returncode, "set the clock that is wrong" in ran.stderr) == (1, True)
    must_be_untouched(site, head)


def test_old_builds_go_when_that_is_meant_and_what_is_offered_stays(
    site: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    inventory = site.inventory.with_suffix(".toml")
    document: Any = tomlkit.parse(inventory.read_text())
    document["settings"]["release"].update({"keep_builds": 1, "keep_days": 30})
    inventory.write_text(tomlkit.dumps(document))
    (first, gone), (second, kept) = site.built(), site.built()
    site.done("publish", first)
    assert gone not in site.done("prune", "--dry")
    monkeypatch.setenv("GIT_COMMITTER_DATE", f"{time.time() - 60 * 86400:.0f} +0000")
    site.done("publish", second)
    for one in json.loads(site.done("prune", "--dry", "--json"))["servers"]:
        assert f"ota/panther/16/panther-ota_update-{gone}.zip" in one["sizes"]
        assert not [path for path in one["sizes"] if kept in path or f"{sample.CURRENT.number}.zip" in path]
    assert site.release("prune").returncode == 2
    package = f"ota/panther/16/panther-incremental-{sample.CURRENT.number}-{gone}.zip"
    assert {site.client(one).head(f"/{package}").status for one in SERVERS} == {200}
    site.done("prune", "--yes")
    until(
        "nginx has it open no more", lambda: {site.client(one).head(f"/{package}").status for one in SERVERS} == {404}
    )
    site.must_agree()
    assert {site.offered(one, "panther", "testing") for one in SERVERS} == {kept}
    later = (debian_package("faketime", "faketime"), "+400 days", str(REPOSITORY / "bin/mainstay"))
    assert "set the clock that is wrong" in site.release("prune", "--yes", program=later).stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("publish", "/nowhere"), "is no folder"),
        (("promote", "1", "--from", "testing", "--to", "beta"), "no device has 1 on testing"),
        (("promote", "1", "--from", "factory", "--to", "beta"), "no phone is on 'factory'"),
        (("rollback", "sunfish", "--channel", "stable"), "sunfish is offered nothing on stable"),
        (("rollback", "shiba", "--channel", "stable"), "was offered no other build on stable"),
        (("publish", ".", "--without", "web-1"), "no release server web-1"),
    ],
    ids=lambda one: one[0] if isinstance(one, tuple) else "",
)
def test_bad_input_is_told_and_changes_nothing(site: Publishing, words: tuple[str, ...], told: str) -> None:
    head = site.head()
    ran = site.release(*words)
    assert (ran.returncode, told in ran.stderr) == (2, True), ran.stderr
    must_be_untouched(site, head)
