"""The ref manifest that is kept is as the refs are, however these were changed; and is not made anew for nothing."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from backup.agent import ref_seen
from backup.agent.ref_manifest import FILE, read
from tests.unit.test_ref_manifest import git, made

TOPS = ("git",)


def listed(root: Path) -> dict[str, dict[str, str]]:
    return {one.path: {"HEAD": one.head, **one.refs} for one in read(root / FILE)}


def run(root: Path) -> list[tuple[str, str]]:
    """As of a snapshot, whose files have the numbers and times of those they are of."""
    return ref_seen.manifest(root, root, TOPS, root / "mark")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in "ab":
        made(tmp_path / f"git/{name}.git")
    assert run(tmp_path) == []
    return tmp_path


def in_place(repository: Path) -> None:
    """Another value of the same length, by one who puts the time back that programs can set."""
    file = repository / "refs/heads/main"
    times = file.stat()
    with file.open("r+") as out:
        out.write(git(repository, "rev-parse", "refs/changes/01/1/1"))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def earlier(repository: Path) -> None:
    """By a host whose clock was set back."""
    git(repository, "update-ref", "refs/heads/main", "refs/heads/a/b")
    os.utime(repository / "refs/heads/main", (0, 0))
    os.utime(repository / "refs/heads", (0, 0))


CHANGES: dict[str, Callable[[Path], object]] = {
    "a value": lambda one: git(one, "update-ref", "refs/heads/main", "refs/heads/a/b"),
    "a value, in place": in_place,
    "a value, by a clock set back": earlier,
    "a new ref": lambda one: git(one, "update-ref", "refs/heads/new/one", "refs/heads/main"),
    "a loose ref less": lambda one: git(one, "update-ref", "-d", "refs/heads/a/b"),
    "a packed ref less": lambda one: git(one, "update-ref", "-d", "refs/changes/05/5/1"),
    "refs packed": lambda one: git(one, "pack-refs", "--all"),
    "HEAD": lambda one: git(one, "symbolic-ref", "HEAD", "refs/heads/a-b"),
    "a repository more": lambda one: made(one.with_name("c.git")),
    "a repository less": lambda one: one.rename(one.parent.parent / "c.git"),
    "another name": lambda one: one.rename(one.with_name("0.git")),
    "the manifest": lambda one: (one.parent.parent / FILE).write_bytes(b"mainstay-refs 1\nend 0 0\n"),
    "no manifest": lambda one: (one.parent.parent / FILE).unlink(),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_was_changed_is_in_it(root: Path, what: str) -> None:
    kept = (root / FILE).stat().st_ctime_ns
    assert run(root) == []
    assert (root / FILE).stat().st_ctime_ns == kept
    CHANGES[what](root / "git/b.git")
    assert run(root) == []
    expected = {}
    for one in sorted((root / "git").iterdir()):
        lines = git(one, "for-each-ref", "--format=%(refname) %(objectname) %(symref)").splitlines()
        refs = {name: f"ref: {target}" if target else value for name, value, target in (x.split(" ") for x in lines)}
        expected[f"git/{one.name}"] = {"HEAD": f"ref: {git(one, 'symbolic-ref', 'HEAD').strip()}", **refs}
    assert listed(root) == expected


def test_a_broken_repository_is_named_each_time(root: Path) -> None:
    (root / "git/b.git/packed-refs").write_text("x")
    (root / "git/link.git").symlink_to(root)
    for _ in range(2):
        assert {path for path, _ in run(root)} == {"git/b.git", "git/link.git"}
    (root / "git/link.git").unlink()
    for _ in range(2):
        assert run(root) == [("git/b.git", "packed-refs: is no list of refs")]


def test_where_nothing_can_be_kept_the_manifest_is_made_all_the_same(root: Path) -> None:
    frozen = root / "frozen"
    made(frozen / "git/a.git")
    nowhere = root / "nowhere"
    assert ref_seen.manifest(nowhere, frozen, TOPS, root / "mark") == []
    assert [*listed(frozen)] == ["git/a.git"]
    assert not (root / "mark").exists()
