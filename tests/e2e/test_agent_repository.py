"""The agent's own look at the repository: what it makes there, survives, proves, and tells apart without restic."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.agents import Agent
from tests.rest_server import Gate, rest_server
from tests.restics import VERSIONS, by_version, restic


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    made = Agent(tmp_path / "agent")
    root = tmp_path / "source"
    root.mkdir()
    (root / "file").write_text("a file")
    made.plan(root)
    return made


def befall(agent: Agent, command: str) -> None:
    """From now on a command is run after each of restic's backups."""
    program = agent.folder / "bin/restic"
    program.unlink()
    after = f'[ "$1" = backup ] || exit 0\n{command}'
    program.write_text(f'#!/bin/sh\n{restic()} "$@" || exit $?\n{after}\n')
    program.chmod(0o755)


@pytest.mark.parametrize(
    "damage",
    ["rm -f snapshots/*", "truncate -s 40 snapshots/*", "for one in snapshots/*; do printf X >>$one; done"],
    ids=["gone", "cut short", "altered"],
)
def test_a_run_fails_when_its_snapshot_is_not_there_after_all(agent: Agent, damage: str) -> None:
    befall(agent, f"cd {agent.repository}; {damage}")
    said = agent("run", "data", code=1)
    assert "is not in the repository, or not as it was sent" in said
    assert (agent.last.outcome, agent.last.snapshot) == ("failed", "")
    befall(agent, "true")
    agent("run", "data")
    assert agent.last.outcome == "ok"


def test_a_repository_that_cannot_be_asked_afterwards_is_no_success(agent: Agent, tmp_path: Path) -> None:
    with rest_server(tmp_path / "served") as gate:
        agent.plan(tmp_path / "source", url=f"rest:http://127.0.0.1:{gate.port}/alice/web/")
        befall(agent, f"kill -9 {gate.server}")
        assert "which could not be asked" in agent("run", "data", code=1)


@pytest.fixture
def served(agent: Agent, tmp_path: Path) -> Iterator[Gate]:
    """An append-only server that the plan saves to."""
    with rest_server(tmp_path / "served") as gate:
        agent.plan(tmp_path / "source", url=f"rest:http://127.0.0.1:{gate.port}/alice/web/")
        yield gate


@pytest.mark.full
def test_a_run_is_given_up_when_the_vault_is_gone_for_good(agent: Agent, served: Gate, tmp_path: Path) -> None:
    """Nothing gets through from its first pack on. restic has a minute for its lock, which the next run removes."""
    agent("run", "data")
    (tmp_path / "source/new").write_text("is new")
    served.held[b"POST /alice/web/data/"] = lambda: served.held.update({b"": lambda: None})
    assert "the vault does not answer" in agent("run", "data", "--give-up", "1", code=1)
    assert (agent.last.outcome, agent.last.snapshot) == ("failed", "")
    assert there(tmp_path, "locks/*")
    served.held.clear()
    agent("run", "data")
    assert not there(tmp_path, "locks/*")
    agent("restore", "data", "--to", str(tmp_path / "back"))
    assert (tmp_path / "back/new").read_text() == "is new"


def there(tmp_path: Path, what: str) -> list[Path]:
    return [path for path in (tmp_path / "served/alice/web").glob(what) if path.is_file()]


@pytest.mark.parametrize("point", ["POST /alice/web/?create", "POST /alice/web/keys/", "POST /alice/web/config"])
def test_a_run_that_is_killed_while_it_makes_the_repository_is_made_good_by_the_next(
    agent: Agent, served: Gate, tmp_path: Path, point: str
) -> None:
    run = agent.begin("run", "data", "--json")
    served.held[point.encode()] = run.kill
    run.wait()
    assert not there(tmp_path, "config")
    assert bool(there(tmp_path, "keys/*")) == point.endswith("config")
    served.held.clear()
    agent("run", "data")
    assert len(there(tmp_path, "keys/*")) == 1
    agent("restore", "data", "--to", str(tmp_path / "back"))
    assert (tmp_path / "back/file").read_text() == "a file"
    assert not (agent.state / "fresh").exists()


@pytest.mark.parametrize("version", by_version(*VERSIONS))
def test_what_a_restic_made_and_the_agent_sent_every_restic_opens(
    agent: Agent, served: Gate, tmp_path: Path, version: str
) -> None:
    program = agent.folder / "bin/restic"
    program.unlink()
    program.symlink_to(restic(version))
    agent("run", "data")
    at = replace(agent.restic.repository, url=str(tmp_path / "served/alice/web"))
    for other in VERSIONS:
        opened = replace(agent.restic, repository=at, program=restic(other))
        assert [one.id for one in opened.snapshots()] == [agent.last.snapshot]
        assert not opened.check((1, 1)).errors


def test_what_is_made_here_is_made_anew_when_that_was_cut_short(agent: Agent, served: Gate, tmp_path: Path) -> None:
    fresh = agent.state / "fresh/keys"
    fresh.mkdir(parents=True)
    (fresh / ("5" * 64)).write_text("half a key")
    agent("run", "data")
    assert len(there(tmp_path, "keys/*")) == 1
    assert not fresh.exists()


def test_a_key_that_nothing_here_belongs_to_is_told(agent: Agent, served: Gate, tmp_path: Path) -> None:
    run = agent.begin("run", "data", "--json")
    served.held[b"POST /alice/web/config"] = run.kill
    run.wait()
    served.held.clear()
    shutil.rmtree(agent.state)
    assert "an admin can remove its folder on the vault" in agent("run", "data", code=1)
    assert len(there(tmp_path, "keys/*")) == 1
    shutil.rmtree(tmp_path / "served/alice/web")
    agent("run", "data")


def test_what_did_not_change_is_not_read_again(agent: Agent, tmp_path: Path) -> None:
    """By what the kernel counts for processes that have ended, which go to their parent's account."""
    large = 200_000_000
    (tmp_path / "source/large").write_bytes(os.urandom(large))

    def read() -> int:
        counted = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        return int(counted["rchar"])

    start = read()
    agent("run", "data")
    first = read()
    (tmp_path / "source/small").write_text("is new")
    agent("run", "data")
    assert first - start > large
    assert read() - first < large / 4
    assert agent.last.files == 3
