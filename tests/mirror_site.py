"""A Gerrit and a mirror of it, deployed on hosts of a lab of their own."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import tomlkit

from lab import authority
from lab.engine import LabConfig
from tests.gerrit_site import HOST as GERRIT
from tests.gerrit_site import NAME as SOURCE
from tests.gerrit_site import derived as with_gerrit
from tests.labs import disconnect, kept_lab
from tests.saved_site import Saved
from tests.waiting import until

HOST, NAME = "mirror-1", "git.lab.example.org"
MOUNT = "/srv/gitmirror"


def derived(config: LabConfig, folder: Path) -> Path:
    """The inventory of a lab's site that has nothing but the two."""
    inventory = with_gerrit(config, folder)
    declared = inventory.with_suffix(".toml")
    document: Any = tomlkit.parse(declared.read_text())
    document["hosts"][HOST] = tomlkit.item(document["hosts"][GERRIT].unwrap())
    own = {"role": "gitmirror", "plan": "vc2-1c-1gb", "firewall": "public-web", "dns": [NAME]}
    document["hosts"][HOST] |= own
    document["hosts"][HOST]["volumes"] = {"repositories": {"size_gb": 10, "mount": MOUNT}}
    document["settings"]["gitmirror"] = {
        "source": f"https://{SOURCE}",
        "certificate": {"directory": authority.directory(config)},
    }
    declared.write_text(tomlkit.dumps(document))
    return inventory


def mirror_site(folder: Path) -> Iterator[Saved]:
    """A fixture's body."""
    with kept_lab("gitmirror", _build) as config:
        made = Saved(derived(config, folder), folder, config)
        for host in (HOST, GERRIT):
            until(f"{host} is up", partial(made.up, host), timeout_s=120)
        yield made
        disconnect(made.ssh_config)


def _build(config: LabConfig) -> None:
    made = Saved(derived(config, config.root / "built"), config.root / "built", config)
    made.deploy("provision", "gerrit", "gitmirror")
