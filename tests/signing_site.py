"""A signing host in a lab of its own: the site, and what is asked of it."""

import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloud.converge import REPOSITORY, Converged, converge
from inventories.inventory import load_site
from inventories.ssh import ssh_config
from lab import services
from lab.engine import LabConfig
from lab.sites import derive
from roles.signing.tools.places import FILE
from tests import signing_hsms
from tests.labs import one_connection

HOST = "signing-1"
SERIALS = ("0999000001", "0999000002")
"""Of simulated devices."""
LOG_PORT = 7999
KEYBOARD = "0627:0001"
"""QEMU's."""


@dataclass(frozen=True)
class SigningSite:
    """One host with the role `signing`."""

    lab: LabConfig
    inventory: Path

    @property
    def ssh_config(self) -> Path:
        return one_connection(self.inventory.parent / "ssh_config", ssh_config(load_site(self.inventory)))

    @property
    def address(self) -> str:
        return load_site(self.inventory).lock.hosts[HOST].ipv4

    def deploy(self, name: str = "signing") -> Converged:
        return converge(self.inventory, name)

    def words(self, command: str, *, root: bool = True) -> list[str]:
        return ["ssh", "-F", str(self.ssh_config), HOST, *(["sudo"] if root else []), "sh", "-c", shlex.quote(command)]

    def run(
        self, command: str, *, root: bool = True, given: str = "", timeout_s: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """As root, or as the admin who logs in. given: what it reads."""
        words = self.words(command, root=root)
        return subprocess.run(words, input=given, capture_output=True, text=True, check=False, timeout=timeout_s)

    def root(self, command: str) -> str:
        done = self.run(command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def suite(self, *suites: str) -> subprocess.CompletedProcess[str]:
        """The roles' own suites on it, as an admin runs them."""
        paths = [str(path) for suite in suites for path in sorted(REPOSITORY.glob(f"tests/roles/test_{suite}*.py"))]
        words = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", *paths, "--inventory", str(self.inventory)]
        return subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=3000)


def signing_site(lab: LabConfig, folder: Path, keyboards: tuple[str, ...] = (KEYBOARD,), **more: Any) -> SigningSite:
    """Declares it, with an hsm.toml; nothing is made yet. more: keys of the host, such as those that make it a VM."""

    def change(document: Any) -> None:
        gateway = str(lab.gateway4)
        document["hosts"] = {HOST: {"role": "signing", "plan": "vc2-1c-1gb", "region": "ams"} | more}
        cache = services.cache_url(lab).rsplit(":", 1)[1].strip("/")
        allowed = [
            {"user": "_apt", "address": gateway, "port": int(cache)},
            {"user": "systemd-resolve", "address": gateway, "port": 53, "protocol": "udp"},
            {"user": "systemd-resolve", "address": gateway, "port": 53},
            {"user": "signing-logs", "address": gateway, "port": LOG_PORT},
        ]
        document["settings"] = {
            "base": {"time_servers": []},
            "signing": {"hsms": list(SERIALS), "keyboards": list(keyboards), "destinations": allowed},
        }
        for part in ("drill", "backup"):
            document.pop(part)

    site = SigningSite(lab, derive(lab, folder, change))
    (load_site(site.inventory).files / FILE).write_text(signing_hsms.declaration())
    return site


def made(site: SigningSite) -> SigningSite:
    """Provisioned and deployed."""
    for name in ("provision", "signing"):
        done = site.deploy(name)
        assert done.ok, done.output
    return site
