"""A site of one host, for tests of provisioning."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import requests

from cloud import actual, provision
from cloud.client import Client
from cloud.converge import REPOSITORY, Converged, command, converge
from inventories.inventory import load_site
from inventories.lock import Lock
from inventories.ssh import ssh_config
from lab.engine import LabConfig
from lab.sites import derive, only

NUMBERS = count(1)


@dataclass
class SmallSite:
    """One host with everything a host can have, in the tests' lab but apart from its other sites."""

    name: str
    inventory: Path
    lab: LabConfig

    def provision(self, *options: str) -> Converged:
        return converge(self.inventory, "provision", *options)

    def kill(self, point: str) -> None:
        """Provisions, and dies at the point."""
        words = command(self.inventory, "provision")[1:]
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.provision_killed", point, *words],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL, f"{point} was never reached:\n{done.stdout}{done.stderr}"

    @property
    def api(self) -> Client:
        return provision.client(load_site(self.inventory))

    def seen(self) -> actual.Actual:
        """What bears the site's marks, whatever the lock knows."""
        return actual.read(self.api, load_site(self.inventory).fleet, Lock())

    def ssh(self, *words: str) -> subprocess.CompletedProcess[str]:
        config = self.inventory.parent / "ssh_config"
        config.write_text(ssh_config(load_site(self.inventory)))
        return subprocess.run(["ssh", "-F", config, "web-1", *words], capture_output=True, text=True, check=False)

    def fault(self, kind: str, **values: Any) -> None:
        url = f"{self.lab.api_url.removesuffix('/v2')}/lab/faults"
        key = load_site(self.inventory).secrets["vultr_api_key"].get_secret_value()
        headers = {"Authorization": f"Bearer {key}"}
        answer = requests.post(url, json={"kind": kind, **values}, headers=headers, timeout=60)
        assert answer.ok, answer.text

    def must_be_whole(self) -> None:
        """Exactly the declared things, once; the lock says so; the host is reached by its pinned key; nothing is left
        to do, and no private key is left anywhere but on the host."""
        site, seen = load_site(self.inventory), self.seen()
        (host,), (block,), (vpc,), (group,) = seen.instances, seen.blocks, seen.vpcs, seen.firewalls
        locked = site.lock.hosts["web-1"]
        assert (locked.instance_id, locked.ipv4, locked.ipv6) == (host.id, host.main_ip, host.v6_main_ip)
        assert (locked.volumes, block.attached_to_instance) == ({"content": block.locked}, host.id)
        assert (site.lock.vpcs, site.lock.firewalls) == ({"internal": vpc.id}, {"public-web": group.id})
        assert locked.first_contact_key == ""
        names = sorted((r.name, r.type, r.data) for r in seen.records if r.type in ("A", "AAAA"))
        addresses = (("A", host.main_ip), ("AAAA", host.v6_main_ip))
        assert names == sorted((name, kind, data) for name in ("web-1", "www") for kind, data in addresses)
        assert len(group.rules) == 4
        assert self.api.get(f"/instances/{host.id}/user-data")["user_data"]["data"] == ""
        keys = self.ssh("sudo cat /etc/ssh/ssh_host_*_key.pub; sudo grep -rlsF 'PRIVATE KEY' /var/lib/cloud /run; true")
        assert keys.stdout.strip() == locked.host_keys[0], keys.stderr
        again = self.provision()
        assert again.ok, again.output
        assert again.changed == ()

    def edit(self, change: Callable[[str], str]) -> None:
        toml = self.inventory.with_suffix(".toml")
        toml.write_text(change(toml.read_text()))


def small_site(lab: LabConfig, folder: Path) -> Iterator[SmallSite]:
    """A fixture's body: a site, its files in the folder, and none of its hosts and volumes afterwards."""
    name = f"small-{next(NUMBERS)}"

    def change(document: Any) -> None:
        document["site"].update({"name": name, "domain": f"{name}.example.org", "files": str(folder / "site")})
        only(document, "web-1")
        for other in document["firewalls"].keys() - {"public-web"}:
            del document["firewalls"][other]
        document["hosts"]["web-1"]["dns"] = [f"www.{name}.example.org"]
        document["vpcs"]["internal"]["subnet"] = f"10.30.{name.removeprefix('small-')}.0/24"
        document["firewalls"]["public-web"]["rules"] = [
            {"protocol": "tcp", "port": "22", "notes": "admins"},
            {"protocol": "icmp"},
        ]

    shutil.copytree(lab.root / "site", folder / "site", ignore=shutil.ignore_patterns("lock.json"))
    derive(lab, folder, change)
    inventory = folder / f"{name}.py"
    for suffix in (".py", ".toml"):
        (folder / f"{lab.name}{suffix}").rename(inventory.with_suffix(suffix))
    site = SmallSite(name, inventory, lab)
    yield site
    requests.delete(
        f"{lab.api_url.removesuffix('/v2')}/lab/faults",
        headers={"Authorization": site.api._session.headers["Authorization"]},
        timeout=60,
    )
    seen = site.seen()
    for host in seen.instances:
        site.api.remove(f"/instances/{host.id}")
    for block in seen.blocks:
        site.api.remove(f"/blocks/{block.id}")
