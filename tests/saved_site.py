"""A release server with an archive and a vault, in a lab of their own, for tests of what befalls backups."""

import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inventories.inventory import load_site
from inventories.ssh import ssh_config
from lab import load
from lab.converge import REPOSITORY, converge
from lab.sites import derive
from tests.go import debian_package
from tests.labs import own_lab
from tests.restics import restic

DATA = "release-1:release"
REPOSITORY_OF_IT = "/srv/vault/repositories/release-1/release"


@dataclass(frozen=True)
class Saved:
    """The site, and every way to it."""

    inventory: Path
    folder: Path

    def mainstay(self, *words: str, program: str = "", after: str = "") -> "subprocess.CompletedProcess[str]":
        """`mainstay backup`: with a program in restic's place if one is named; after: some time from now."""
        clock = [debian_package("faketime", "faketime"), after] if after else []
        command = [*clock, str(REPOSITORY / "bin/mainstay"), "backup", *words, "--inventory", str(self.inventory)]
        environment = os.environ | {
            "MAINSTAY_RESTIC": program or restic(),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
        }
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def status(self, after: str = "") -> tuple[int, list[dict[str, Any]]]:
        """Exit code, and the findings of the one data set."""
        done = self.mainstay("status", "--json", after=after)
        (found,) = json.loads(done.stdout)["data_sets"]
        return done.returncode, found["findings"]

    def agent(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """The agent on the release server, as root."""
        return self.ssh("release-1", "python3 -I /usr/local/lib/mainstay/backup.pyz " + " ".join(words))

    def entries(self) -> list[dict[str, Any]]:
        """The release server's ledger."""
        return [json.loads(line) for line in self.agent("ledger", "release").stdout.splitlines()]

    def ssh(self, host: str, command: str) -> "subprocess.CompletedProcess[str]":
        """A command as root on a host."""
        config = self.folder / "ssh_config"
        config.write_text(ssh_config(load_site(self.inventory)))
        words = ["ssh", "-F", str(config), host, f"sudo sh -ec {shlex.quote(command)}"]
        return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    def deploy(self, *names: str) -> None:
        for name in names:
            done = converge(self.inventory, name)
            assert done.ok, done.output

    def root(self, host: str, command: str) -> str:
        done = self.ssh(host, command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()


def saved_site(folder: Path, part: str) -> Iterator[Saved]:
    """A fixture's body. Nothing is saved yet."""

    def without_web(document: Any) -> None:
        del document["hosts"]["web-1"]
        del document["settings"]["web"]

    with own_lab(part) as config:
        made = Saved(derive(config, folder, without_web), folder)
        assert made.mainstay("keys").returncode == 0
        made.deploy("provision", "site")
        load.content(load_site(made.inventory))
        yield made
