"""A release server with an archive, a vault and a second copy in a lab of its own, as an admin's commands see them."""

import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from backup.custody import ADMIN, DataSet
from backup.reach import reach
from backup.restic import Restic
from backup.store import VAULT
from cloud import provision
from cloud.converge import REPOSITORY, converge
from inventories.inventory import load_site
from inventories.ssh import ssh_config
from lab import load
from lab.engine import LabConfig
from lab.go import debian_package
from lab.hosts import LabEngine
from lab.network import links
from lab.sites import derive, only
from tests.labs import disconnect, kept_lab, one_connection, provider
from tests.restics import restic
from tests.waiting import until

HOST, PLAN = "release-1", "release"
HOSTS = (HOST, "vault-1")
DATA = f"{HOST}:{PLAN}"
SET = DataSet(HOST, PLAN)
REPOSITORY_OF_IT = f"/srv/vault/repositories/{HOST}/{PLAN}"
HASHES = "find public -type f -exec sha256sum {} + | sort"


@dataclass(frozen=True)
class Saved:
    """A site with one data set. Nothing is saved yet."""

    inventory: Path
    folder: Path
    lab: LabConfig

    @property
    def environment(self) -> dict[str, str]:
        """What the admin has set."""
        chosen = {"MAINSTAY_INVENTORY": str(self.inventory), "MAINSTAY_RESTIC": restic()}
        return os.environ | chosen

    def words(self, *words: str, after: str = "") -> list[str]:
        clock = [debian_package("faketime", "faketime"), after] if after else []
        return [*clock, str(REPOSITORY / "bin/mainstay"), "backup", *words]

    def begin(self, *words: str, program: str = "", after: str = "") -> "subprocess.Popen[str]":
        """`mainstay backup WORDS`, in a process group of its own.

        program: in restic's place; after: some time from now, as `faketime` says it.
        """
        return subprocess.Popen(
            self.words(*words, after=after),
            env=self.environment | ({"MAINSTAY_RESTIC": program} if program else {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    def mainstay(self, *words: str, program: str = "", after: str = "") -> "subprocess.CompletedProcess[str]":
        with self.begin(*words, program=program, after=after) as running:
            out, err = running.communicate()
        return subprocess.CompletedProcess(running.args, running.returncode, out, err)

    def must(self, *words: str) -> str:
        """Standard output of a command that has to succeed."""
        done = self.mainstay(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def save_first(self) -> None:
        """The first backup; and the repository, whose key the host has made, gets one that is quick to open
        (tests/restics.py)."""
        self.must("run", DATA)
        with reach(load_site(self.inventory)) as way, way.store(VAULT, ADMIN) as vault:
            lasting = vault.repository(SET)
            passing = replace(lasting, password="of the way to another key")
            for old, new in ((lasting, passing), (passing, lasting)):
                Restic(old, restic()).add_key(new.password)
                made = Restic(new, restic())
                for key in [key for key, current in made.keys().items() if not current]:
                    made.remove_key(key)

    def status(self, after: str = "") -> tuple[int, list[dict[str, Any]]]:
        """Exit code, and the findings of the one data set."""
        done = self.mainstay("status", "--json", after=after)
        (found,) = json.loads(done.stdout)["data_sets"]
        return done.returncode, found["findings"]

    @property
    def ssh_config(self) -> Path:
        """For `ssh -F`."""
        return one_connection(self.folder / "ssh_config", ssh_config(load_site(self.inventory)))

    def ssh(self, host: str, command: str) -> "subprocess.CompletedProcess[str]":
        """A command as root on a host."""
        words = ["ssh", "-F", str(self.ssh_config), host, f"sudo sh -ec {shlex.quote(command)}"]
        return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    def root(self, host: str, command: str) -> str:
        """What a command as root, which has to succeed, prints."""
        done = self.ssh(host, command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def up(self, host: str) -> bool:
        """Whether it has booted."""
        return bool(self.ssh(host, "systemctl is-system-running --wait").stdout)

    def machine(self, host: str) -> str:
        """What the provider calls a host."""
        return load_site(self.inventory).lock.hosts[host].instance_id

    def power(self, host: str, what: str) -> None:
        """start or halt, as the provider does."""
        disconnect(self.ssh_config, host)
        provider(self.lab, "POST", f"instances/{self.machine(host)}/{what}")
        if what == "start":
            until(f"{host} is up", partial(self.up, host), timeout_s=120)

    def limit_link(self, host: str, mbit: int) -> None:
        """What comes to it comes at so many Mbit/s, as long as it runs."""
        for device in links(self.lab, self.machine(host)):
            words = ("tc", "qdisc", "replace", "dev", device, "root", "tbf", "rate", f"{mbit}mbit")
            subprocess.run([*words, "burst", "256kb", "latency", "50ms"], check=True)

    def sent(self, host: str) -> int:
        """Bytes that came to it so far."""
        devices = links(self.lab, self.machine(host))
        return sum(int(Path(f"/sys/class/net/{one}/statistics/tx_bytes").read_text()) for one in devices)

    def cut(self, host: str, *, off: bool) -> None:
        """Takes its links away, or gives them back, and it is reached again."""
        disconnect(self.ssh_config, host)
        LabEngine(self.lab).cut(self.machine(host), off=off)
        if not off:
            until(f"{host} is reached", partial(self.up, host))

    def agent(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """The agent on the release server, as root."""
        return self.ssh(HOST, "python3 -I /usr/local/lib/mainstay/backup.pyz " + " ".join(words))

    def entries(self) -> list[dict[str, Any]]:
        """The release server's ledger."""
        return [json.loads(line) for line in self.agent("ledger", PLAN).stdout.splitlines()]

    def deploy(self, *names: str) -> None:
        for name in names:
            done = converge(self.inventory, name)
            assert done.ok, done.output

    def save_more(self, name: str, megabytes: int) -> None:
        """A file of random bytes more on the release server, and a backup."""
        self.root("release-1", f"head -c {megabytes}M /dev/urandom >/srv/release/public/{name}")
        self.must("run", DATA)

    def hashes(self) -> str:
        """Of all files on the release server."""
        return self.root("release-1", f"cd /srv/release; {HASHES}")

    def restored(self, name: str, *words: str) -> tuple[str, str]:
        """The hashes of all files that come back, and what was said on the way."""
        back = self.folder / name
        done = self.mainstay("restore", DATA, "--to", str(back), *words)
        assert done.returncode == 0, done.stdout + done.stderr
        here = subprocess.run(["sh", "-c", HASHES], cwd=back, capture_output=True, text=True, check=True)
        return here.stdout.strip(), done.stderr


def lose_the_vault(saved: Saved) -> None:
    """With its volume, at the provider."""
    site = load_site(saved.inventory)
    api, locked = provision.client(site), site.lock.hosts["vault-1"]
    api.remove(f"/instances/{locked.instance_id}")
    for volume in locked.volumes.values():
        api.remove(f"/blocks/{volume.id}")


def saved_site(folder: Path) -> Iterator[Saved]:
    """A fixture's body. However many ask for it, a worker goes back to one that was built before where it can."""
    with kept_lab("saved", _build) as config:
        saved = Saved(_derive(config, folder), folder, config)
        for host in HOSTS:
            until(f"{host} is up", partial(saved.up, host))
        yield saved
        disconnect(saved.ssh_config)


def _build(config: LabConfig) -> None:
    made = Saved(_derive(config, config.root / "built"), config.root / "built", config)
    made.must("keys")
    made.deploy("provision", "site")
    load.content(load_site(made.inventory))
    # No backup but a test's own: one more between two of its steps would be none that the test knows of.
    made.root(HOST, f"systemctl disable --now mainstay-backup@{PLAN}.timer")


def _derive(config: LabConfig, folder: Path) -> Path:
    def change(document: Any) -> None:
        only(document, *HOSTS)
        del document["settings"]["web"]

    return derive(config, folder, change)
