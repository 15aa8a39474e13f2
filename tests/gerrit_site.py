"""A Gerrit and the vault of its backups, deployed in a lab of its own."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from inventories.files import sha256
from lab import gerrit_war
from lab.engine import LabConfig
from lab.sites import GERRIT, derive, only
from tests.labs import disconnect, kept_lab
from tests.saved_site import Saved
from tests.waiting import until

HOST, NAME = GERRIT, "review.lab.example.org"
VAULT = "vault-1"
VERSION = gerrit_war.CURRENT
SERVER_ID = "3b5e7f5c-5a0c-4a86-9d1c-0a4f3f6a2f11"


def derived(config: LabConfig, folder: Path, version: str = VERSION, *others: str) -> Path:
    """The inventory of a lab's site that has nothing but Gerrit, and other hosts of the lab that are named."""
    war = gerrit_war.war(version)

    def change(document: Any) -> None:
        only(document, HOST, *others)
        for role in ("release", "control", "web"):
            del document["settings"][role]
        declared = {"version": version, "sha256": sha256(war), "source": str(war)}
        document["settings"]["gerrit"]["war"].update(declared)

    return derive(config, folder, change)


def gerrit_site(folder: Path) -> Iterator[Saved]:
    """A fixture's body. Nothing is saved yet, and nothing is but by the test."""
    with kept_lab("gerrit", _build) as config:
        made = Saved(derived(config, folder, VERSION, VAULT), folder, config)
        for host in (HOST, VAULT):
            until(f"{host} is up", partial(made.up, host), timeout_s=120)
        yield made
        disconnect(made.ssh_config)


def _build(config: LabConfig) -> None:
    made = Saved(derived(config, config.root / "built", VERSION, VAULT), config.root / "built", config)
    deploy(made)


def deploy(made: Saved) -> None:
    """All its hosts. Nothing is saved but by a test."""
    made.must("keys")
    made.deploy("provision", "site")
    timers(made, "disable")


def timers(made: Saved, verb: str) -> None:
    """`enable` or `disable` those by which Gerrit would be saved in the middle of a test."""
    made.root(HOST, f"systemctl {verb} --now mainstay-backup@gerrit.timer mainstay-backup-verify@gerrit.timer")
