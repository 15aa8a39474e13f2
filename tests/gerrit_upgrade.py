"""A Gerrit of an older version with a vault, which may be brought to the lab's own, deployed in a lab of its own."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import tomlkit

from inventories.files import sha256
from lab import gerrit_war
from lab.engine import LabConfig
from roles.gerrit.upgrading import PROGRAM, unit
from tests.gerrit_content import fill
from tests.gerrit_site import HOST, VERSION, deploy, derived
from tests.labs import disconnect, kept_lab
from tests.saved_site import Saved
from tests.waiting import until

OLD, VAULT = "3.12.0", "vault-1"
NUMBERS = (
    "curl -sSf -u mainstay:$(cat /etc/gerrit/token) 'http://127.0.0.1:8081/a/changes/?q=is:open' | "
    "grep -o '\"_number\":[0-9]*' | sort | tr -d '\\n'"
)


def upgradable(folder: Path) -> Iterator[Saved]:
    """A fixture's body. It has content, and nothing is saved."""
    with kept_lab("upgradable-gerrit", _build) as config:
        made = Saved(_derived(config, folder), folder, config)
        for host in (HOST, VAULT):
            until(f"{host} is up", partial(made.up, host), timeout_s=120)
        made.root(HOST, "systemctl start gerrit")
        yield made
        disconnect(made.ssh_config)


def _derived(config: LabConfig, folder: Path) -> Path:
    inventory = derived(config, folder, OLD, VAULT)
    file, war = inventory.with_suffix(".toml"), gerrit_war.war(VERSION)
    document: Any = tomlkit.parse(file.read_text())
    declared = {"version": VERSION, "sha256": sha256(war), "source": str(war)}
    document["settings"]["gerrit"]["upgrade"] = declared
    file.write_text(tomlkit.dumps(document))
    return inventory


def _build(config: LabConfig) -> None:
    made = Saved(_derived(config, config.root / "built"), config.root / "built", config)
    deploy(made)
    fill(made)


def told(gerrit: Saved, *more: str) -> dict[str, Any]:
    """How its host says that an upgrade stands."""
    found: dict[str, Any] = json.loads(gerrit.root(HOST, f"python3 -I {PROGRAM} told /srv/gerrit {' '.join(more)}"))
    return found


def begin(gerrit: Saved) -> None:
    gerrit.root(HOST, f"systemctl start --no-block {unit(VERSION)}")


def serves(gerrit: Saved) -> tuple[str, str]:
    """Which version answers, and the numbers of its open changes."""
    version = "curl -sSf http://127.0.0.1:8081/config/server/version | tail -1 | tr -d '\"'"
    return gerrit.root(HOST, version), gerrit.root(HOST, NUMBERS)


def ended(gerrit: Saved) -> bool:
    """Whether no upgrade is at work, and the server is up."""
    states = gerrit.root(HOST, f"systemctl is-active gerrit {unit(VERSION)} || true").split()
    return states[0] == "active" and states[1] in ("inactive", "failed")
