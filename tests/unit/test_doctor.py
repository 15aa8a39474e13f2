"""What the doctor finds on a machine and in a clone: real programs, real repositories, and each thing amiss."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from doctor import clone, machine
from doctor.told import State, Told, told, within
from inventories.errors import InputError
from inventories.inventory import CLONE
from roles.control.software import uv
from tests.clones import cloned, commit, git

PROJECT = '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.11"\n'
LOCK = """\
version = 1
requires-python = ">=3.11"

[[package]]
name = "p"
version = "1"
source = { virtual = "." }
"""
MISSING = """
dependencies = [{ name = "absent" }]

[[package]]
name = "absent"
version = "1.0"
source = { registry = "https://registry.example.org/simple" }
wheels = [{ url = "https://registry.example.org/absent-1.0-py3-none-any.whl", hash = "sha256:00" }]
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return cloned(tmp_path, monkeypatch)


def looked(folder: Path) -> dict[str, Told]:
    return {one.check: one for one in clone.look(folder)}


def test_a_fresh_clone_is_well(work: Path) -> None:
    found = looked(work)
    assert [one.state for one in found.values()] == ["ok", "ok", "note"]
    assert found["clone"].says.startswith("main at ")
    assert found["upstream"].says == "as origin/main, not fetched since it was cloned"
    assert found["hooks"].mend == ".venv/bin/pre-commit install"
    (work / ".git/hooks/pre-commit").write_text("#!/bin/sh\n")
    (work / ".git/hooks/pre-commit").chmod(0o755)
    assert looked(work)["hooks"].state is State.OK


def test_what_is_not_committed_is_named(work: Path) -> None:
    (work / "one").write_text("changed")
    for name in ("a b", "two", "three"):
        (work / name).write_text(name)
    tree = looked(work)["clone"]
    assert (tree.state, tree.mend) == (State.NOTE, "git status")
    assert "4 files not as committed: one, a b, three, and 1 more" in tree.says


def test_a_look_writes_nothing(work: Path) -> None:
    os.utime(work / "one")  # git would note that in its index

    def all_of_it() -> dict[Path, tuple[int, bytes]]:
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in work.rglob("*") if path.is_file()}

    before = all_of_it()
    looked(work)
    assert all_of_it() == before


def test_how_a_clone_stands_to_its_upstream_is_told_as_last_fetched(work: Path) -> None:
    origin = work.with_name("origin")
    commit(origin, "two")
    assert looked(work)["upstream"].state is State.OK, "nothing is fetched by a look"
    git(work, "fetch", "-q")
    behind = looked(work)["upstream"]
    assert (behind.state, behind.mend) == (State.WRONG, "git pull --ff-only")
    assert behind.says.startswith("1 commit behind origin/main, fetched ")
    commit(work, "three")
    both = looked(work)["upstream"]
    assert (both.state, both.mend) == (State.WRONG, "git pull --rebase")
    git(work, "rebase", "-q", "origin/main")
    ahead = looked(work)["upstream"]
    assert (ahead.state, ahead.mend) == (State.NOTE, "git push")
    assert "1 commit ahead" in ahead.says


def test_a_branch_of_ones_own_and_no_branch_are_told(work: Path) -> None:
    git(work, "switch", "-q", "-c", "mine")
    assert looked(work)["upstream"].mend == "git branch --set-upstream-to=origin/mine"
    git(work, "switch", "-q", "--detach")
    assert looked(work)["upstream"].mend == "git switch main"


def test_a_merge_that_was_not_finished_is_wrong(work: Path) -> None:
    git(work, "switch", "-q", "-c", "other")
    for branch in ("other", "main"):
        git(work, "switch", "-q", branch)
        (work / "one").write_text(branch)
        git(work, "commit", "-q", "-a", "-m", branch)
    with pytest.raises(subprocess.CalledProcessError):
        git(work, "merge", "other")
    tree = looked(work)["clone"]
    assert tree.state is State.WRONG
    assert "a merge is not finished: one" in tree.says


def test_a_folder_that_is_no_clone_is_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    [only] = told("clone", lambda: clone.look(tmp_path))
    assert only.state is State.WRONG
    assert "not a git repository" in only.says
    assert only.mend.startswith("git clone REPOSITORY")


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Programs of a test's own, before all others or alone."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def make(alone: bool = True, **scripts: str) -> None:
        monkeypatch.setenv("PATH", str(folder) if alone else f"{folder}:{os.environ['PATH']}")
        for name, script in scripts.items():
            (folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name).chmod(0o755)

    return make


def test_the_packages_of_this_clone_are_as_uv_lock_says() -> None:
    [only] = machine.environment(CLONE)
    assert only.state is State.OK, only


@pytest.mark.parametrize(("more", "state"), [("", State.OK), (MISSING, State.WRONG)])
def test_a_package_that_is_missing_is_told(tmp_path: Path, more: str, state: State) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "uv.lock").write_text(LOCK + more)
    subprocess.run([uv(), "venv", "-q", "--python", CLONE / ".venv/bin/python"], cwd=tmp_path, check=True)
    [only] = machine.environment(tmp_path)
    assert only.state is state, only
    if more:
        assert only.mend == "bin/setup"
        assert "Would install 1 package" in only.says or "absent" in only.says


def test_without_uv_nobody_can_tell(tools: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    tools()
    monkeypatch.setenv("XDG_CACHE_HOME", "/nowhere")
    [only] = machine.environment(CLONE)
    assert (only.state, only.mend) == (State.WRONG, "bin/setup")


def test_programs_that_are_missing_are_told_with_their_package(tools: Callable[..., None]) -> None:
    tools()
    found = [*machine.there("rsync", "--version"), *machine.ssh(), *told("restic", machine.restic)]
    assert [one.state for one in found] == [State.WRONG] * 3
    assert [one.mend for one in found][:2] == [
        "as root: apt-get install rsync",
        "as root: apt-get install openssh-client",
    ]
    assert "restic 0.17 or newer" in found[2].mend


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("restic 0.14.0 compiled with go1.19 on linux/amd64", State.WRONG),
        ("restic 0.17.3 compiled with go1.23 on linux/amd64", State.OK),
        ("what is this", State.WRONG),
    ],
)
def test_a_restic_has_to_be_new_enough(
    tools: Callable[..., None], monkeypatch: pytest.MonkeyPatch, said: str, state: State
) -> None:
    monkeypatch.delenv("MAINSTAY_RESTIC", raising=False)
    tools(alone=False, restic=f"echo '{said}'")
    [only] = machine.restic()
    assert only.state is state, only


def test_an_ssh_that_hosts_do_not_agree_with_is_too_old(tools: Callable[..., None]) -> None:
    [here] = machine.ssh()
    assert here.state is State.OK, here
    tools(alone=False, ssh="[ $1 = -V ] && echo OpenSSH_8.4p1 >&2 || echo curve25519-sha256")
    [old] = machine.ssh()
    assert old.state is State.WRONG
    assert old.says == "8.4p1 knows no key exchange that hosts agree to"


def test_git_and_rsync_tell_their_versions() -> None:
    for program in filter(shutil.which, ("git", "rsync")):
        [only] = machine.there(program, "--version")
        assert only.state is State.OK
        assert only.says[0].isdigit(), only


def test_a_check_that_hangs_is_given_up_and_one_that_fails_is_told() -> None:
    begun = time.monotonic()
    with pytest.raises(Exception, match=r"no answer within 0\.2 s"):
        within(threading.Event().wait, 0.2)
    assert time.monotonic() - begun < 5

    def fails() -> list[Told]:
        raise InputError("a.toml", "hosts.x", "is\nnot\x1b[31m right", "mend it\nnow")

    assert [*told("a", fails)] == [Told("a", State.WRONG, "a.toml: hosts.x: is not\\x1b[31m right", "mend it now")]
    with pytest.raises(ZeroDivisionError):
        [*told("a", lambda: [Told("a", State.OK, str(1 // 0))])]
