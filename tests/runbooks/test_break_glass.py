"""With what is on paper, and a machine that has nothing else: secrets, repository and data come back."""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from cloud.converge import REPOSITORY
from inventories import departed, envelope, identities
from tests.envelopes import commands, sheets
from tests.people_site import VALUES, Place, made
from tests.restics import restic
from tests.runbooks.reader import SHELL, follow_in
from tests.terminal import answered
from tests.watched_site import CONTROL, DATA, VAULT, Upstream, Watched, watched_site

PAGE = "break-glass"
OF_LAB = ("admins.toml", "control.age.pub", "copy.pem", "lock.json", "provider.pem", "secrets.age", "vault.pem")
"""Of a lab's own files those that a repository has."""


def names(folder: Path, **own: Any) -> dict[str, Any]:
    """All that the page sets, most of it as it is not asked for."""
    paths = {name: folder / name for name in ("files", "typed", "identity", "pages", "key", "repository", "to")}
    return {**paths, "name": "carol", "host": DATA, "role": "web", **own}


def follow(given: Mapping[str, Any], title: str, own: Mapping[str, str], cwd: Path = REPOSITORY) -> str:
    """own: of the environment."""
    path = f"{REPOSITORY / '.venv/bin'}:{os.environ['PATH']}"
    return follow_in(SHELL, {"cwd": cwd, "env": {**os.environ, "PATH": path, **own}}, PAGE, title, **given)


def test_sealed_looked_at_opened_by_two_of_three_and_stolen(tmp_path: Path) -> None:
    for name in ("alice", "bob", "carol"):
        made(tmp_path, name)
    site = Place(tmp_path, tmp_path)
    given = names(tmp_path, MAINSTAY_INVENTORY=site.inventory, files=site.files, key=tmp_path / "carol.pub")
    alice = {identities.VARIABLE: str(tmp_path / "alice")}
    said = follow(given, "Seal another envelope", alice)
    assert "2 secrets can now be opened by it" in said
    shares = [sheets(page)[page.stem.upper()] for page in sorted(given["pages"].iterdir())]
    given["typed"].write_text("\n".join(shares[:2]))
    assert "all 2 secrets open by it" in follow(given, "Look before it is sealed", alice)
    assert not given["pages"].exists()
    assert not given["typed"].exists()

    given["typed"].write_text("\n".join(shares[1:]))
    said = follow(given, "The last admin's key is lost", {identities.VARIABLE: "/nowhere"})
    assert "2 secrets can now be read by carol too" in said
    assert site.read_by("carol") == VALUES

    said = follow(given, "It was opened by somebody else, or is not where it was", alice)
    assert "envelope left on" in said
    assert departed.read(site.files)[envelope.READER].knows == tuple(sorted(VALUES))


def test_the_repository_gets_another_home(tmp_path: Path) -> None:
    upstream, home = Upstream(tmp_path / "work"), tmp_path / "home.git"
    tip = upstream.publish("all that there is")
    upstream("init", "-q", "--bare", str(home), cwd=tmp_path)
    given = names(tmp_path, MAINSTAY_INVENTORY="none", repository=home)
    follow(given, "The repository's host is gone", {}, tmp_path / "work")
    assert upstream("rev-parse", "main", cwd=home) == tip


@pytest.fixture
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    yield from watched_site(tmp_path_factory.mktemp("glass"))


@pytest.mark.lab
@pytest.mark.timeout(600)
def test_all_is_lost_but_the_paper_and_the_second_copy(watched: Watched, tmp_path: Path) -> None:
    pages = _saved(watched, tmp_path)
    machine = Machine(tmp_path / "machine")
    text = sheets(pages[0])
    for page in (pages[0], pages[2]):
        machine.type(page.stem.removesuffix("-of-3"), sheets(page)[page.stem.upper()])
    machine.type("letter", text["LETTER"])
    told = commands(pages[0])
    assert "WRONG" not in machine.run(told["look"])
    key = machine.run(told["key"]).strip()
    machine.run(told["letter"], {"Enter passphrase: ": [key]})
    machine.run(told["repository"], RESTIC_CACERT=str(watched.site.files / "copy.pem"))

    clone = machine.folder / "mainstay"
    made(tmp_path, "carol")
    machine.type("typed", *(sheets(page)[page.stem.upper()] for page in pages[1:]))
    given = names(machine.folder, MAINSTAY_INVENTORY=clone / "site.py", files=clone / "site", identity=tmp_path / "id")
    given["key"] = tmp_path / "carol.pub"
    own = {"HOME": str(machine.folder), "MAINSTAY_RESTIC": restic(), identities.VARIABLE: "/nowhere"}
    said = follow(given, "The last admin's key is lost", own)
    assert "can now be read by carol too" in said

    for host in (VAULT, DATA, CONTROL):
        watched.power(host, "halt")
    own[identities.VARIABLE] = str(tmp_path / "carol")
    said = follow(given, "The provider's account is locked", own)
    assert "from the second copy" in said
    assert (given["to"] / "public/page").read_text() == "page\n"


def _saved(watched: Watched, folder: Path) -> list[Path]:
    """Pages of an envelope, of a repository that the control host has a mirror of in its backup, and nobody else."""
    upstream = Upstream(folder / "work")
    inventory, files = folder / "work/site.py", folder / "work/site"
    document: Any = tomlkit.parse(watched.inventory.with_suffix(".toml").read_text())
    document["site"]["files"] = files.name
    del document["site"]["ssh_key"]
    inventory.with_suffix(".toml").write_text(tomlkit.dumps(document))
    inventory.write_text(watched.inventory.read_text())
    files.mkdir()
    for name in OF_LAB:
        shutil.copy(watched.site.files / name, files)
    given = names(folder, MAINSTAY_INVENTORY=inventory)
    follow(given, "Seal another envelope", {identities.VARIABLE: str(watched.site.ssh_key)})
    upstream("add", "--all")
    upstream.publish("a site")
    watched.office.folder = folder
    watched.root(CONTROL, "systemctl start mainstay-control@mirror; systemctl start mainstay-backup@control")
    done = watched.mainstay("copy")
    assert done.returncode == 0, done.stdout + done.stderr
    for gone in (upstream.folder, upstream.bare):
        shutil.rmtree(gone)
    return sorted(given["pages"].iterdir())


class Machine:
    """One that was set up just now; somebody types at it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.programs = folder, folder / "bin"
        self.programs.mkdir(parents=True)
        for name, program in {"restic": restic(), "python3": REPOSITORY / ".venv/bin/python3"}.items():
            (self.programs / name).write_text(f'#!/bin/sh\nexec {program} "$@"\n')
            (self.programs / name).chmod(0o755)

    def type(self, name: str, *lines: str) -> None:
        (self.folder / name).write_text("\n".join(lines) + "\n")

    def run(self, script: str, answers: Mapping[str, list[str]] | None = None, **own: str) -> str:
        """What it says; it has to go well. own: of the environment."""
        environment = {"PATH": f"{self.programs}:/usr/bin:/bin", "HOME": str(self.folder), **own}
        seen, code = answered(["bash", "-euc", script], answers or {}, cwd=self.folder, env=environment)
        assert code == 0, f"{script}\n{seen}"
        return seen
