"""A host of the lab with nothing on it but its admin, for tests and benchmarks of what roles are built from."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import requests

from cloud.user_data import cloud_config, encode, host_key
from inventories.admins import load_admins
from lab import lifecycle
from lab.engine import LabConfig
from tests.waiting import until

PATIENCE_S = 120


@dataclass(frozen=True)
class BareHost:
    """Log in as `lab`, who may sudo."""

    name: str
    address: str
    key: Path
    known_hosts: Path
    url: str
    headers: dict[str, str]

    def ssh(self, command: str, *, check: bool = True) -> str:
        """What a command says on the host, by ssh and not by what is tested."""
        options = ["-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={self.known_hosts}", "-i", str(self.key)]
        done = subprocess.run(
            ["ssh", *options, f"lab@{self.address}", command], stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if check and done.returncode:
            raise AssertionError(f"{self.name}: `{command}` ends with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def root(self, command: str, *, check: bool = True) -> str:
        return self.ssh(f"sudo -n sh -c '{command}'", check=check)

    def destroy(self) -> None:
        requests.delete(self.url, headers=self.headers, timeout=60).raise_for_status()


def inventory(hosts: Sequence[BareHost], folder: Path) -> Path:
    """An inventory for pyinfra of these hosts alone, in one group."""
    lines = []
    for host in hosts:
        data = {
            "ssh_hostname": host.address,
            "ssh_user": "lab",
            "ssh_key": str(host.key),
            "ssh_known_hosts_file": str(host.known_hosts),
            "ssh_strict_host_key_checking": "yes",
        }
        lines.append(f"    ({host.name!r}, {data!r}),\n")
    path = folder / "inventory.py"
    path.write_text(f"bare = [\n{''.join(lines)}]\n")
    return path


def create(lab: LabConfig, names: Sequence[str], folder: Path) -> list[BareHost]:
    """Boots them all at once, and returns when all take logins and have finished booting."""
    headers = {"Authorization": f"Bearer {lifecycle.api_key(lab)}"}
    site = lab.root / "site"
    admins = load_admins(site / "admins.toml").all()
    systems = requests.get(f"{lab.api_url}/os", params={"per_page": "500"}, headers=headers, timeout=120).json()["os"]
    debian = next(system["id"] for system in systems if system["name"] == "Debian 13 x64 (trixie)")
    keys, urls = {}, {}
    for name in names:
        keys[name] = host_key()
        wanted = {
            "region": "ams",
            "plan": "vc2-1c-1gb",
            "os_id": debian,
            "label": name,
            "hostname": name,
            "user_data": encode(cloud_config(name, "lab.internal", tuple(admins), keys[name])),
        }
        answer = requests.post(f"{lab.api_url}/instances", json=wanted, headers=headers, timeout=60)
        assert answer.status_code == 202, answer.text
        urls[name] = f"{lab.api_url}/instances/{answer.json()['instance']['id']}"
    known_hosts = folder / "known_hosts"
    hosts = []
    for name in names:
        address = _address(urls[name], headers)
        with known_hosts.open("a") as out:
            out.write(f"{address} {keys[name].public}\n")
        hosts.append(BareHost(name, address, site / "id_ed25519", known_hosts, urls[name], headers))
    for host in hosts:
        _until_booted(host)
    return hosts


def _address(url: str, headers: dict[str, str]) -> str:
    def look() -> str:
        address = str(requests.get(url, headers=headers, timeout=120).json()["instance"]["main_ip"])
        return "" if address == "0.0.0.0" else address

    return until(f"an address at {url}", look, timeout_s=PATIENCE_S)


def _until_booted(host: BareHost) -> None:
    ready = ("running", "degraded")
    look = "systemctl is-system-running --wait"
    until(f"{host.name} booted", lambda: host.ssh(look, check=False).strip() in ready, timeout_s=PATIENCE_S)
