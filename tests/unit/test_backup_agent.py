"""The agent's logic that needs no restic, and the file it is shipped as."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backup import ledger, zipapp
from backup.agent import consistency, interrupts, refs
from backup.agent.attempt import BadInput, Refused
from backup.agent.command import main
from backup.agent.consistency import anchored
from backup.agent.plan import names
from backup.agent.restoring import below
from backup.agent.saving import _vanished
from backup.agent.state import Busy, State
from backup.agent.status import judged
from backup.agent.store import Store
from backup.agent.verifying import unexplained
from backup.agent.watching import Watch
from backup.entry import Entry
from backup.restic_results import Difference, Progress, Unread
from tests import agents
from tests.waiting import until

NOW = datetime(2026, 11, 25, 20, tzinfo=UTC)
A, B, C = (digit * 40 for digit in "abc")


def test_the_same_sources_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = zipapp.zipapp()
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    copy = tmp_path / "backup"
    copy.mkdir()
    for name, content in reversed(zipapp.sources().items()):
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content)
        os.utime(target, (10**9, 10**9))
    monkeypatch.setattr(zipapp, "HERE", copy)
    assert zipapp.zipapp() == first
    (copy / "ledger.py").write_text("changed")
    assert zipapp.zipapp() != first
    assert zipapp.version() not in first.decode(errors="replace")


def test_the_file_runs_alone_and_imports_nothing_but_the_standard_library(tmp_path: Path) -> None:
    file = tmp_path / "backup.pyz"
    file.write_bytes(zipapp.zipapp())
    assert zipfile.ZipFile(file).testzip() is None
    words = [sys.executable, "-I", "-S", str(file)]
    done = subprocess.run([*words, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Exit codes: 0 ok, 1 failed" in done.stdout
    nobody = subprocess.run(
        [*words, "--plans", str(tmp_path), "run", "x"], cwd=tmp_path, capture_output=True, text=True
    )
    assert nobody.returncode == 2
    assert "no such plan; there are: none" in nobody.stderr


def test_patterns_are_anchored_below_the_root() -> None:
    root = Path("/srv/x")
    assert anchored(["*.tmp", "/cache", "!keep", "!/a", "a/b"], root) == (
        "/srv/x/**/*.tmp",
        "/srv/x/cache",
        "!/srv/x/**/keep",
        "!/srv/x/a",
        "/srv/x/**/a/b",
    )
    assert anchored(["/a"], Path("/")) == ("/a",)


def test_an_include_is_below_the_root() -> None:
    assert below("a/b", "/srv/x") == below("/srv/x/a/b", "/srv/x") == below("/a/b", "/srv/x") == "/a/b"
    for bad in ("", "../a", "/srv/x/../y"):
        with pytest.raises(BadInput):
            below(bad, "/srv/x")


def test_only_a_change_since_explains_a_difference(tmp_path: Path) -> None:
    for name in ("old", "folder/old", "moved/old"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    found = [
        Difference("/old", "updated"),
        Difference("/folder/old", "deleted"),
        Difference("/gone", "restored"),
        Difference("/gone-folder/gone", "restored"),
        Difference("/vanished", "updated"),
    ]
    changed = datetime.now(UTC)
    assert unexplained(tmp_path, found, changed - timedelta(hours=1)) == []
    left = unexplained(tmp_path, found, changed + timedelta(hours=1))
    assert {one.path for one in left} == {"/old", "/folder/old", "/gone", "/gone-folder/gone"}


def test_a_folder_that_became_a_file_is_a_change_like_others(tmp_path: Path) -> None:
    (tmp_path / "was-folder").write_text("a file")
    found = [Difference("/was-folder/a/deep", action) for action in ("restored", "updated", "deleted")]
    assert unexplained(tmp_path, found, datetime.now(UTC) - timedelta(hours=1)) == []


def test_what_is_in_a_folder_that_came_since_is_explained(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old").write_text("old")
    found = [Difference("/moved/old", "deleted"), Difference("/moved", "deleted")]
    since = datetime.fromtimestamp((folder / "old").stat().st_ctime // 1 + 2, UTC)
    assert unexplained(tmp_path, [Difference("/folder/old", "deleted")], since)
    until("a later time, which cannot be set", lambda: datetime.now(UTC) > since)
    folder.rename(tmp_path / "moved")
    assert unexplained(tmp_path, found, since) == []


def test_refs_are_read_as_git_has_them_and_installed_as_packed(tmp_path: Path) -> None:
    bare = tmp_path / "a.git"
    for folder in ("objects", "refs/heads/deep", "refs/tags", "refs/remotes/origin", "logs"):
        (bare / folder).mkdir(parents=True)
    (bare / "HEAD").write_text("ref: refs/heads/main\n")
    latin = os.fsdecode(b"refs/heads/caf\xe9")
    (bare / "packed-refs").write_bytes(
        f"# pack-refs with: peeled\n{A} refs/heads/main\n{A} refs/tags/1\n^{B}\n".encode()
    )
    (bare / "refs/heads/main").write_text(f"{B}\n")
    (bare / "refs/heads/deep/one").write_text(f"{C}\n")
    (bare / "refs/heads/main.lock").write_text(f"{C}\n")
    (bare / "refs/heads/empty").write_text("")
    (bare / latin).write_text(f"{C}\n")
    (bare / "refs/remotes/origin/HEAD").write_text("ref: refs/remotes/origin/main\n")
    expected = {
        "refs/heads/main": B,
        "refs/tags/1": A,
        "refs/heads/deep/one": C,
        latin: C,
        "refs/remotes/origin/HEAD": "ref: refs/remotes/origin/main",
    }
    assert refs.refs(bare) == expected
    assert refs.write(tmp_path, ["."]) == 1
    (bare / "refs/heads/newer").write_text(f"{C}\n")
    (bare / "HEAD").write_text("ref: refs/heads/newer\n")
    (bare / "packed-refs.lock").touch()
    (tmp_path / "b.git/objects").mkdir(parents=True)
    (tmp_path / "b.git/refs").mkdir()
    (tmp_path / "b.git/HEAD").write_text("ref: refs/heads/main\n")
    assert refs.install(tmp_path) == (1, ["b.git"])
    assert refs.refs(bare) == expected
    assert (bare / "HEAD").read_text() == "ref: refs/heads/main\n"
    assert not (bare / "refs/heads/main").exists()
    assert not (bare / "packed-refs.lock").exists()
    assert not (tmp_path / refs.MANIFEST).exists()


def test_refs_that_cannot_be_saved_or_believed_are_refused(tmp_path: Path) -> None:
    bare = tmp_path / "a.git"
    for folder in ("objects", "refs", "reftable"):
        (bare / folder).mkdir(parents=True)
    (bare / "HEAD").write_text("ref: refs/heads/.invalid\n")
    with pytest.raises(refs.RefsError, match="reftable"):
        refs.write(tmp_path, ["."])
    with pytest.raises(refs.RefsError, match="no manifest"):
        refs.install(tmp_path)
    (bare / "reftable").rmdir()
    manifest = '{"repositories": {"a.git": {"head": "", "refs": {"refs/../../../x": "ref: y"}}}}'
    (tmp_path / refs.MANIFEST).write_text(manifest)
    with pytest.raises(refs.RefsError, match="is not a ref"):
        refs.install(tmp_path)


def test_refs_that_are_a_link_are_left_alone(tmp_path: Path) -> None:
    """Whoever owns a repository could have root remove what the link leads to."""
    outside = tmp_path / "outside"
    (outside / "refs").mkdir(parents=True)
    (outside / "refs/precious").write_text(A)
    linked = tmp_path / "root/a.git"
    (linked / "objects").mkdir(parents=True)
    (linked / "HEAD").write_text("ref: refs/heads/main\n")
    (linked / "refs").symlink_to(outside / "refs")
    assert refs.write(tmp_path / "root", ["."]) == 0
    manifest = '{"repositories": {"a.git": {"head": "", "refs": {}}}}'
    (tmp_path / "root" / refs.MANIFEST).write_text(manifest)
    refs.install(tmp_path / "root")
    assert (outside / "refs/precious").exists()


def bare_repository(folder: Path) -> Path:
    for name in ("objects", "refs/heads"):
        (folder / name).mkdir(parents=True)
    (folder / "HEAD").write_text("ref: refs/heads/main\n")
    return folder


def test_what_is_no_file_among_refs_is_not_waited_for_nor_followed(tmp_path: Path) -> None:
    """Whoever owns a repository can put anything there; the agent is root."""
    bare = bare_repository(tmp_path / "a.git")
    (tmp_path / "secret").write_text(A)
    os.mkfifo(bare / "refs/heads/pipe")
    os.mkfifo(bare / "gc.pid")
    (bare / "refs/heads/secret").symlink_to(tmp_path / "secret")
    (bare / "refs/heads/like-head").symlink_to("refs/heads/main")
    (bare / "refs/heads/large").write_text(f"{A}\n" * 10_000)
    (bare / "refs/heads/main").write_text(f"{B}\n")
    with refs.no_gc(tmp_path, ["."]):
        assert refs.refs(bare) == {"refs/heads/main": B, "refs/heads/like-head": "ref: refs/heads/main"}
    (bare / "HEAD").unlink()
    os.mkfifo(bare / "HEAD")
    assert refs.write(tmp_path, ["."]) == 1
    os.mkfifo(bare / "packed-refs")
    with pytest.raises(refs.RefsError, match="packed-refs: is no file"):
        refs.refs(bare)
    (tmp_path / refs.MANIFEST).unlink()
    os.mkfifo(tmp_path / refs.MANIFEST)
    with pytest.raises(refs.RefsError, match="no manifest"):
        refs.install(tmp_path)


def test_everybody_who_may_run_gc_can_read_that_it_is_kept_away(tmp_path: Path) -> None:
    """A repository's owner is another user than the agent, whose unit keeps what it makes to itself."""
    lock = bare_repository(tmp_path / "a.git") / "gc.pid"
    before = os.umask(0o077)
    try:
        with refs.no_gc(tmp_path, ["."]):
            assert lock.stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)
    assert not lock.exists()


@pytest.mark.parametrize("left", ["", "1 elsewhere"], ids=["it ended", "it is at it"])
def test_a_gc_that_ran_all_the_same_is_told(tmp_path: Path, left: str) -> None:
    """git passes over a gc.pid that is older than 12 hours, puts its own in its place, and removes that at its end."""
    lock = bare_repository(tmp_path / "a.git") / "gc.pid"
    held = refs.no_gc(tmp_path, ["."])
    held.__enter__()
    lock.unlink()
    if left:
        lock.write_text(left)
    with pytest.raises(refs.RefsError, match=r"a\.git: git gc ran"):
        held.__exit__(None, None, None)
    assert lock.exists() == bool(left)


def test_a_repository_that_was_removed_meanwhile_had_no_gc(tmp_path: Path) -> None:
    gone = bare_repository(tmp_path / "a.git")
    kept = bare_repository(tmp_path / "b.git")
    with refs.no_gc(tmp_path, ["."]):
        shutil.rmtree(gone)
    assert not (kept / "gc.pid").exists()


@pytest.mark.parametrize("host", ["2001:db8::1", "2001:db8::a", "192.0.2.1", "vault"])
def test_a_port_that_is_not_named_is_the_schemes(host: str) -> None:
    """The end of an IPv6 address is none."""
    for scheme, port in (("http", 80), ("https", 443)):
        to = Store("/")._connection(scheme, host, None)
        assert (to.host, to.port) == (host, port)


def entry(hours_ago: float, outcome: str, kind: str = "backup") -> Entry:
    start = NOW - timedelta(hours=hours_ago)
    return Entry(host="h", plan="p", kind=kind, start=start, outcome=outcome, snapshot="5" * 64)


def test_a_plan_is_late_by_its_last_good_backup() -> None:
    assert judged([], 24, NOW)["late"]
    assert not judged([entry(23, "ok"), entry(1, "failed"), entry(0.5, "ok", "verify")], 24, NOW)["late"]
    told = judged([entry(25, "ok"), entry(1, "incomplete")], 24, NOW)
    assert (told["late"], told["age_hours"]) == (True, 25)
    assert told["last"]["backup"]["outcome"] == "incomplete"


def test_plans_that_cannot_be_listed_are_not_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is root's alone: whoever forgets sudo must not be told that there is nothing."""
    assert names(tmp_path / "missing") == []
    for name in ("b.json", "a.json", "vault.pem"):
        (tmp_path / name).touch()
    assert names(tmp_path) == ["a", "b"]

    def refuse(folder: Path) -> list[str]:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(OSError, match=f"^{tmp_path}: cannot be listed: Permission denied"):
        names(tmp_path)


def test_status_ends_well_only_when_all_is_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(interrupts, "listen", lambda: None)
    words = ["--plans", str(tmp_path), "--state", str(tmp_path / "state"), "status"]
    assert main("0", words) == 0
    assert capsys.readouterr().out == "no plans on this host\n"
    (tmp_path / "data.json").write_text("{")
    assert main("0", words) == 1
    plan = {"url": "/srv/repository", "root": "/srv/data"}
    (tmp_path / "data.json").write_text(json.dumps(agents.plan(**plan)))
    (tmp_path / "data.json").chmod(0o600)
    assert main("0", words) == 1
    assert "LATE" in capsys.readouterr().out
    start = datetime.now(UTC)
    (tmp_path / "state/data").mkdir(parents=True)
    good = Entry(host="alice", plan="data", kind="backup", start=start, end=start, outcome="ok", snapshot="5" * 64)
    ledger.append(State(tmp_path / "state/data").ledger, good)
    assert main("0", words) == 0


def test_a_lock_is_one_runs_at_a_time(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    assert not state.running()
    with state.locked():
        assert state.running()
        with pytest.raises(Busy), state.locked(patience_s=0):
            """Not reached."""
    assert not state.running()


HELD = """
import os, signal
from backup.agent import interrupts
interrupts.listen()
try:
    with interrupts.held():
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
        print("held")
except KeyboardInterrupt:
    os.kill(os.getpid(), signal.SIGTERM)
    print("interrupted once")
"""


def test_an_interrupt_waits_for_what_is_held_and_comes_once() -> None:
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["held", "interrupted once", ""]
    assert signal.SIGINT in interrupts.SIGNALS


def progress(bytes_: int) -> Progress:
    return Progress(0.5, 1, 2, bytes_, 100, None)


@pytest.mark.parametrize(
    ("give_up_s", "answers", "moves", "fails"),
    [(0, False, [1, 1], True), (0, True, [1, 1, 1], False), (0, False, [1, 2, 3], False), (60, False, [1, 1], False)],
    ids=["silent and still", "it answers", "it moves", "not yet"],
)
def test_a_run_is_given_up_when_nothing_moves_and_nobody_answers(
    give_up_s: float, answers: bool, moves: list[int], fails: bool
) -> None:
    told: list[Progress] = []
    watch = Watch(give_up_s, lambda: answers, told.append)
    for bytes_ in moves[:-1]:
        watch(progress(bytes_))
    if fails:
        with pytest.raises(Refused, match="the vault does not answer"):
            watch(progress(moves[-1]))
    else:
        watch(progress(moves[-1]))
        assert [one.bytes for one in told] == moves


def test_a_step_that_heeds_no_signal_is_killed_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consistency, "TERM_S", 0.2)
    started = tmp_path / "started"
    script = f"trap '' TERM; sleep 300 & echo $! >{started}.new; mv {started}.new {started}; wait; wait"

    def interrupt() -> None:
        until("the step", started.exists)
        os.kill(os.getpid(), signal.SIGINT)

    was = signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the suite runs in the background
    try:
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            consistency._step("before", ["sh", "-c", script])
    finally:
        signal.signal(signal.SIGINT, was)
    stat = Path(f"/proc/{started.read_text().strip()}/stat")

    def ended() -> bool:
        try:
            return stat.read_text().split()[2] == "Z"
        except OSError:
            return True

    until("the end of what it started", ended)


def test_what_vanished_was_not_to_be_saved_and_what_was_there_all_the_while_was(tmp_path: Path) -> None:
    """restic 0.18 says so, among others, when a file goes between two of its looks at it."""
    file = tmp_path / "f"
    gone = Unread(str(file), f"incomplete metadata for {file}: xattr.list {file}: no such file or directory")
    file.touch()
    there = file.stat().st_ctime
    assert not _vanished(gone, there + 1)
    assert _vanished(gone, there - 1), "it was made anew meanwhile"
    assert not _vanished(Unread(str(file), "open: permission denied"), there - 1)
    file.unlink()
    assert _vanished(gone, there + 1)
