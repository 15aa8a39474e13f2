"""What the agent saves is of one instant, and what it does for that is put back, whatever happened."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backup.agent import refs
from cloud.converge import REPOSITORY
from tests.agents import Agent
from tests.restics import restic
from tests.waiting import until

WRITER = "i=0; while :; do i=$((i+1)); echo $i >a.new; mv a.new a; echo $i >b.new; mv b.new b; done"
PUSHER = """
i=0
while :; do
  i=$((i+1)); n=$((i%REPOSITORIES))
  git -C work commit -q --allow-empty -m $i && git -C work push -q ../source/$n.git HEAD:refs/heads/b$i HEAD:main
  echo $i >>pushed
done
"""
REPOSITORIES = 4


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(tmp_path / "agent")


def slow(folder: Path, prefix: str) -> None:
    """Files that restic, which reads in the order of names and two files at a time, takes a while for."""
    for number in range(6):
        (folder / f"{prefix}{number}").write_bytes(os.urandom(15_000_000))


@contextmanager
def at_work(script: str, cwd: Path) -> Iterator[None]:
    process = subprocess.Popen(["sh", "-c", script], cwd=cwd, process_group=0)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("is_link", [False, True], ids=["folder", "link"])
def test_what_is_replaced_while_it_is_read_is_saved_once_more(agent: Agent, tmp_path: Path, is_link: bool) -> None:
    """As a release server's metadata is, a folder, and a website, a link."""
    root, done = tmp_path / "source", tmp_path / "done"
    for name in ("old", "new"):
        (root / name).mkdir(parents=True)
        (root / name / "line").write_text(name)
    served, coming = root / "served", root / "coming"
    for path, name in ((served, "old"), (coming, "new")):
        if is_link:
            path.symlink_to(name)
        else:
            (root / name).rename(path)
    program = agent.folder / "bin/restic"
    program.unlink()
    switch = tmp_path / "switch.py"
    switch.write_text(
        f"import sys\nfrom pathlib import Path\nsys.path.insert(0, {str(REPOSITORY)!r})\n"
        "from roles.common.publishing.on_server import exchange\n"
        f"exchange(Path({str(served)!r}), Path({str(coming)!r}))\n"
    )
    once = f"[ -e {done} ] || {{ touch {done}; {sys.executable} {switch}; }}"
    program.write_text(f'#!/bin/sh\n[ "$1" != backup ] || {once}\nexec {restic()} "$@"\n')
    program.chmod(0o755)
    agent.plan(root, paths=["served", *(["old", "new"] if is_link else [])])
    assert "served was replaced while it was read: saving once more" in agent("run", "data")
    first, last = [entry for entry in agent.entries() if entry.outcome != "started"]
    assert (first.outcome, first.unread) == ("incomplete", ((str(served), "was replaced while it was read"),))
    assert last.outcome == "ok"
    agent("restore", "data", "--to", str(tmp_path / "back"))
    assert (tmp_path / "back/served/line").read_text() == "new"
    agent("run", "data")
    assert [entry.outcome for entry in agent.entries()][-2:] == ["started", "ok"]


def snapshots_in(volume: Path) -> list[str]:
    words = ["btrfs", "subvolume", "list", str(volume)]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line.split(" path ")[1] for line in lines]


@pytest.mark.lab
@pytest.mark.parametrize("place", [".", "site", "folder/site"])
def test_btrfs_all_is_of_one_instant_and_nothing_is_left(
    agent: Agent, volume: Path, tmp_path: Path, place: str
) -> None:
    """b is never ahead of a, nor more than one behind, at any instant; what is slow lies between them."""
    root = volume / place
    if place == "site":
        subprocess.run(["btrfs", "-q", "subvolume", "create", root], check=True)
    root.mkdir(parents=True, exist_ok=True)
    slow(root, "a-")
    before = snapshots_in(volume)
    agent.plan(root, consistency="btrfs")
    with at_work(WRITER, root):
        until("both files", (root / "b").exists)
        agent("run", "data")
    assert snapshots_in(volume) == before
    agent("verify", "data")
    agent("restore", "data", "--to", str(tmp_path / "back"))
    first, second = (int((tmp_path / "back" / name).read_text()) for name in "ab")
    assert first - second in (0, 1)
    assert not list((tmp_path / "back").glob(".mainstay*"))


@pytest.mark.lab
def test_btrfs_a_killed_run_leaves_a_snapshot_and_the_next_removes_it(agent: Agent, volume: Path) -> None:
    (volume / "small").write_text("small")
    agent.plan(volume, consistency="btrfs")
    agent("run", "data")
    (volume / "large").write_bytes(os.urandom(100_000_000))
    snapshot = volume / ".mainstay-snapshot-data"
    run = agent.begin("run", "data")
    until("the snapshot", snapshot.exists)
    run.kill()
    run.wait()
    assert snapshot.exists()
    agent("settle", "data")
    assert snapshots_in(volume) == []
    subprocess.run(["btrfs", "-q", "subvolume", "snapshot", "-r", volume, snapshot], check=True)
    assert "removed the snapshot of an earlier run" in agent("run", "data")
    assert snapshots_in(volume) == []
    run = agent.begin("run", "data")
    until("the snapshot", snapshot.exists)
    run.send_signal(signal.SIGINT)
    assert run.wait() == 130
    assert snapshots_in(volume) == []
    assert agent.last.outcome == "interrupted"


@pytest.mark.lab
def test_btrfs_what_a_snapshot_would_leave_out_is_told(agent: Agent, volume: Path, tmp_path: Path) -> None:
    (volume / "data").mkdir()
    nested = volume / "data/nested"
    subprocess.run(["btrfs", "-q", "subvolume", "create", nested], check=True)
    agent.plan(volume, consistency="btrfs")
    assert f"{nested}: a file system or subvolume of its own" in agent("run", "data", code=1)
    agent.plan(volume, consistency="btrfs", exclude=["/data/nested"])
    agent("run", "data")
    (tmp_path / "plain").mkdir()
    agent.plan(tmp_path / "plain", consistency="btrfs")
    assert "is not on btrfs" in agent("run", "data", code=1)


def git(*words: str | Path) -> str:
    identity = ["-c", "user.name=Alice", "-c", "user.email=alice@example.org"]
    return subprocess.run(["git", *identity, *words], check=True, capture_output=True, text=True).stdout.strip()


def test_refs_repositories_that_are_pushed_to_come_back_whole(agent: Agent, tmp_path: Path) -> None:
    root = tmp_path / "source"
    root.mkdir()
    for number in range(REPOSITORIES):
        git("init", "-q", "--bare", "-b", "main", root / f"{number}.git")
        slow(root / f"{number}.git", "p-between-objects-and-refs-")
    work = tmp_path / "work"
    git("init", "-q", "-b", "main", work)
    for key, value in (("user.name", "Alice"), ("user.email", "alice@example.org")):
        git("-C", work, "config", key, value)
    agent.plan(root, consistency="refs")
    pushed = tmp_path / "pushed"
    with at_work(PUSHER.replace("REPOSITORIES", str(REPOSITORIES)), tmp_path):
        until("pushes", lambda: pushed.exists() and len(pushed.read_text().split()) > 2 * REPOSITORIES)
        acknowledged = len(pushed.read_text().split())
        agent("run", "data")
    back = tmp_path / "back"
    said = agent("restore", "data", "--to", str(back))
    assert f"{REPOSITORIES} repositories got the refs" in said
    found = set()
    for number in range(REPOSITORIES):
        repository = back / f"{number}.git"
        git("-C", repository, "fsck", "--strict", "--no-dangling")
        git("-C", repository, "rev-list", "--objects", "--all", "--quiet")
        found |= set(git("-C", repository, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/b*").split())
        git("-C", work, "push", "-q", repository, "HEAD:refs/heads/pushed-to-the-restored")
    assert found >= {f"b{number}" for number in range(1, acknowledged + 1)}
    assert not list(back.glob(".mainstay*"))
    agent("restore", "data", "--to", str(tmp_path / "one"), "--include", "3.git")
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["3.git"]
    git("-C", tmp_path / "one/3.git", "fsck", "--strict")


def test_refs_what_was_saved_by_an_earlier_plan_comes_back_as_it_was(agent: Agent, tmp_path: Path) -> None:
    root = tmp_path / "source"
    git("init", "-q", "--bare", root / "a.git")
    agent.plan(root)
    agent("run", "data")
    agent.plan(root, consistency="refs")
    assert "has no list of refs" in agent("restore", "data", "--to", str(tmp_path / "back"))
    assert (tmp_path / "back/a.git/HEAD").read_text() == (root / "a.git/HEAD").read_text()


def test_refs_a_repository_that_borrows_objects_from_elsewhere_is_not_complete(agent: Agent, tmp_path: Path) -> None:
    """It would come back without them; one that borrows from what is saved too is whole."""
    root = tmp_path / "source"
    for name in ("source/lender.git", "elsewhere.git"):
        git("init", "-q", "-b", "main", tmp_path / name)
        git("-C", tmp_path / name, "commit", "-q", "--allow-empty", "-m", "one")
    agent.plan(root, consistency="refs")
    git("clone", "-q", "--bare", "--shared", root / "lender.git", root / "good.git")
    agent("run", "data")
    git("clone", "-q", "--bare", "--shared", tmp_path / "elsewhere.git", root / "bad.git")
    said = agent("run", "data", code=3)
    assert (
        f"{root}/bad.git: needs objects in {tmp_path}/elsewhere.git/.git/objects, which are not saved with it" in said
    )
    assert (agent.last.outcome, agent.last.unread_count) == ("incomplete", 1)
    agent("restore", "data", "--to", str(tmp_path / "back"))


def test_names_of_files_do_not_steer_a_terminal(agent: Agent, tmp_path: Path) -> None:
    root = tmp_path / "source"
    (root / "\x1b[2J\r/.git/reftable").mkdir(parents=True)
    git("init", "-q", root / "\x1b[2J\r")
    agent.plan(root, consistency="refs")
    said = agent("run", "data", code=1)
    said += agent("status", code=1)
    assert said.count(r"\x1b[2J\r/.git: keeps its refs as reftable") == 2
    assert not {"\x1b", "\r"} & {*said}


def test_refs_git_collects_no_garbage_meanwhile(tmp_path: Path) -> None:
    git("init", "-q", "--bare", tmp_path / "a.git")
    gc = ["git", "-C", str(tmp_path / "a.git"), "gc", "--prune=now"]
    with refs.no_gc(tmp_path, ["."]):
        refused = subprocess.run(gc, capture_output=True, text=True, check=False)
        assert refused.returncode
        assert "gc is already running" in refused.stderr
    subprocess.run(gc, check=True, capture_output=True)
    dead = subprocess.Popen(["true"])
    dead.wait()
    (tmp_path / "a.git/gc.pid").write_text(f"{dead.pid} {os.uname().nodename}")
    with refs.no_gc(tmp_path, ["."]):
        assert (tmp_path / "a.git/gc.pid").read_text().startswith(f"{os.getpid()} ")
    assert not (tmp_path / "a.git/gc.pid").exists()


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that other users can enter, unlike tmp_path."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


def test_refs_git_of_another_user_collects_none_either(open_to_all: Path) -> None:
    """The mirrors of a control host: the agent is root, and its unit's umask 077."""
    mirror = open_to_all / "a.git"
    git("init", "-q", "--bare", mirror)
    subprocess.run(["chown", "-R", "65534:65534", mirror], check=True)
    gc = ["git", "-C", str(mirror), "gc", "--prune=now"]
    before = os.umask(0o077)
    try:
        with refs.no_gc(open_to_all, ["."]):
            refused = subprocess.run(gc, capture_output=True, text=True, check=False, user=65534, group=65534, env={})
    finally:
        os.umask(before)
    assert "gc is already running" in refused.stderr
    assert refused.returncode


def test_refs_a_gc_that_is_at_it_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git("init", "-q", "--bare", tmp_path / "a.git")
    lock = tmp_path / "a.git/gc.pid"
    with at_work("exec sleep 600", tmp_path):
        [sleeper] = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()[-1:]
        lock.write_text(f"{sleeper} {os.uname().nodename}")
        monkeypatch.setattr(refs, "GC_PATIENCE_S", 0)
        with pytest.raises(refs.RefsError, match=f"git gc is at it .process {sleeper}"), refs.no_gc(tmp_path, ["."]):
            """Not reached."""
        assert lock.read_text().startswith(sleeper)


def test_a_commands_output_is_saved_and_a_failed_ones_is_not(agent: Agent, tmp_path: Path) -> None:
    agent.plan(tmp_path, consistency="command", command=["sh", "-c", "echo a dump"])
    agent("run", "data")
    agent("verify", "data")
    agent("restore", "data", "--to", str(tmp_path / "back"))
    assert (tmp_path / "back/data.out").read_text() == "a dump\n"
    agent.plan(tmp_path, consistency="command", command=["sh", "-c", "echo half; exit 3"])
    assert "exit status 3" in agent("run", "data", code=1)
    assert agent.last.snapshot == ""
    assert len(agent.restic.snapshots()) == 1
    agent.plan(tmp_path, consistency="command", command=["true"])
    agent("run", "data", code=3)
    assert "what the command said is empty" in agent("verify", "data", code=1)


def steps(tmp_path: Path, *, before: str = "", after: str = "") -> dict[str, list[list[str]]]:
    """A service that is stopped before and started after."""
    down = tmp_path / "down"
    return {
        "before": [["touch", str(down)], ["sh", "-c", f"true; {before}"]],
        "after": [["sh", "-c", f"true; {after}"], ["rm", str(down)]],
    }


def test_what_runs_after_runs_whatever_happened(agent: Agent, tmp_path: Path) -> None:
    root, down = tmp_path / "source", tmp_path / "down"
    root.mkdir()
    (root / "large").write_bytes(os.urandom(100_000_000))
    agent.plan(root, **steps(tmp_path))
    agent("run", "data")
    assert not down.exists()
    agent.plan(root, **steps(tmp_path, before="echo not ready; exit 7"))
    assert "before: sh: exit code 7: not ready" in agent("run", "data", code=1)
    assert not down.exists()
    agent.plan(root, **steps(tmp_path, before="exit 7", after="exit 9"))
    assert "before: sh: exit code 7: ; after: sh: exit code 9" in agent("run", "data", code=1)
    agent.plan(root, **steps(tmp_path, after="exit 9"))
    assert "after: sh: exit code 9" in agent("run", "data", code=1)
    assert not down.exists()
    assert agent.last.snapshot
    agent.plan(root, password="wrong", **steps(tmp_path))
    agent("run", "data", code=1)
    assert not down.exists()
    agent.plan(root, **steps(tmp_path, before="exec sleep 600"))
    run = agent.begin("run", "data")
    until("it is down", down.exists)
    run.send_signal(signal.SIGTERM)
    assert run.wait() == 130
    assert not down.exists()


def test_what_failed_after_is_told_also_of_a_run_that_is_interrupted_then(agent: Agent, tmp_path: Path) -> None:
    root, there, go = (tmp_path / name for name in ("source", "there", "go"))
    root.mkdir()
    (root / "file").touch()
    agent.plan(root, **steps(tmp_path, after=f"touch {there}; until [ -e {go} ]; do sleep 0.1; done; exit 9"))
    run = agent.begin("run", "data")
    until("it is at what comes after", there.exists)
    run.send_signal(signal.SIGTERM)
    go.touch()
    assert run.wait() == 130
    assert agent.last.error == "after: sh: exit code 9: ; interrupted"


def test_what_a_killed_run_was_to_run_after_it_is_run_by_the_next(agent: Agent, tmp_path: Path) -> None:
    root, down = tmp_path / "source", tmp_path / "down"
    root.mkdir()
    (root / "file").touch()
    left = tmp_path / "left"
    waits = steps(tmp_path, before=f"echo $$ >{left}.new; mv {left}.new {left}; exec sleep 600")
    agent.plan(root, **waits)
    for word in ("settle", "run"):
        run = agent.begin("run", "data")
        until("it is down", left.exists)
        run.kill()
        run.wait()
        os.kill(int(left.read_text()), signal.SIGKILL)
        left.unlink()
        agent.plan(root, **steps(tmp_path))
        assert "ran the commands that an earlier run was to run" in agent(word, "data")
        assert not down.exists()
        agent.plan(root, **waits)
