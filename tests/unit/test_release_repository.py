"""The repositories that publishing commits to, on real ones of this machine."""

import os
import subprocess
from pathlib import Path

import pytest

from roles.release.tools.repository import Behind, Repository, RepositoryError

LINE = "ota/panther/panther-testing"


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def who(monkeypatch: pytest.MonkeyPatch) -> None:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Alice")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "alice@example.org")


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    """Bare, with one commit on a branch that is not called as git would call it."""
    folder = tmp_path / "upstream.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "releases", folder], check=True)
    work = tmp_path / "work"
    subprocess.run(["git", "clone", "-q", folder, work], check=True, capture_output=True)
    (work / "ota/panther").mkdir(parents=True)
    (work / LINE).write_text("1 1 16\n")
    (work / "README").write_text("the truth\n")
    (work / "link").symlink_to("README")
    git(work, "checkout", "-q", "-b", "releases")
    git(work, "add", ".")
    git(work, "commit", "-qm", "first")
    git(work, "push", "-q", "origin", "releases")
    return folder


@pytest.fixture
def repository(upstream: Path, tmp_path: Path) -> Repository:
    return Repository(str(upstream), tmp_path / "cache/metadata.git")


def test_one_commit_is_added_and_pushed(repository: Repository, upstream: Path) -> None:
    first = repository.fetch()
    assert repository.files(first) == {LINE: b"1 1 16\n", "README": b"the truth\n"}
    assert repository.files(first, "ota/") == {LINE: b"1 1 16\n"}
    made = repository.commit(first, {LINE: b"2 2 16\n", "ota/shiba/shiba-testing": b"", "README": None}, "panther: 2")
    assert repository.fetch() == first
    repository.push(made)
    assert git(upstream, "rev-parse", "releases", "releases~") == f"{made}\n{first}"
    assert git(upstream, "log", "-1", "--format=%an %s") == "Alice panther: 2"
    assert repository.files(repository.fetch()) == {LINE: b"2 2 16\n", "ota/shiba/shiba-testing": b""}


def test_what_changes_nothing_is_no_commit(repository: Repository) -> None:
    first = repository.fetch()
    assert repository.commit(first, {LINE: b"1 1 16\n"}, "again") == first


def test_who_pushed_meanwhile_is_not_overrun(repository: Repository, upstream: Path, tmp_path: Path) -> None:
    first = repository.fetch()
    mine = repository.commit(first, {LINE: b"2 2 16\n"}, "mine")
    other = Repository(str(upstream), tmp_path / "other.git")
    theirs = other.commit(other.fetch(), {LINE: b"3 3 16\n"}, "theirs")
    other.push(theirs)
    with pytest.raises(Behind, match=theirs[:10]):
        repository.push(mine)
    assert git(upstream, "rev-parse", "releases") == theirs


def test_a_push_whose_answer_was_lost_has_taken_place(repository: Repository, upstream: Path) -> None:
    made = repository.commit(repository.fetch(), {LINE: b"2 2 16\n"}, "mine")
    hook = upstream / "hooks/post-receive"
    hook.write_text("#!/bin/sh\nkill -9 $PPID\n")
    hook.chmod(0o755)
    repository.push(made)
    assert git(upstream, "rev-parse", "releases") == made


def test_a_push_that_is_refused_is_told_in_gits_words(repository: Repository, upstream: Path) -> None:
    made = repository.commit(repository.fetch(), {LINE: b"2 2 16\n"}, "mine")
    hook = upstream / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho not on a Sunday\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(RepositoryError, match="not on a Sunday"):
        repository.push(made)


def test_one_that_is_not_there_or_empty_says_so(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="nowhere"):
        Repository(str(tmp_path / "nowhere"), tmp_path / "cache").fetch()
    empty = tmp_path / "empty.git"
    subprocess.run(["git", "init", "-q", "--bare", empty], check=True, env=os.environ)
    with pytest.raises(RepositoryError, match="push a first one by hand"):
        Repository(str(empty), tmp_path / "other").fetch()
