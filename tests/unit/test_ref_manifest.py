"""The ref manifest says what git says, names what is broken, and is not believed when it is not whole."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from backup.agent.ref_manifest import FILE, read, write
from backup.agent.refs import RefsError

IDENTITY = {f"GIT_{who}_{what}": "x@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def git(repository: Path, *words: str | Path, stdin: str = "") -> str:
    command, environment = ["git", "-C", repository, *words], os.environ | IDENTITY
    done = subprocess.run(command, env=environment, input=stdin.encode(), capture_output=True, check=True)
    return done.stdout.decode(errors="surrogateescape")


def made(repository: Path) -> Path:
    """With packed and loose refs, ones that are both, an annotated tag, a symbolic ref, and names that are bytes."""
    repository.mkdir(parents=True)
    git(repository, "init", "-q", "--bare", "-b", "main", ".")
    commits = [git(repository, "commit-tree", "-m", name, EMPTY).strip() for name in "abc"]
    updates = [f"create refs/changes/{number % 100:02}/{number}/1 {commits[0]}\n" for number in range(120)]
    git(repository, "update-ref", "--stdin", stdin="".join(updates))
    git(repository, "update-ref", "refs/heads/main", commits[0])
    git(repository, "tag", "-a", "-m", "one", "v1", commits[0])
    git(repository, "pack-refs", "--all")
    git(repository, "update-ref", "refs/heads/main", commits[1])
    git(repository, "update-ref", "refs/heads/a-b", commits[1])
    git(repository, "update-ref", "refs/heads/a/b", commits[2])
    git(repository, "update-ref", os.fsdecode(b"refs/heads/caf\xe9"), commits[2])
    git(repository, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/heads/main")
    (repository / "refs/heads/left.lock").touch()
    return repository


EMPTY = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


def test_it_says_what_git_says_in_the_order_that_git_has(tmp_path: Path) -> None:
    names = ("site/git/b c.git", "site/git/a/\udce9\n.git", "site/git/-x.git")
    first = made(tmp_path / names[0])
    for name in names[1:]:
        shutil.copytree(first, tmp_path / name)
    assert write(tmp_path, ["site/git"]) == []
    found = list(read(tmp_path / FILE))
    assert [one.path for one in found] == sorted(names, key=os.fsencode)
    for one in found:
        lines = git(tmp_path / one.path, "for-each-ref", "--format=%(objectname) %(refname) %(symref)").splitlines()
        theirs = {name: f"ref: {target}" if target else value for value, name, target in map(split, lines)}
        assert len(theirs) == 126
        assert list(one.refs.items()) == list(theirs.items())
        assert (one.head, one.why) == ("ref: refs/heads/main", "")
    assert (tmp_path / FILE).read_bytes().count(b"\n") == 2 + 3 * (2 + 126)


def split(line: str) -> list[str]:
    return line.split(" ")


BROKEN = {
    "a line of packed-refs": (
        "packed-refs",
        b"# pack-refs with: sorted \nnonsense\n",
        "packed-refs: is no list of refs",
    ),
    "packed-refs that end early": ("packed-refs", b"1234567890", "packed-refs: is no list of refs"),
    "an empty ref": ("refs/heads/main", b"", "refs/heads/main: is no ref"),
    "a ref of noughts": ("refs/heads/main", b"\0" * 41, "refs/heads/main: is no ref"),
    "an empty HEAD": ("HEAD", b"", "HEAD: is no ref"),
    "no HEAD": ("HEAD", None, "is no repository: lacks HEAD"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_the_broken_one_is_named_and_the_others_are_listed(tmp_path: Path, kind: str) -> None:
    file, content, why = BROKEN[kind]
    first = made(tmp_path / "git/a.git")
    for name in ("b", "c"):
        shutil.copytree(first, tmp_path / f"git/{name}.git", symlinks=True)
    (tmp_path / "git/b.git" / file).unlink()
    if content is not None:
        (tmp_path / "git/b.git" / file).write_bytes(content)
    assert write(tmp_path, ["git"]) == [("git/b.git", why)]
    found = list(read(tmp_path / FILE))
    assert [(one.path, len(one.refs), one.why) for one in found] == [
        ("git/a.git", 126, ""),
        ("git/b.git", 0, why),
        ("git/c.git", 126, ""),
    ]


def test_what_is_elsewhere_is_named(tmp_path: Path) -> None:
    made(tmp_path / "elsewhere.git")
    (tmp_path / "git").mkdir()
    (tmp_path / "git/link.git").symlink_to(tmp_path / "elsewhere.git")
    assert write(tmp_path, ["git"]) == [("git/link.git", "is a link: what it leads to is not saved with it")]


def test_one_that_a_restore_left_is_replaced_and_a_link_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("other")
    (tmp_path / FILE).symlink_to(other)
    (tmp_path / f"{FILE}.fresh").symlink_to(other)
    assert write(tmp_path, []) == []
    assert list(read(tmp_path / FILE)) == []
    assert other.read_text() == "other"
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_what_is_not_whole_or_not_understood_is_not_believed(tmp_path: Path) -> None:
    shutil.copytree(made(tmp_path / "git/a.git"), tmp_path / "git/b.git")
    write(tmp_path, ["git"])
    whole = (tmp_path / FILE).read_bytes()
    lines = whole.splitlines(keepends=True)
    wrong = {
        "another version": whole.replace(b"mainstay-refs 1", b"mainstay-refs 2", 1),
        "nothing": b"",
        "cut at a line": b"".join(lines[:-1]),
        "cut in a line": whole[: len(whole) // 2],
        "a ref less": b"".join(lines[:10] + lines[11:]),
        "more after its end": whole + lines[5],
        "a ref of no repository": b"".join([lines[0], *lines[3:]]),
        "a word": b"".join([*lines[:-1], b"word\n", lines[-1]]),
        "no path": whole.replace(b'"git/a.git"', b"5", 1),
    }
    for what, content in wrong.items():
        (tmp_path / FILE).write_bytes(content)
        with pytest.raises(RefsError):
            assert not list(read(tmp_path / FILE)), what
