"""What a restore of one repository takes for a name, what it makes of what came out of a backup, and who reads it."""

import subprocess
from datetime import date
from pathlib import Path

import pytest

from backup.agent import ref_manifest
from roles.gerrit.tools import restore_names as names
from roles.gerrit.tools.restore_copy import NotRestored, head, listed, prepared

REF = "refs/changes/45/12345/meta"


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", " a", "a ", "a\n", "..", "a/../b", "../a", ".", "a/./b", "/a", "a/", "a//b", "-a", "a/-b"),
        *("a.git", "a.git/b", "A.GIT", "a%2Fb", "a%", "a\\b", "a:b", "a?b", "a*", 'a"b', "a<b", "a|b", "~a", "a#b"),
        *("a\0b", "a\x1bb", "\udce9", "a.lock"),
    ],
)
def test_hostile_names_of_projects_are_refused(name: str) -> None:
    assert names.project(name)


@pytest.mark.parametrize("name", ["a", "device/some thing", "a.b/c-d_e+f@g", "All-Projects", ".hidden", "größe", "a'b"])
def test_names_that_gerrit_takes_are_taken(name: str) -> None:
    assert not names.project(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "main",
            "heads/main",
            "refs/x",
            "refs/heads/",
            "refs//a",
            "refs/heads/-a",
            "refs/heads/a..b",
            "refs/a/.b",
        ),
        *("refs/heads/a b", "refs/heads/a:refs/heads/b", "+refs/heads/a", "refs/heads/*", "refs/heads/a.lock"),
        *("refs/heads/a^", "refs/heads/a@{1}", "refs/heads/a\n", "refs/restored/changes/45/12345/meta", "HEAD"),
    ],
)
def test_what_is_no_whole_name_of_a_ref_is_refused(name: str) -> None:
    assert names.ref(name)


def test_what_gerrit_would_read_as_more_than_a_branch_is_kept_apart() -> None:
    for name in ("refs/heads/main", "refs/tags/v1"):
        assert (names.ref(name), names.kept_as(name)) == ("", name)
    for name in (REF, "refs/meta/config", "refs/users/01/1000001"):
        assert names.kept_as(name) == name.replace("refs/", "refs/restored/", 1)
    assert names.default("a/b", date(2026, 11, 27)) == "a/b-restored-2026-11-27"
    assert (names.change_of(REF), names.change_of("refs/changes/45/12345/3")) == (12345, 12345)
    assert {names.change_of(one) for one in ("refs/changes/46/12345/1", "refs/heads/45", REF + "x")} == {None}


def rules(*groups: str) -> dict[str, object]:
    return {"rules": {group: {"action": "ALLOW", "force": False} for group in groups}}


def test_administrators_alone_read_it_whatever_its_parent_lets_others_read() -> None:
    everybody = rules("global:Anonymous-Users")
    local = {
        "GLOBAL_CAPABILITIES": {"permissions": {"administrateServer": rules("admins"), "priority": rules("bots")}},
        "refs/*": {"permissions": {"read": everybody}},
        "refs/heads/main": {"permissions": {"read": everybody}},
        "^refs/heads/[a-z]+": {"permissions": {"owner": everybody}},
        "refs/for/*": {"permissions": {"push": everybody}},
    }
    assert names.administrators({"local": local}) == ["admins"]
    added = names.readable_by(["admins"], [{"local": local}])["add"]
    assert [*added] == ["^refs/heads/[a-z]+", "refs/*", "refs/heads/main"]
    for section in added.values():
        assert section == {"permissions": {"read": {"exclusive": True} | rules("admins")}}
    assert [*names.readable_by(["admins"], [{}])["add"]] == ["refs/*"]


def git(*words: str | Path) -> str:
    identity = ["-c", "user.name=Alice", "-c", "user.email=alice@example.org"]
    return subprocess.run(["git", *identity, *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def restored(tmp_path: Path) -> Path:
    """As it came out of a backup, with a manifest; what is in it would name commands, and borrow objects."""
    work, bare = tmp_path / "work", tmp_path / "git/a.git"
    git("init", "-q", "-b", "main", work)
    (work / "file").write_text("a file")
    git("-C", work, "add", "file")
    git("-C", work, "commit", "-q", "-m", "one")
    git("clone", "-q", "--bare", work, bare)
    for name in (REF, "refs/meta/config", "refs/tags/v1"):
        git("-C", bare, "update-ref", name, "refs/heads/main")
    (bare / "objects/info/alternates").write_text(f"{work}/.git/objects\n")
    (bare / "config").write_text(f"[core]\n\tfsmonitor = touch {tmp_path}/ran\n\trepositoryformatversion = 0\n")
    assert ref_manifest.write(tmp_path, ["git"]) == []
    return bare


def test_of_what_came_back_objects_and_refs_are_taken_and_nothing_else(restored: Path, tmp_path: Path) -> None:
    said = listed(tmp_path / ref_manifest.FILE, "git/a.git")
    taken = prepared(restored, said, [], tmp_path / "made.git")
    assert sorted(taken) == [
        "refs/heads/main",
        "refs/restored/changes/45/12345/meta",
        "refs/restored/meta/config",
        "refs/tags/v1",
    ]
    assert git("-C", tmp_path / "made.git", "for-each-ref", "--format=%(refname)").splitlines() == sorted(taken)
    assert not (tmp_path / "made.git/objects/info/alternates").exists()
    assert "fsmonitor" not in (tmp_path / "made.git/config").read_text()
    assert head(restored) == "refs/heads/main"
    assert not (tmp_path / "ran").exists()


def test_what_is_not_as_the_manifest_says_is_refused(restored: Path, tmp_path: Path) -> None:
    manifest, made = tmp_path / ref_manifest.FILE, tmp_path / "made.git"
    with pytest.raises(NotRestored, match=r"knows nothing of git/b\.git"):
        listed(manifest, "git/b.git")
    said = listed(manifest, "git/a.git")
    with pytest.raises(NotRestored, match="the backup has no refs/heads/x"):
        prepared(restored, said, ["refs/heads/main", "refs/heads/x"], made)
    git("-C", restored, "update-ref", "-d", REF)
    with pytest.raises(NotRestored, match=f"it has not the refs that its manifest has: {REF}; 1 in all"):
        prepared(restored, said, [], made)
    assert listed(tmp_path / "none", "git/a.git") is None
    (restored / "packed-refs").write_text("x")
    ref_manifest.write(tmp_path, ["git"])
    with pytest.raises(NotRestored, match="it was broken when it was saved: packed-refs"):
        prepared(restored, listed(manifest, "git/a.git"), [], made)


def test_a_repository_that_lacks_an_object_is_refused(restored: Path, tmp_path: Path) -> None:
    blob = git("-C", restored, "rev-parse", "refs/heads/main:file")
    path = restored / f"objects/{blob[:2]}/{blob[2:]}"
    if not path.exists():
        pytest.fail("git clone packs by now: unpack first")
    path.unlink()
    with pytest.raises(NotRestored, match=f"rev-list.*{blob}"):
        prepared(restored, listed(tmp_path / ref_manifest.FILE, "git/a.git"), [], tmp_path / "made.git")
