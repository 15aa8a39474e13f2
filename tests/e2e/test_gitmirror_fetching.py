"""The program that fetches a mirror's repositories, from a real git server by https."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.go import debian_package
from roles.gitmirror.fetching import gone, told
from tests.git_server import Forge, forge, git
from tests.mirroring import Mirror, listing

NAMES = ["kernel", "platform/build", "platform/build/soong", "tools"]


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Forge]:
    with listing(tmp_path, NAMES) as made:
        assert made.projects
        made.projects.append("All-Projects")
        yield made


@pytest.fixture
def mirror(tmp_path: Path, source: Forge) -> Mirror:
    return Mirror(tmp_path / "mirror", source, {"exclude": ["All-Projects"]})


def test_all_that_is_listed_is_mirrored_and_what_changed_is_fetched(mirror: Mirror, source: Forge) -> None:
    git(source.folder("tools"), "branch", "side", "main")
    git(source.folder("tools"), "tag", "-a", "-m", "one", "v1", "main")
    git(source.folder("tools"), "update-ref", "refs/changes/01/1/1", "main")
    said = mirror.well()
    assert mirror.names() == NAMES
    assert mirror.agrees(*NAMES)
    assert "refs/changes/01/1/1" not in mirror.refs("tools", "refs")
    assert said.endswith("4 repositories, 4 changed, 0 failed, 0 gone from the source; " + said.rsplit("; ", 1)[1])
    source.make("kernel", {"b": "more\n"}, "two")
    git(source.folder("tools"), "branch", "-D", "side")
    git(source.folder("tools"), "branch", "side/one", "main")
    git(source.folder("tools"), "symbolic-ref", "HEAD", "refs/heads/side/one")
    said = mirror.well()
    assert "kernel: 1 of 1 refs changed" in said
    assert mirror.status["changed"] == 2
    assert mirror.agrees(*NAMES)
    mirror.well(refs=["refs/heads/", "refs/changes/"])
    assert {*mirror.refs("tools", "refs")} - {*mirror.refs("tools", "refs/kept")} == {
        *("refs/heads/main", "refs/heads/side/one", "refs/changes/01/1/1")
    }


def test_what_has_not_changed_costs_one_request_and_no_git(mirror: Mirror, source: Forge) -> None:
    mirror.well()
    source.asked.clear()
    before = {path: path.stat().st_mtime_ns for path in (mirror.folder / "public").rglob("*")}
    mirror.well()
    assert sorted(source.asked) == sorted(
        [
            *("GET /projects/?n=500&S=0 HTTP/1.1", "GET /projects/?n=500&S=5 HTTP/1.1"),
            *(f"POST /{name}/git-upload-pack HTTP/1.1" for name in NAMES),
        ]
    )
    assert {path: path.stat().st_mtime_ns for path in (mirror.folder / "public").rglob("*")} == before


def test_a_list_of_more_than_one_page_is_read_to_its_end(mirror: Mirror, source: Forge) -> None:
    source.projects = [*NAMES, *(f"gone/{number:04}" for number in range(1100))]
    mirror.well(exclude=["gone/*"])
    assert sum("/projects/" in line for line in source.asked) == 4
    assert mirror.names() == NAMES


def test_a_server_without_protocol_2_is_mirrored_too(mirror: Mirror, source: Forge) -> None:
    source.is_old = True
    mirror.well()
    assert mirror.agrees(*NAMES)
    assert "0 changed" in mirror.well()
    source.make("kernel", {"b": "more\n"}, "two")
    mirror.well()
    assert mirror.agrees(*NAMES)


def test_what_is_deleted_or_rewritten_goes_and_its_objects_stay_for_a_while(mirror: Mirror, source: Forge) -> None:
    bare = source.folder("kernel")
    lost = source.make("kernel", {"b": "lost\n"}, "two")
    git(bare, "tag", "-a", "-m", "one", "v1", "main")
    tag = git(bare, "rev-parse", "v1")
    git(bare, "branch", "side", "main")
    mirror.well()
    git(bare, "update-ref", "refs/heads/main", "main^")
    git(bare, "branch", "-D", "side")
    git(bare, "tag", "-d", "v1")
    fresh = source.make("kernel", {"c": "instead\n"}, "three")
    mirror.well()
    place = mirror.place("kernel")
    assert mirror.refs("kernel") == {"refs/heads/main": fresh}
    kept = mirror.refs("kernel", "refs/kept")
    assert {name.split("/", 3)[3]: tip for name, tip in kept.items()} == {
        **{"heads/main": lost, "heads/side": lost},
        "tags/v1": tag,
    }
    git(place, "gc", "-q", "--prune=now")
    assert git(place, "cat-file", "-t", lost) == "commit"
    for name, tip in kept.items():  # a month later
        git(place, "update-ref", name.replace(name.split("/")[2], "20200101T000000Z"), tip)
        git(place, "update-ref", "-d", name)
    source.make("kernel", {"d": "and on\n"}, "four")
    mirror.well()
    assert mirror.refs("kernel", "refs/kept") == {}


def test_a_repository_that_is_broken_stops_no_other_and_is_named(mirror: Mirror, source: Forge) -> None:
    mirror.well()
    for name in NAMES:
        source.make(name, {"b": "more\n"}, "two")
    source.broken.add("kernel")
    source.private.add("tools")
    before = mirror.refs("kernel")
    code, said = mirror.run()
    assert code == 1
    assert "FAILED kernel: git fetch: " in said
    assert "FAILED tools: status 401" in said
    assert mirror.agrees("platform/build", "platform/build/soong")
    assert mirror.refs("kernel") == before
    assert {*mirror.status["failed"]} == {"kernel", "tools"}
    metrics = (mirror.folder / "metrics/mainstay-gitmirror.prom").read_text()
    assert "mainstay_gitmirror_failed 2\n" in metrics
    assert {*told.HELP} == {line.split()[0] for line in metrics.splitlines() if line[0] != "#"}
    source.broken.clear()
    source.private.clear()
    mirror.well()
    assert mirror.agrees(*NAMES)


def test_one_that_takes_too_long_is_ended_and_named(mirror: Mirror, source: Forge) -> None:
    mirror.well()
    source.make("kernel", {"b": "more\n"}, "two")
    code, said = mirror.run(fetch_minutes=0.001)
    assert code == 1
    assert "FAILED kernel: git fetch: not done within 0.06 s" in said
    mirror.well()
    assert mirror.agrees(*NAMES)


def test_an_emptied_repository_empties_no_mirror(mirror: Mirror, source: Forge) -> None:
    mirror.well()
    before = mirror.refs("kernel")
    git(source.folder("kernel"), "update-ref", "-d", "refs/heads/main")
    code, said = mirror.run()
    assert code == 1
    assert "FAILED kernel: it has no branches and tags any more" in said
    assert mirror.refs("kernel") == before


@pytest.mark.full
def test_one_that_is_gone_is_kept_for_days_and_told_of_twice(mirror: Mirror, source: Forge) -> None:
    mirror.well()
    assert source.projects
    source.projects.remove("platform/build/soong")
    code, said = mirror.run()
    assert code == 1
    assert "platform/build/soong: gone from the source; it stays here until" in said
    assert "platform/build/soong" in mirror.names()
    mirror.well()
    assert {*mirror.status["gone"]} == {"platform/build/soong"}
    source.projects.append("platform/build/soong")
    mirror.well()
    assert mirror.status["gone"] == {}
    source.projects.remove("platform/build/soong")
    mirror.run()
    os.utime(mirror.place("platform/build/soong") / gone.GONE, (0, 0))
    code, said = mirror.run()
    assert code == 1
    assert "platform/build/soong: removed; it had been gone from the source since 1970-01-01" in said
    assert mirror.names() == [name for name in NAMES if name != "platform/build/soong"]
    assert not mirror.place("platform/build/soong").parent.exists()
    assert "0 gone" in mirror.well()


@pytest.mark.parametrize("listed", [[], ["tools"], ["tools", "kernel"]])
def test_a_source_that_lists_far_fewer_removes_nothing(mirror: Mirror, source: Forge, listed: list[str]) -> None:
    mirror.well()
    source.projects = listed
    os.utime(mirror.place("kernel"))
    (mirror.place("kernel") / gone.GONE).touch()
    os.utime(mirror.place("kernel") / gone.GONE, (0, 0))
    source.make("tools", {"b": "more\n"}, "two")
    code, said = mirror.run()
    assert code == 1
    assert "FAILED: " in said
    assert ("it lists no repositories" in said) == (not listed)
    assert mirror.names() == NAMES
    assert not (mirror.place("platform/build") / gone.GONE).exists()
    assert "mainstay_gitmirror_problem 1\n" in (mirror.folder / "metrics/mainstay-gitmirror.prom").read_text()
    if listed:
        assert mirror.agrees("tools")


HOSTILE = [
    *("../outside", "a/../../outside", "/etc/outside", "-oProxyCommand", "a/-b", "a//b", ".", "..", ".hidden", ""),
    *("tools.git", "tools.git/objects", "a.GIT/hooks", "a/.git/hooks", "a.lock", "a\nb", "a\\b", "a b", "x" * 300),
    *("ä", "a\x1b[2J", "$(touch x)", "%2e%2e/x"),
]


def test_no_name_leads_out_of_the_folder_and_none_hides_another(mirror: Mirror, source: Forge) -> None:
    source.projects = [*NAMES, *HOSTILE, "Kernel", "PLATFORM/build"]
    mirror.well(include=NAMES)
    outside = sorted(path for path in mirror.folder.parent.rglob("*") if mirror.folder not in path.parents)
    source.asked.clear()
    code, said = mirror.run()
    assert code == 1
    assert {*mirror.status["failed"]} == {*HOSTILE, "Kernel", "PLATFORM/build"}
    assert "\x1b" not in said
    assert mirror.names() == NAMES
    assert len(source.asked) == 2 + len(NAMES)
    assert sorted(path for path in mirror.folder.parent.rglob("*") if mirror.folder not in path.parents) == outside
    assert mirror.agrees(*NAMES)


def test_only_https_is_asked_and_only_who_is_known(mirror: Mirror, source: Forge) -> None:
    code, said = mirror.run(source=source.url.replace("https", "http"))
    assert (code, "only https" in said) == (2, True)
    code, said = mirror.run(authority="")
    assert code == 3
    assert "CERTIFICATE_VERIFY_FAILED" in said
    assert mirror.names() == []
    assert source.asked == []


def test_nothing_is_followed_that_leads_elsewhere(mirror: Mirror, source: Forge, tmp_path: Path) -> None:
    """Neither by what lists, nor by what asks for refs, nor by git's fetch."""
    (tmp_path / "other").mkdir()
    with forge(tmp_path / "other", source.authority) as other:
        for name in NAMES:
            other.make(name, {"a": "of somebody else\n"})
        source.leads = {"info/refs": other.url}
        code, said = mirror.run()
        assert (code, said.count("unable to update url base from redirection")) == (1, 0), said
        assert len(mirror.status["failed"]) == len(NAMES)
        source.leads = {"git-upload-pack": other.url}
        assert mirror.run()[0] == 1
        assert {*mirror.status["failed"].values()} == {"status 307"}
        source.leads = {"projects": other.url}
        assert mirror.run()[0] == 1
        assert other.asked == []
    assert mirror.names() == []


def test_a_source_that_does_not_answer_is_said_to_be_unreachable(mirror: Mirror, source: Forge) -> None:
    mirror.well()
    complete = mirror.status["complete"]
    source.busy = True
    code, said = mirror.run()
    assert code == 3
    assert "is not reached: status 503" in said
    assert mirror.names() == NAMES
    assert mirror.status["complete"] == complete


def test_a_source_that_goes_away_on_the_way_is_not_waited_for_again_and_again(mirror: Mirror, source: Forge) -> None:
    source.projects = [f"away/{number:02}" for number in range(60)]
    source.away = True
    code, _ = mirror.run(parallel=2)
    assert code == 1
    assert len(mirror.status["failed"]) == 60
    assert sum("away" in line for line in source.asked) < 20


def test_a_client_of_lfs_goes_where_a_mirror_leads_it(source: Forge, tmp_path: Path) -> None:
    """By 307, as nginx answers (tests/roles/test_gitmirror.py): all but the files of LFS comes from the mirror."""
    program = Path(debian_package("git-lfs", "git-lfs"))
    root = tmp_path / "mirror"
    root.mkdir()
    assert source.authority
    with forge(root, source.authority) as mirror:
        files = {"big": source.store(b"x" * 5000), ".gitattributes": "big filter=lfs diff=lfs merge=lfs -text\n"}
        mirror.make("tools", files)
        mirror.leads = {"objects/batch": source.url}
        environment = os.environ | {
            **{"PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)},
            **{"GIT_CONFIG_GLOBAL": str(tmp_path / "config"), "GIT_SSL_CAINFO": str(source.authority)},
        }
        for words in (("lfs", "install"), ("clone", "-q", f"{mirror.url}/tools", "copy")):
            done = subprocess.run(["git", *words], env=environment, cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        assert (tmp_path / "copy/big").read_bytes() == b"x" * 5000
        assert not [line for line in mirror.asked if "/lfs/" in line and "batch" not in line]
