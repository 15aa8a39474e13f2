"""The first day of a new admin, from an empty home: every command of the page as it stands, on a site of two hosts.

Their colleague's part is played on the colleague's own machine. What the third step runs has tests of its own
(tests/e2e/test_rehearse.py).
"""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from cloud.converge import REPOSITORY
from tests.clones import git
from tests.restics import restic
from tests.runbooks.reader import Runbook, editing, follow, follow_at_a_terminal
from tests.saved_site import DATA, HOST, HOSTS, Saved, saved_site
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
PAGE, REHEARSAL = "../first-day", "3. The whole site on this machine"
NAME, FULL_NAME, EMAIL = "carol", "Carol Example", "carol@example.org"
PASSPHRASE = "of carol alone"
OURS = ("GIT_", "MAINSTAY_", "SSH_", "PYINFRA_", "VIRTUAL_ENV")
"""What the environment of whoever runs the tests has, and a bare laptop has not."""
NOT_SHARED = "id_ed25519"
"""The lab's own admin's key, which lies with a lab's files."""


@dataclass
class Newcomer:
    """Somebody with a home that has nothing in it, at a terminal."""

    home: Path
    agent: Path
    names: dict[str, Any]

    @property
    def key(self) -> Path:
        return self.home / ".ssh/id_ed25519"

    @property
    def clone(self) -> Path:
        return self.home / "mainstay"

    def follow(self, title: str, editor: str = "false") -> str:
        """What the commands say, in the clone as soon as there is one."""
        clone = self.clone if self.clone.exists() else self.home
        inventory = {"MAINSTAY_INVENTORY": self.names["inventory"]} if clone == self.clone else {}
        place = {"cwd": clone, "env": self._environment | inventory | {"EDITOR": editor}}
        answers = {prompt: [PASSPHRASE] for prompt in ("passphrase): ", "again: ", f"{self.key}: ")}
        return follow_at_a_terminal(place, answers, PAGE, title, **self.names)

    @property
    def _environment(self) -> dict[str, str]:
        """Packages come from this machine's cache."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        own = {"HOME": str(self.home), "XDG_CACHE_HOME": cache, "SSH_AUTH_SOCK": str(self.agent)}
        path = {"PATH": f"{self.clone}/.venv/bin:{os.environ['PATH']}"}
        return kept | own | path | {"MAINSTAY_RESTIC": restic(), "PYINFRA_PROGRESS": "off"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    yield from saved_site(tmp_path_factory.mktemp("first-day"))


@pytest.fixture(scope="module")
def shared(site: Saved) -> Path:
    """A clone of the repository, with the site in it as production is: its files lie beside its inventory."""
    clone, origin = site.folder / "colleague", site.folder / "origin.git"
    listed = subprocess.run(
        ["git", "ls-files", "-zco", "--exclude-standard"], cwd=REPOSITORY, capture_output=True, check=True
    )
    copy = ["rsync", "-a", "--from0", "--files-from=-", "--ignore-missing-args", f"{REPOSITORY}/", f"{clone}/"]
    subprocess.run(copy, input=listed.stdout, check=True)
    document: Any = tomlkit.parse(site.inventory.with_suffix(".toml").read_text())
    for own in ("files", "ssh_user", "ssh_key"):
        del document["site"][own]
    (clone / "inventories" / f"{site.lab.name}.toml").write_text(tomlkit.dumps(document))
    (clone / "inventories" / site.inventory.name).write_text(site.inventory.read_text())
    copied(site, clone)
    git(clone, "init", "-q", "-b", "main")
    git(clone, "add", "--all")
    git(clone, "commit", "-q", "-m", "All of it")
    git(site.folder, "clone", "-q", "--bare", str(clone), str(origin))
    git(clone, "remote", "add", "origin", str(origin))
    return clone


def copied(site: Saved, clone: Path) -> None:
    """The site's files, into a clone."""
    words = [
        "rsync",
        "-a",
        f"--exclude={NOT_SHARED}*",
        f"{site.lab.root}/site/",
        f"{clone}/inventories/{site.lab.name}/",
    ]
    subprocess.run(words, check=True)


@pytest.fixture(scope="module")
def carol(site: Saved, shared: Path) -> Iterator[Newcomer]:
    home = site.folder / "home"
    home.mkdir()
    names = {
        "MAINSTAY_ADMIN": NAME,
        "full_name": FULL_NAME,
        "email": EMAIL,
        "repository": site.folder / "origin.git",
        "inventory": f"inventories/{site.inventory.name}",
        "host": HOST,
        "data_set": DATA,
    }
    agent = home / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(agent)], stdout=subprocess.DEVNULL) as running:
        until("the agent listens", agent.exists)
        yield Newcomer(home, agent, names)
        running.terminate()


def test_from_a_bare_laptop_to_a_first_change(site: Saved, shared: Path, carol: Newcomer) -> None:
    assert "ssh-ed25519 " in carol.follow("1. A key")
    said = carol.follow("2. The clone")
    assert "wrong " not in said

    given: dict[str, Any] = {"name": NAME, "key": carol.key.with_suffix(".pub"), "age": "", "roles": ""}
    follow(site, "admin-new", "With an ed25519 key, on all hosts", **given)
    site.deploy("base")
    copied(site, shared)
    git(shared, "commit", "-q", "--all", "-m", f"{NAME} is an admin")
    git(shared, "push", "-q", "origin", "main")

    said = carol.follow("5. Are you in?")
    assert f"{NAME}, with a key that is declared" in said
    assert f"({NAME})" in said
    assert "full name" not in carol.follow("6. How is all of it?")
    assert (carol.home / "status.html").exists()
    named = editing(carol.home, f"""sed -i '/^.admins.{NAME}.$/a full_name = "{FULL_NAME}"' "$1\"""")
    said = carol.follow("7. A first change", editor=named)
    assert said.count(f"{NAME}: full name {FULL_NAME!r}") == 2 * len(HOSTS), "planned, and done, on each"
    assert f":{FULL_NAME}:" in said
    assert {FULL_NAME in site.root(host, f"getent passwd {NAME}") for host in HOSTS} == {True}
    assert git(shared, "ls-remote", "origin", "main").split()[0] == git(carol.clone, "rev-parse", "HEAD").strip()


@pytest.mark.full
def test_and_to_a_drill(site: Saved, carol: Newcomer) -> None:
    site.must("run", DATA)
    assert "passed" in carol.follow("8. A drill")


def test_the_step_that_the_rehearsal_proves_is_the_rehearsal() -> None:
    assert Runbook(PAGE).sections[REHEARSAL] == "sudo bin/rehearse\n"
