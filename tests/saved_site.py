"""A release server with an archive, and the vault that it is saved to, in a lab of their own."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inventories.inventory import load_site
from inventories.ssh import ssh_config
from lab import load
from lab.converge import REPOSITORY, converge
from lab.sites import derive
from tests.labs import own_lab
from tests.restics import restic

HOST, PLAN = "release-1", "release"
DATA = f"{HOST}:{PLAN}"
REPOSITORY_OF_IT = f"/srv/vault/repositories/{HOST}/{PLAN}"


@dataclass(frozen=True)
class Saved:
    """The site, and `mainstay backup` as its admin gives it. Nothing is saved yet."""

    inventory: Path
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What the admin has set."""
        return os.environ | {"MAINSTAY_RESTIC": restic(), "XDG_CACHE_HOME": str(self.folder / "cache")}

    def words(self, *words: str) -> list[str]:
        return [str(REPOSITORY / "bin/mainstay"), "backup", *words, "--inventory", str(self.inventory)]

    def mainstay(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.words(*words),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def good(self, *words: str) -> str:
        """What a command says that must succeed."""
        done = self.mainstay(*words)
        assert done.returncode == 0, f"{words}: exit code {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    @property
    def ssh_config(self) -> Path:
        config = self.folder / "ssh_config"
        config.write_text(ssh_config(load_site(self.inventory)))
        return config

    def root(self, host: str, command: str) -> str:
        words = ["ssh", "-F", str(self.ssh_config), host, f"sudo sh -ec '{command}'"]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@contextmanager
def saved_site(part: str, folder: Path) -> Iterator[Saved]:
    """The site in service, with its archive."""

    def without_web(document: Any) -> None:
        del document["hosts"]["web-1"]
        del document["settings"]["web"]

    with own_lab(part) as config:
        made = Saved(derive(config, folder, without_web), folder)
        made.good("keys")
        for deploy in ("provision", "site"):
            done = converge(made.inventory, deploy)
            assert done.ok, done.output
        load.content(load_site(made.inventory))
        yield made
