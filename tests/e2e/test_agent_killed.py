"""Runs that are killed, that meet, and locks that nobody holds any more: the next run is good."""

import ctypes
import fcntl
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup.restic import Restic
from tests.agents import Agent
from tests.restics import restic
from tests.waiting import until

MUCH = 120_000_000
"""Bytes: the first packs are there long before the last ones, also on a busy machine."""
PR_SET_CHILD_SUBREAPER = 36
"""linux/prctl.h"""


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    """With a first backup."""
    made = Agent(tmp_path / "agent")
    root = tmp_path / "source"
    root.mkdir()
    (root / "small").write_text("small")
    made.plan(root)
    made("run", "data")
    return made


@pytest.fixture
def much(agent: Agent, tmp_path: Path) -> None:
    """More to save next than a run does at once."""
    (tmp_path / "source/large").write_bytes(os.urandom(MUCH))


@pytest.fixture(autouse=True)
def orphans_are_ours() -> Iterator[None]:
    """As init does: a child of a killed agent is waited for, or it would go on being there for restic; in these tests
    alone, as others wait for none but their own."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    yield
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0)


def locks(agent: Agent) -> list[Path]:
    """Those that are written: a killed run may leave half of one behind, which holds nobody up."""
    return [lock for lock in (agent.repository / "locks").iterdir() if "-tmp-" not in lock.name]


def child_of(process: int) -> int:
    """restic, once it holds its lock."""
    return int(Path(f"/proc/{process}/task/{process}/children").read_text().split()[-1])


def in_the_middle(agent: Agent) -> "tuple[subprocess.Popen[bytes], int]":
    """A run whose restic writes data."""
    before = set((agent.repository / "data").rglob("*"))
    run = agent.begin("run", "data", "--json")
    until("new packs", lambda: set((agent.repository / "data").rglob("*")) - before, every_s=0.01)
    return run, child_of(run.pid)


def good(agent: Agent, tmp_path: Path) -> str:
    """The next run is good, and what it saved is whole."""
    said = agent("run", "data")
    assert agent.last.outcome == "ok"
    assert not agent.restic.check((1, 1)).errors
    agent("restore", "data", "--to", str(tmp_path / "back"))
    subprocess.run(["diff", "-r", tmp_path / "source", tmp_path / "back"], check=True)
    assert locks(agent) == []
    return said


@pytest.mark.usefixtures("much")
def test_restic_is_killed(agent: Agent, tmp_path: Path) -> None:
    run, child = in_the_middle(agent)
    os.kill(child, signal.SIGKILL)
    assert run.wait() == 1
    assert agent.last.outcome == "failed"
    assert "killed by signal 9" in agent.last.error
    assert len(locks(agent)) == 1
    assert "an earlier run did not end well" in good(agent, tmp_path)


@pytest.mark.usefixtures("much")
def test_the_agent_is_killed_and_restic_with_it(agent: Agent, tmp_path: Path) -> None:
    run, child = in_the_middle(agent)
    run.kill()
    run.wait()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert agent.last.outcome == "started"
    good(agent, tmp_path)


@pytest.mark.usefixtures("much")
def test_the_agent_alone_is_killed(agent: Agent, tmp_path: Path) -> None:
    """restic ends by itself, when it finds that nobody listens: a systemd unit would have killed it too."""
    run, child = in_the_middle(agent)
    run.kill()
    run.wait()
    until("restic ended", lambda: os.waitpid(child, os.WNOHANG)[0])
    good(agent, tmp_path)


@pytest.mark.usefixtures("much")
@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGINT]])
def test_an_interrupted_run_leaves_no_lock(agent: Agent, tmp_path: Path, signals: list[signal.Signals]) -> None:
    run, _ = in_the_middle(agent)
    for number in signals:
        run.send_signal(number)
    assert run.wait() == 130
    assert locks(agent) == []
    assert agent.last.outcome == "interrupted"
    assert agent.last.snapshot == ""
    good(agent, tmp_path)


def test_a_run_that_is_interrupted_while_it_writes_that_it_began_writes_that_it_ended(agent: Agent) -> None:
    agent("run", "data")
    with (agent.state / "ledger.jsonl").open() as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        run = agent.begin("run", "data")
        waits = re.compile(rf"-> FLOCK +ADVISORY +WRITE {run.pid} ")
        until("it waits for the ledger", lambda: waits.search(Path("/proc/locks").read_text()))
        run.send_signal(signal.SIGINT)
    assert run.wait() == 130
    assert [one.outcome for one in agent.entries()[-2:]] == ["started", "interrupted"]


def test_an_interrupted_command_ends_with_what_it_started(agent: Agent, tmp_path: Path) -> None:
    """restic ends a command, and then waits for all that hold its output open."""
    started = tmp_path / "started"
    script = f"echo some; sh -c 'echo $$ >{started}.new; mv {started}.new {started}; exec sleep 150'; echo more"
    agent.plan(tmp_path / "source", consistency="command", command=["sh", "-c", script])
    run = agent.begin("run", "data", "--json")
    until("the command", started.exists)
    run.send_signal(signal.SIGINT)
    assert run.wait(timeout=120) == 130
    left = Path(f"/proc/{started.read_text().strip()}/stat")
    until("its end", lambda: not left.exists() or left.read_text().split()[2] == "Z")
    assert agent.last.outcome == "interrupted"
    assert locks(agent) == []


def test_of_two_runs_at_once_one_is_refused(agent: Agent, tmp_path: Path) -> None:
    ready, go = tmp_path / "ready", tmp_path / "go"
    wait = f"touch {ready}; until [ -e {go} ]; do sleep 0.1; done"
    agent.plan(tmp_path / "source", before=[["sh", "-c", wait]])
    run = agent.begin("run", "data", "--json")
    until("the first run is at it", ready.exists)
    assert '"running": true' in agent("status", "--json")
    assert "another run is at it" in agent("run", "data", code=4)
    agent("settle", "data")
    go.touch()
    assert run.wait() == 0
    assert [entry.outcome for entry in agent.entries()] == ["started", "ok"] * 2


@pytest.mark.usefixtures("much")
def test_whoever_listens_may_go_away(agent: Agent) -> None:
    run = agent.begin("run", "data", "--json")
    assert run.stdout
    run.stdout.close()
    assert run.wait() == 0
    assert agent.last.outcome == "ok"


def test_a_lock_whose_owner_is_gone_is_removed(agent: Agent, tmp_path: Path) -> None:
    """An exclusive one, as whoever prunes holds it."""
    reader = Restic(agent.restic.repository, restic())
    words = ["check", "--read-data", "--limit-download=50", "--no-cache"]
    secrets = tmp_path / "password"
    secrets.write_text(reader.repository.password)
    place = ["--repo", reader.repository.url, "--password-file", str(secrets)]
    check = subprocess.Popen([restic(), *words, *place], stdout=subprocess.DEVNULL)
    until("its lock", lambda: locks(agent), every_s=0.01)
    check.kill()
    check.wait()
    assert "removing locks whose owner is gone" in good(agent, tmp_path)
