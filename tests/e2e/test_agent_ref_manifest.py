"""The manifest of refs that a backup of git repositories on btrfs holds is of the very instant that it saves."""

import subprocess
from pathlib import Path

import pytest

from backup.agent.ref_manifest import FILE, read
from tests.agents import Agent
from tests.e2e.test_agent_consistency import PUSHER, REPOSITORIES, at_work, git, slow, snapshots_in
from tests.waiting import until

pytestmark = pytest.mark.lab


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(tmp_path / "agent")


def refs(repository: Path) -> dict[str, str]:
    """As git has them."""
    lines = git("-C", repository, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    return dict(map(str.split, lines))


def test_what_is_pushed_meanwhile_is_in_neither_and_both_agree(agent: Agent, volume: Path, tmp_path: Path) -> None:
    root = volume / "source"
    for number in range(REPOSITORIES):
        git("init", "-q", "--bare", "-b", "main", root / f"{number}.git")
    slow(root, "slow-")
    git("init", "-q", "-b", "main", volume / "work")
    for key, value in (("user.name", "Alice"), ("user.email", "alice@example.org")):
        git("-C", volume / "work", "config", key, value)
    agent.plan(root, consistency="btrfs", repositories=["."], exclude=["/slow-0"])
    pushed = volume / "pushed"
    with at_work(PUSHER.replace("REPOSITORIES", str(REPOSITORIES)), volume):
        until("pushes", lambda: pushed.exists() and len(pushed.read_text().split()) > 2 * REPOSITORIES)
        acknowledged = len(pushed.read_text().split())
        agent("run", "data")
        assert len(pushed.read_text().split()) > acknowledged
    assert snapshots_in(volume) == []
    assert [path.name for path in root.glob(".mainstay*")] == [FILE]
    agent("verify", "data")
    back = tmp_path / "back"
    agent("restore", "data", "--to", str(back))
    listed = list(read(back / FILE))
    assert [one.path for one in listed] == [f"{number}.git" for number in range(REPOSITORIES)]
    for one in listed:
        assert one.refs == refs(back / one.path)
        git("-C", back / one.path, "rev-list", "--objects", "--all", "--quiet")
    saved = {name for one in listed for name in one.refs}
    assert saved >= {f"refs/heads/b{number}" for number in range(1, acknowledged + 1)}
    agent("restore", "data", "--to", str(tmp_path / "alone"), "--include", FILE)
    assert [path.name for path in (tmp_path / "alone").iterdir()] == [FILE]
    for _ in range(2):
        agent("run", "data")
        kept = (root / FILE).stat().st_ctime_ns
    agent("run", "data")
    assert ((root / FILE).stat().st_ctime_ns, agent.last.bytes_added) == (kept, 0)
    git("-C", root / "0.git", "update-ref", "refs/heads/later", *refs(root / "0.git").popitem()[1:])
    agent("run", "data")
    agent("restore", "data", "--to", str(tmp_path / "later"), "--include", FILE)
    assert next(read(tmp_path / "later" / FILE)).refs == refs(root / "0.git")


def test_one_broken_repository_of_many_is_named_and_the_others_are_saved(
    agent: Agent, volume: Path, tmp_path: Path
) -> None:
    root = volume / "site"
    git("init", "-q", "--bare", root / "git/0.git")
    for number in range(1, 300):
        subprocess.run(["cp", "-r", root / "git/0.git", root / f"git/{number}.git"], check=True)
    (root / "git/7.git/packed-refs").write_text("half a li")
    agent.plan(root, consistency="btrfs", paths=["git"], repositories=["git"])
    why = "packed-refs: is no list of refs"
    assert f"not read: {root}/git/7.git: {why}" in agent("run", "data", code=3)
    assert (agent.last.outcome, agent.last.unread) == ("incomplete", ((f"{root}/git/7.git", why),))
    assert snapshots_in(volume) == []
    agent("restore", "data", "--to", str(tmp_path / "back"))
    assert len(list((tmp_path / "back/git").iterdir())) == 300
    assert [one.path for one in read(tmp_path / "back" / FILE) if one.why] == ["git/7.git"]
    (root / "git/7.git/packed-refs").unlink()
    agent("run", "data")
    assert agent.last.outcome == "ok"
