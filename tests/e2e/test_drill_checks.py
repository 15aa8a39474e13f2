"""The checks and faults of drills on hosts as they are deployed: real nginx and owners, the control host's software."""

import base64
import json
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backup import collected, custody
from backup.agent import refs
from backup.drills.checks import CheckFailed, File, NotJudged
from backup.drills.on_host import EPOCH, lying
from backup.drills.serving import CERTIFICATE_FILE, SERVER_FILE, own_certificate
from backup.drills.web_client import Web
from backup.ledger import append
from cloud.converge import converge
from inventories import trusted
from inventories.inventory import LoadedSite, load_site
from inventories.ssh import ssh_config
from lab import load, sample
from lab.sites import derive, only
from tests.labs import one_connection, own_lab
from tests.unit.ledgers import at, entry
from tests.unit.restored_copy import failure, git, run

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
ROLES = ("release", "web", "control")
PRISTINE = "/root/pristine"
HELD = {"control": ("/etc/mainstay/control/age_key", "/etc/mainstay/control/ssh_key")}
"""What faults change besides the data."""
SERVER = (SERVER_FILE, CERTIFICATE_FILE)


@dataclass
class Deployed:
    """A Restored: the data of a deployed host, of which a copy is kept there, as the snapshot would have it."""

    site: LoadedSite
    host: str
    role: str
    config: Path
    record: Path
    checksums: Path
    saved: Sequence[File] = ()
    turn: int = 0
    snapshot_time: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def root(self) -> str:
        return custody.recovery(self.role).root

    @property
    def settings(self) -> Any:
        return self.site.settings(self.host)[self.role]

    @property
    def names(self) -> Sequence[str]:
        return [name for host in self.site.fleet.hosts.values() for name in host.dns]

    @property
    def wanted(self) -> Sequence[File]:
        return [file for file in self.saved if file.path != "sample.sha256"]

    @property
    def client(self) -> Web:
        locked, (name, *_) = self.site.lock.hosts[self.host], self.site.fleet.hosts[self.host].dns
        return Web(locked.ipv4, name, trusted.pinned(own_certificate(self)))

    def sh(self, script: str, *arguments: str, timeout_s: float = 120) -> str:
        words = shlex.join(["sudo", "sh", "-c", script, "sh", *arguments])
        done = subprocess.run(
            ["ssh", "-F", str(self.config), self.host, words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode:
            raise CheckFailed(done.stderr.strip() or f"exit code {done.returncode}")
        return done.stdout

    def read(self, *paths: str) -> list[bytes]:
        return [base64.b64decode(self.sh('base64 "$1"', f"{PRISTINE}/{path}")) for path in paths]

    def last(self, check: str) -> Sequence[str]:
        return ()

    def mirror(self, name: str) -> Path:
        if name != "checksums":
            raise NotJudged(f"no mirror {name}")
        return self.checksums

    @property
    def folders(self) -> str:
        return " ".join(custody.recovery(self.role).paths)

    def save(self) -> None:
        """What lies there now is what a snapshot has."""
        self.sh(f"mkdir -p {PRISTINE}; cd {self.root}; cp -a {self.folders} {PRISTINE}")
        self.sh(f"cd {self.root}; ! [ -f {refs.MANIFEST} ] || mv {refs.MANIFEST} {PRISTINE}")
        for path in (*SERVER, *HELD.get(self.role, ())):
            self.sh(f"! [ -f {path} ] || cp -a {path} {PRISTINE}.{path.rpartition('/')[2]}")
        self.saved = [File(path, "dir") for path in custody.recovery(self.role).paths]
        self.saved = [
            File(path, one.type, one.size, EPOCH + timedelta(microseconds=one.mtime), one.mode, one.user, one.group)
            for path, one in lying(self).items()
        ]
        if self.role == "control":
            self.saved = [*self.saved, File(refs.MANIFEST, "file")]

    def mend(self) -> None:
        """Everything as it was saved."""
        self.sh(f"cd {self.root}; rm -rf {self.folders}; cd {PRISTINE}; cp -a {self.folders} {self.root}")
        for path in (*SERVER, *HELD.get(self.role, ())):
            self.sh(f"! [ -f {path} ] || cp -a {PRISTINE}.{path.rpartition('/')[2]} {path}")
        if self.role != "control":
            # So many restarts in a row systemd takes for a service that cannot start.
            self.sh("systemctl reset-failed nginx.service; systemctl restart nginx.service")


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Deployed]]:
    folder = tmp_path_factory.mktemp("checks")
    hosts = [f"{role}-1" for role in ROLES]
    with own_lab("drillchecks", prepared=True) as lab:
        inventory = derive(lab, folder, lambda document: only(document, "vault-1", *hosts))
        done = converge(inventory, "provision")
        assert done.ok, done.output
        custody.make(load_site(inventory))
        with ThreadPoolExecutor() as pool:
            for done in pool.map(lambda role: converge(inventory, role), ROLES):
                assert done.ok, done.output
        site = load_site(inventory)
        load.content(site)
        config = one_connection(folder / "ssh_config", ssh_config(site))
        made = {role: Deployed(site, f"{role}-1", role, config, folder / "record", checksums(folder)) for role in ROLES}
        made["control"].sh("systemctl stop 'mainstay-control@*.timer' 'mainstay-control@*.service'")
        kept(made["control"], folder)
        for one in made.values():
            one.save()
        yield made


def checksums(folder: Path) -> Path:
    """The list of checksums of the sample, as a bare repository."""
    bare = folder / "checksums.git"
    if not bare.exists():
        sample.archive(folder / "archive")
        work = folder / "checksums"
        work.mkdir()
        for path in (folder / "archive").rglob("*.sha256sum"):
            (work / path.name).write_bytes(path.read_bytes())
        git(work, "init", "-q", ".")
        git(work, "add", ".")
        git(work, "commit", "-qm", "all")
        git(work, "clone", "-q", "--bare", ".", str(bare))
    return bare


def kept(control: Deployed, folder: Path) -> None:
    """Ledgers, a mirror and a zone, as its timers would have brought them there."""
    root, own = folder / "kept", folder / "ledger.jsonl"
    for hour in range(5):
        append(own, entry(hour))
    collected.collect(root / "ledgers", "release-1", "release", own.read_bytes().splitlines(), at(6))
    (root / "mirrors").mkdir()
    git(root / "mirrors", "clone", "-q", "--bare", str(control.checksums), "checksums.git")
    refs.write(root, ("ledgers", "mirrors"))
    packed = subprocess.run(["tar", "-cC", str(root), "."], capture_output=True, check=True).stdout
    script = "sudo tar -xC /srv/control; sudo chown -R control:control /srv/control/ledgers /srv/control/mirrors"
    subprocess.run(["ssh", "-F", str(control.config), control.host, script], input=packed, check=True)
    subprocess.run(["cp", "-a", str(root / "ledgers"), str(control.record)], check=True)


@pytest.mark.parametrize("role", ROLES)
def test_every_check_passes_on_a_deployed_host(deployed: dict[str, Deployed], role: str) -> None:
    drill = custody.recovery(role).drill
    assert drill
    for one in drill.checks:
        assert one.run(deployed[role]).told, one.name


def faults() -> Iterator[Any]:
    """Of each role, two with every run, all with a full one."""
    for role in ROLES:
        drill = custody.recovery(role).drill
        assert drill
        for number, fault in enumerate(drill.faults):
            yield pytest.param(role, fault.name, marks=[] if number < 2 else pytest.mark.full)


@pytest.mark.parametrize(("role", "name"), faults())
def test_each_fault_is_found_on_a_deployed_host(deployed: dict[str, Deployed], role: str, name: str) -> None:
    copy, drill = deployed[role], custody.recovery(role).drill
    assert drill
    fault = next(one for one in drill.faults if one.name == name)
    try:
        assert fault.plant(copy)
        said = failure(drill, fault.caught_by, copy)
        print(json.dumps([role, name, fault.caught_by, said[:200]]))
    finally:
        copy.mend()
    run(drill, fault.caught_by, copy)
