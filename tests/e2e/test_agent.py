"""The agent on this machine with real restic: what is saved, told, verified and restored."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from backup.entry import Entry
from tests.agents import PASSWORD, Agent
from tests.restics import restic
from tests.waiting import until


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(tmp_path / "agent")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "public").mkdir(parents=True)
    (root / "public/page").write_text("a page")
    (root / "private").write_text("not to be saved")
    return root


def ran(agent: Agent, code: int = 0) -> Entry:
    agent("run", "data", code=code)
    return agent.last


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def test_what_is_saved_is_in_the_ledger_and_comes_back(agent: Agent, source: Path, tmp_path: Path) -> None:
    agent.plan(source, paths=["public"])
    saved = ran(agent)
    assert [entry.outcome for entry in agent.entries()] == ["started", "ok"]
    assert (saved.host, saved.plan, saved.kind, saved.files, saved.bytes) == ("alice", "data", "backup", 1, 6)
    assert saved.versions["restic"] == "0.18.0"
    assert saved.end
    assert saved.end >= saved.start
    [snapshot] = agent.restic.snapshots()
    assert (snapshot.id, snapshot.host, snapshot.tags) == (saved.snapshot, "alice", ("data",))
    agent("restore", "data", "--to", str(tmp_path / "back"))
    assert files(tmp_path / "back") == {"public/page"}
    assert (agent.last.kind, agent.last.outcome, agent.last.snapshot) == ("restore", "ok", saved.snapshot)
    assert (tmp_path / "back").stat().st_mode & 0o777 == 0o700


def test_an_unchanged_source_makes_a_snapshot_and_is_not_read_again(agent: Agent, source: Path) -> None:
    agent.plan(source)
    first, second = ran(agent), ran(agent)
    assert second.bytes_added == 0
    assert [one.id for one in agent.restic.snapshots()] == [first.snapshot, second.snapshot]
    said = agent("run", "data", "--json").splitlines()
    assert json.loads(said[-1])["entry"]["outcome"] == "ok"
    again = agent.restic.backup(source, host="alice", tags=["data"])
    assert (again.files_new, again.files_changed) == (0, 0)


@pytest.mark.parametrize(
    ("pattern", "kept"),
    [
        ("*.tmp", {"keep", "source/keep", "deep/source/x"}),
        ("/source", {"keep", "keep.tmp", "deep/source/x"}),
        ("source", {"keep", "keep.tmp"}),
        ("deep/source", {"keep", "keep.tmp", "source/keep"}),
    ],
)
def test_patterns_count_from_the_root_on(agent: Agent, tmp_path: Path, pattern: str, kept: set[str]) -> None:
    root = tmp_path / "source"
    for name in ("keep", "keep.tmp", "source/keep", "deep/source/x"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    agent.plan(root, exclude=[pattern])
    ran(agent)
    agent("verify", "data")
    agent("restore", "data", "--to", str(tmp_path / "back"))
    assert files(tmp_path / "back") == kept


def test_awkward_files_come_back_as_they_were(agent: Agent, tmp_path: Path) -> None:
    root = tmp_path / "source"
    root.mkdir()
    latin = root / os.fsdecode(b"caf\xe9/\xff\n\xfe")
    latin.parent.mkdir()
    latin.write_text("not UTF-8")
    (root / "one").write_text("one file, two names")
    (root / "two").hardlink_to(root / "one")
    with (root / "sparse").open("wb") as sparse:
        sparse.truncate(50_000_000)
    (root / "empty").touch(mode=0o4751)
    os.setxattr(root / "empty", "user.colour", b"blue\xff")
    (root / "link").symlink_to("nowhere")
    os.mkfifo(root / "pipe")
    agent.plan(root)
    assert ran(agent).outcome == "ok"
    agent("verify", "data")
    back = tmp_path / "back"
    agent("restore", "data", "--to", str(back))
    assert (back / latin.relative_to(root)).read_text() == "not UTF-8"
    assert (back / "one").stat().st_ino == (back / "two").stat().st_ino
    assert (back / "sparse").stat().st_size == 50_000_000
    assert (back / "sparse").stat().st_blocks < 1000
    assert (back / "empty").stat().st_mode == (root / "empty").stat().st_mode
    assert os.getxattr(back / "empty", "user.colour") == b"blue\xff"
    assert (back / "link").readlink() == Path("nowhere")
    assert (back / "pipe").is_fifo()


def test_a_part_is_restored(agent: Agent, source: Path, tmp_path: Path) -> None:
    agent.plan(source)
    old = ran(agent).snapshot
    (source / "public/page").write_text("a new page")
    ran(agent)
    agent("restore", "data", "--to", str(tmp_path / "a"), "--include", "public/page", "--snapshot", old[:8])
    assert files(tmp_path / "a") == {"public/page"}
    assert (tmp_path / "a/public/page").read_text() == "a page"
    agent("restore", "data", "--to", str(tmp_path / "b"), "--include", f"{source}/private")
    assert files(tmp_path / "b") == {"private"}
    assert "holds nothing at /missing" in agent(
        "restore", "data", "--to", str(tmp_path / "c"), "--include", "missing", code=1
    )
    assert "must be an empty folder" in agent("restore", "data", "--to", str(tmp_path / "a"), code=2)
    assert "0 snapshots in the repository are 00000000" in agent(
        "restore", "data", "--to", str(tmp_path / "d"), "--snapshot", "00000000", code=1
    )
    assert "must be at least 8" in agent(
        "restore", "data", "--to", str(tmp_path / "e"), "--snapshot", "../../x", code=2
    )
    assert "must be a path below" in agent("restore", "data", "--to", str(tmp_path / "f"), "--include", "../x", code=2)


def test_a_folder_to_restore_to_counts_from_where_one_is(
    agent: Agent, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent.plan(source)
    ran(agent)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    agent("restore", "data", "--to", "back-to-here")
    assert files(tmp_path / "here/back-to-here") == {"public/page", "private"}


def test_a_new_host_restores_and_goes_on_without_its_old_ledger(agent: Agent, source: Path, tmp_path: Path) -> None:
    agent.plan(source)
    saved = ran(agent).snapshot
    shutil.rmtree(agent.folder / "state")
    agent("restore", "data", "--to", str(tmp_path / "back"))
    assert agent.last.snapshot == saved
    agent("verify", "data")
    assert ran(agent).outcome == "ok"
    assert len(agent.restic.snapshots()) == 2


def test_a_damaged_ledger_stands_in_no_restores_way(agent: Agent, source: Path, tmp_path: Path) -> None:
    agent.plan(source)
    snapshots = [ran(agent).snapshot for _ in range(2)]
    ledger = agent.state / "ledger.jsonl"
    ledger.write_bytes(b"X" + ledger.read_bytes()[1:])
    for number, words in enumerate([[], ["--snapshot", snapshots[0]]]):
        back = tmp_path / f"back{number}"
        assert "line 1: is not JSON: going by what the repository lists" in agent(
            "restore", "data", "--to", str(back), *words
        )
        assert files(back) == files(source)


def test_damage_is_told_from_change(agent: Agent, source: Path) -> None:
    (source / "public/old").write_text("old")
    agent.plan(source)
    ran(agent)
    (source / "new").write_text("came later")
    (source / "private").write_text("was changed")
    (source / "public/old").unlink()
    agent("verify", "data")
    # Change times cannot be set back; so the ledger says that the backup was made after the change.
    (source / "public/page").write_text("other!")
    lines = (agent.state / "ledger.jsonl").read_text().splitlines()
    later = lines[1].replace('"start": "20', '"start": "21')
    (agent.state / "ledger.jsonl").write_text(f"{lines[0]}\n{later}\n")
    said = agent("verify", "data", code=1)
    assert "/public/page (has other content)" in said
    assert "/public/old (is missing here)" in said
    assert "/new (was not saved)" in said
    assert agent.last.outcome == "failed"


def test_a_folder_that_became_a_file_is_no_damage_and_hides_none(agent: Agent, source: Path) -> None:
    (source / "old").write_text("old")
    agent.plan(source)
    ran(agent)
    shutil.rmtree(source / "public")
    (source / "public").write_text("a file now")
    agent("verify", "data")
    (source / "old").unlink()
    lines = (agent.state / "ledger.jsonl").read_text().splitlines()
    (agent.state / "ledger.jsonl").write_text(f"{lines[0]}\n" + lines[1].replace('"start": "20', '"start": "21') + "\n")
    said = agent("verify", "data", code=1)
    assert "/old (is missing here)" in said
    assert "/public (has other content)" in said


def test_a_snapshot_that_is_gone_is_told(agent: Agent, source: Path) -> None:
    agent.plan(source)
    ran(agent)
    agent.restic.forget([ran(agent).snapshot])
    assert "is gone from the repository" in agent("verify", "data", code=1)


def test_a_file_that_cannot_be_read_makes_it_incomplete(agent: Agent, source: Path) -> None:
    """As root one reads everything, but not what the kernel refuses: a sealed file of /proc among the paths."""
    (source / "refused").symlink_to("/proc/self/mem")
    bound = source / "public/bound"
    bound.touch()
    subprocess.run(["mount", "--bind", "/proc/self/mem", bound], check=True)
    try:
        for paths in (["."], ["public"]):
            agent.plan(source, paths=paths)
            entry = ran(agent, code=3)
            assert (entry.outcome, entry.unread_count) == ("incomplete", 1)
            assert entry.unread[0][0] == str(bound)
    finally:
        subprocess.run(["umount", bound], check=True)
    assert entry.snapshot == agent.restic.snapshots()[-1].id


def test_a_part_that_goes_away_before_it_is_read_makes_it_incomplete(
    agent: Agent, source: Path, tmp_path: Path
) -> None:
    """It was there when the run began. restic 0.18 ends with 0, and says so in words alone."""
    agent.plan(source, paths=["public", "private"])
    program = agent.folder / "bin/restic"
    program.unlink()
    program.write_text(f'#!/bin/sh\n[ "$1" != backup ] || rm -f {source}/private\nexec {restic()} "$@"\n')
    program.chmod(0o755)
    entry = ran(agent, code=3)
    assert (entry.outcome, entry.unread) == ("incomplete", ((f"{source}/private", "does not exist"),))


def test_files_that_change_and_vanish_meanwhile_do_not_fail_it(agent: Agent, tmp_path: Path) -> None:
    root = tmp_path / "source"
    root.mkdir()
    churn = "i=0; while :; do i=$((i+1)); echo $i >>log; echo $i >f$((i%500)); rm -f f$(((i+250)%500)); done"
    (root / "still").write_text("still")
    process = subprocess.Popen(["sh", "-c", churn], cwd=root)
    try:
        until("files", lambda: len(list(root.iterdir())) > 200)
        agent.plan(root)
        outcomes = [ran(agent).outcome for _ in range(3)]
    finally:
        process.kill()
        process.wait()
    assert outcomes == ["ok"] * 3
    agent("restore", "data", "--to", str(tmp_path / "back"))
    assert (tmp_path / "back/still").read_text() == "still"


def test_a_repository_that_is_gone_is_not_made_anew(agent: Agent, source: Path) -> None:
    agent.plan(source)
    ran(agent)
    agent.repository.rename(agent.folder / "elsewhere")
    assert "the repository is gone" in agent("run", "data", code=1)
    assert not agent.repository.exists()
    assert agent.last.outcome == "failed"


def test_a_wrong_password_and_a_missing_folder_are_failures_without_secrets(agent: Agent, source: Path) -> None:
    agent.plan(source)
    ran(agent)
    agent.plan(source, password="not it")
    said = agent("run", "data", code=1)
    assert "wrong password" in said
    assert "not it" not in said + (agent.state / "ledger.jsonl").read_text()
    agent.plan(source, paths=["public", "unmounted"])
    assert "unmounted: is not there: is its volume mounted?" in agent("run", "data", code=1)
    assert len(agent.restic.snapshots()) == 1
    assert PASSWORD not in (agent.state / "ledger.jsonl").read_text()


def test_bad_input_touches_nothing(agent: Agent, source: Path) -> None:
    agent.plan(source, consistency="magic")
    assert "data.json: consistency: must be one of" in agent("run", "data", code=2)
    (agent.folder / "plans/data.json").chmod(0o644)
    assert "chmod 600" in agent("verify", "data", code=2)
    assert "no such plan; there are: data" in agent("run", "date", code=2)
    assert "is not a plan's name" in agent("run", "../data", code=2)
    agent("run", code=2)
    assert not agent.repository.exists()
    assert not agent.state.exists()


def test_a_ledger_that_takes_no_more_stops_no_backup_and_is_loud(agent: Agent, source: Path) -> None:
    agent.plan(source)
    ran(agent)
    with (agent.state / "ledger.jsonl").open("a") as ledger:
        ledger.write("not a line\n")
    assert "the ledger cannot be written" in agent("run", "data", code=1)
    assert len(agent.restic.snapshots()) == 2


def test_status_tells_every_plan(agent: Agent, source: Path) -> None:
    agent.plan(source)
    (agent.folder / "plans/broken.json").write_text("{")
    (agent.folder / "plans/broken.json").chmod(0o600)
    assert json.loads(agent("status", "--json", code=1))[1]["late"]
    saved = ran(agent)
    broken, data = json.loads(agent("status", "--json", code=1))
    assert "is not JSON" in broken["error"]
    assert data["good"]["snapshot"] == saved.snapshot
    assert data["last"]["backup"]["outcome"] == "ok"
    assert (data["late"], data["running"]) == (False, False)
    assert "data: last good 20" in agent("status", code=1)
    (agent.folder / "plans/broken.json").unlink()
    assert "data: last good 20" in agent("status")
    lines = agent("ledger", "data", "--after", "1").splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [2]


@pytest.mark.full
def test_a_hundred_thousand_small_files(agent: Agent, tmp_path: Path) -> None:
    root = tmp_path / "source"
    for number in range(100_000):
        if number % 1000 == 0:
            folder = root / f"{number // 1000}"
            folder.mkdir(parents=True)
        (folder / f"{number}").write_text(f"{number}")
    agent.plan(root)
    assert ran(agent).files == 100_000
    assert ran(agent).bytes_added == 0
    agent("verify", "data")
    agent("restore", "data", "--to", str(tmp_path / "back"))
    subprocess.run(["diff", "-r", root, tmp_path / "back"], check=True)
    packs = [path.name for path in (agent.repository / "data").rglob("*") if path.is_file()]
    found = {hit.path for hit in agent.restic.hits(packs)}
    assert {f"/{number // 1000}/{number}" for number in range(100_000)} <= found
