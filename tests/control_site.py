"""A vault, a host with data, and the keys of a control host, in a lab of its own."""

import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit

from backup import custody
from cloud.converge import Converged, converge
from inventories.files import replace
from inventories.inventory import LoadedSite, load_site
from inventories.ssh import blocks, ssh_config
from lab.sites import derive, only
from tests.labs import own_lab

VAULT, DATA, CONTROL = "vault-1", "web-1", "control-1"


@dataclass
class ControlSite:
    """A fleet whose control host is declared, and need not be there: whoever holds its keys is it."""

    inventory: Path
    folder: Path

    @property
    def site(self) -> LoadedSite:
        return load_site(self.inventory)

    def deploy(self, name: str) -> Converged:
        done = converge(self.inventory, name)
        assert done.ok, done.output
        return done

    def deploys(self, *names: str) -> list[Converged]:
        """Several at once."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(self.deploy, names))

    def root(self, host: str, command: str, *, check: bool = True) -> str:
        """A command of root's, by an admin."""
        config = self.folder / "ssh_config"
        config.write_text(ssh_config(self.site))
        words = ["ssh", "-F", str(config), host, "sudo", "sh", "-e"]
        done = subprocess.run(words, input=command, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    @property
    def stolen(self) -> Path:
        """For `ssh -F`: as the control host's account, with its key."""
        site = self.site
        key, config = self.folder / "stolen", self.folder / "stolen_config"
        replace(key, site.secrets[custody.SSH_KEY].get_secret_value(), 0o600)
        hosts = {name: host.ipv4 for name, host in site.lock.hosts.items()}
        config.write_text(blocks(hosts, custody.CONTROL, site.known_hosts(), key))
        return config

    def change(self, change: Callable[[Any], None]) -> None:
        """Changes what the inventory declares."""
        text = self.inventory.with_suffix(".toml")
        document: Any = tomlkit.parse(text.read_text())
        change(document)
        text.write_text(tomlkit.dumps(document))


def control_site(folder: Path, part: str) -> Iterator[ControlSite]:
    """A fixture's body. The control host is declared and not there: who has its keys can be it all the same."""
    with own_lab(part) as lab:
        inventory = derive(lab, folder, lambda document: only(document, VAULT, DATA))
        made = ControlSite(inventory, folder)
        made.deploy("provision")
        derive(lab, folder, lambda document: only(document, VAULT, DATA, CONTROL))
        custody.make(made.site)
        made.deploys("vault", "web")
        made.root(DATA, "echo page >/srv/web/public/page; systemctl start mainstay-backup@web")
        yield made
