"""A vault, a host with data and a control host in a lab of their own, and where the control host tells people."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import default
from functools import partial
from pathlib import Path
from typing import Any

from backup import custody
from cloud.converge import REPOSITORY, Converged, converge
from inventories import editing, secrets
from inventories.inventory import LoadedSite, load_site
from inventories.ssh import ssh_config
from lab.engine import LabConfig
from lab.sites import derive, only
from tests.labs import disconnect, kept_lab, one_connection, provider
from tests.post_office import Server, serving
from tests.restics import restic
from tests.waiting import until

MAINSTAY = Path(sys.executable).with_name("mainstay")
VAULT, DATA, CONTROL = "vault-1", "web-1", "control-1"
HOOK, PING = "/hook/0123456789abcdef", "/ping/fedcba9876543210"
"""Whoever knows them can write there: they are secrets."""
OFFICE_PORT = 8880
"""On the lab's gateway; hosts go on with it when the lab comes up again."""


@dataclass
class Watched:
    """The site in service, with a first backup of each data set."""

    inventory: Path
    lab: LabConfig
    office: Server

    @property
    def site(self) -> LoadedSite:
        return load_site(self.inventory)

    def deploy(self, name: str, *options: str) -> Converged:
        done = converge(self.inventory, name, *options)
        assert done.ok, done.output
        return done

    @property
    def ssh_config(self) -> Path:
        return one_connection(self.inventory.parent / "ssh_config", ssh_config(self.site))

    def ssh(self, host: str, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = ["ssh", "-F", str(self.ssh_config), "-o", "BatchMode=yes", host, *words]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)

    def root(self, host: str, command: str) -> str:
        done = self.ssh(host, "sudo", "sh", "-e", stdin=command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def mainstay(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`mainstay backup` on this machine, an admin's laptop."""
        command = [str(MAINSTAY), "backup", words[0], "--inventory", str(self.inventory), *words[1:]]
        own = {"PATH": "/usr/bin:/bin", "HOME": str(self.inventory.parent), "MAINSTAY_RESTIC": restic()}
        return subprocess.run(
            command, cwd=REPOSITORY, env=own, capture_output=True, text=True, check=False, timeout=300
        )

    def watch(self) -> bool:
        """By its service; whether that went well."""
        return self.ssh(CONTROL, "sudo", "systemctl", "start", "mainstay-control@watch").returncode == 0

    def told(self) -> list[tuple[list[str], list[str]]]:
        """What the webhook was told since it was last asked: what began, what ended."""
        found = [
            ([one["data_set"] + " " + one["kind"] for one in sent["began"]], [one["kind"] for one in sent["ended"]])
            for sent in self.office.messages(HOOK)
        ]
        self.office.got.clear()
        return found

    def pings(self) -> list[str]:
        return [path.removeprefix(PING) for path, _ in self.office.got if path.startswith(PING)]

    def subjects(self) -> list[str]:
        """Of all mail that has arrived."""
        mails = sorted((self.lab.root / "mail").glob("*.eml"))
        return [str(message_from_bytes(mail.read_bytes(), policy=default)["Subject"]) for mail in mails]

    def up(self, host: str) -> bool:
        """Whether it has booted."""
        return bool(self.ssh(host, "systemctl is-system-running --wait").stdout)

    def power(self, host: str, what: str) -> None:
        """start or halt, as the provider does."""
        disconnect(self.ssh_config, host)
        provider(self.lab, "POST", f"instances/{self.site.lock.hosts[host].instance_id}/{what}")
        if what == "start":
            until(f"{host} is up", partial(self.up, host), timeout_s=120)

    def lose(self, host: str) -> None:
        """A host and its volumes, at the provider: nobody here is told."""
        disconnect(self.ssh_config, host)
        locked = self.site.lock.hosts[host]
        provider(self.lab, "DELETE", f"instances/{locked.instance_id}")
        for volume in locked.volumes.values():
            provider(self.lab, "DELETE", f"blocks/{volume.id}")


class Upstream:
    """A repository that the control host mirrors, served as plain files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bare = folder, folder.parent / "it.git"
        self("init", "-q", "-b", "main", str(folder), cwd=folder.parent)
        self("init", "-q", "--bare", "-b", "main", str(self.bare), cwd=folder.parent)

    def __call__(self, *words: str, cwd: Path | None = None) -> str:
        command = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *words]
        done = subprocess.run(command, cwd=cwd or self.folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def publish(self, message: str, *words: str) -> str:
        self("commit", "-q", "--allow-empty", "-m", message, *words)
        self("push", "-q", "--force", str(self.bare), "main")
        self("update-server-info", cwd=self.bare)
        return self("rev-parse", "HEAD")


def watched_site(folder: Path) -> Iterator[Watched]:
    """A fixture's body. However many ask for it, a worker goes back to one that was built before where it can."""
    with kept_lab("watched", _build) as lab, serving(str(lab.gateway4), OFFICE_PORT) as office:
        made = Watched(_derive(lab, folder, office.url), lab, office)
        for host in (VAULT, DATA, CONTROL):
            until(f"{host} is up", partial(made.up, host))
        yield made
        disconnect(made.ssh_config)


def _build(lab: LabConfig) -> None:
    with serving(str(lab.gateway4), OFFICE_PORT) as office:
        made = Watched(_derive(lab, lab.root / "built", office.url), lab, office)
        custody.make(made.site)
        site = made.site
        wanted = {"notify_webhook": f"{office.url}{HOOK}", "notify_ping": f"{office.url}{PING}"}
        plain = {name: editing.Plain(value, (secrets.CONTROL,)) for name, value in wanted.items()}
        editing.apply(site.secrets.path, site.secrets.entries, plain, site.readers)
        made.deploy("provision")
        made.deploy("site")
        made.root(DATA, "echo page >/srv/web/public/page; systemctl start mainstay-backup@web")
        made.root(CONTROL, "systemctl start mainstay-backup@control")


def _derive(lab: LabConfig, folder: Path, office: str) -> Path:
    def change(document: Any) -> None:
        only(document, VAULT, DATA, CONTROL)
        document["settings"]["control"] = {"mirrors": {"it": f"{office}/it.git"}}

    return derive(lab, folder, change)


def commands(readme: Path) -> str:
    """The block of shell commands in a README."""
    [block] = re.findall(r"```sh\n(.*?)```", readme.read_text(), re.DOTALL)
    return str(block)
