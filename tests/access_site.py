"""A site of two hosts with nothing but the base, for tests of who gets in."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit

from cloud import provision
from cloud.converge import Converged, converge
from inventories.inventory import load_site
from inventories.ssh import ssh_config
from lab.engine import LabConfig
from lab.sites import derive, only
from tests.waiting import until

FIREWALL, SSHD = "firewall-1", "sshd-1"
WITHIN_S = 60


@dataclass
class Site:
    """Two hosts with nothing but the base."""

    inventory: Path

    @property
    def admins_file(self) -> Path:
        return load_site(self.inventory).files / "admins.toml"

    def change(self, edit: Callable[[Any], None], *, admins: bool = False) -> None:
        path = self.admins_file if admins else self.inventory.with_suffix(".toml")
        document = tomlkit.parse(path.read_text())
        edit(document)
        path.write_text(tomlkit.dumps(document))

    def set(self, host: str, **settings: Any) -> None:
        """The host's own settings of the base, these and no others."""
        self.change(lambda document: document["hosts"][host].update(settings={"base": settings}))

    def deploy(self, *hosts: str) -> Converged:
        return converge(self.inventory, "base", *(f"--limit={host}" for host in hosts))

    def ssh(self, host: str, *words: str, user: str = "", attempts: int = 1) -> subprocess.CompletedProcess[str]:
        """A new connection each time."""
        config = self.inventory.parent / "ssh_config"
        config.write_text(ssh_config(load_site(self.inventory)))
        options = ["-F", str(config), f"-oConnectionAttempts={attempts}", *(("-l", user) if user else ())]
        return subprocess.run(["ssh", *options, host, *words], capture_output=True, text=True, check=False)

    def root(self, host: str, words: str) -> str:
        """A daemon that was told to read its configuration listens anew a moment later: so it is asked again."""
        done = self.ssh(host, f"sudo {words}", attempts=5)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def reboot(self, host: str) -> None:
        """As by a loss of power."""
        loaded = load_site(self.inventory)
        client = provision.client(loaded)
        client.ensure(f"/instances/{loaded.lock.hosts[host].instance_id}/reboot", {}, done=lambda: False)

    def access(self, host: str) -> str:
        """What decides who gets in: firewall (without counters), network, sshd, keys, accounts, sudo."""
        return self.root(
            host,
            "sh -c 'nft -st list table inet mainstay; sysctl net.ipv4.tcp_syncookies; sshd -T; "
            "cat /home/*/.ssh/authorized_keys; getent shadow; sudo -l -U nobody'",
        )

    def must_be_back(self, host: str) -> None:
        """There is a way in, and the roll-back has ended: until then it restarts what a connection needs."""
        done = "sudo test ! -e /var/lib/mainstay/armed"
        until(f"a way into {host}", lambda: not self.ssh(host, done).returncode, timeout_s=WITHIN_S, every_s=1)

    def must_be_disarmed(self, host: str) -> None:
        left = self.root(
            host, "sh -c 'ls -d /var/lib/mainstay/armed; systemctl is-active mainstay-rollback-timer.timer; true'"
        )
        assert left.strip() == "inactive"

    def must_be_settled(self, *hosts: str) -> None:
        """A deploy of what is declared now is fine, and it, or else the one after it, finds nothing to do."""
        again = self.deploy(*hosts)
        assert again.ok, again.output
        assert again.changed == () or self.deploy(*hosts).changed == ()
        for host in hosts:
            self.must_be_disarmed(host)


def access_site(config: LabConfig) -> Site:
    """The site in a lab of its own, in service; its admins are `lab`, who deploys, and `other`."""

    def change(document: Any) -> None:
        web = document["hosts"].pop("web-1").unwrap() | {"dns": [], "volumes": {}, "role": "base"}
        only(document)
        for name in (FIREWALL, SSHD):
            document["hosts"][name] = dict(web)

    site = Site(derive(config, config.root / "inventory", change))
    key = config.root / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "other", "-f", key], check=True)
    site.change(
        lambda document: document["admins"].update(other={"ssh_keys": [key.with_suffix(".pub").read_text().strip()]}),
        admins=True,
    )
    for deploy in ("provision", "base"):
        done = converge(site.inventory, deploy)
        assert done.ok, done.output
    return site
