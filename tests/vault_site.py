"""A vault in a lab of its own, with the backups of two hosts of which one is in the wrong hands."""

import hashlib
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from backup import custody
from backup.custody import APPEND, PORTS
from backup.restic import Restic
from backup.restic_process import Repository
from cloud.converge import Converged, converge
from inventories.inventory import LoadedSite, load_site
from inventories.ssh import ssh_config
from lab.engine import LabConfig
from lab.sites import derive, only
from tests.labs import disconnect, kept_lab, one_connection
from tests.restics import restic
from tests.vault_client import Answer, Listener, through_ssh
from tests.waiting import until

VAULT, ROOTED, VICTIM = "vault-1", "web-1", "release-1"
OWN, OTHER = f"/{ROOTED}/web", f"/{VICTIM}/release"
REPOSITORIES = "/srv/vault/repositories"
QUOTA_PERCENT = 50


@dataclass
class Vault:
    """A vault in service, two hosts that save to it, and every way to it."""

    inventory: Path
    folder: Path
    inside: dict[str, Listener]

    @property
    def site(self) -> LoadedSite:
        return load_site(self.inventory)

    def deploy(self, name: str = "vault") -> Converged:
        return converge(self.inventory, name)

    @property
    def ssh_config(self) -> Path:
        return one_connection(self.folder / "ssh_config", ssh_config(self.site))

    @property
    def tunnels(self) -> Path:
        """For what is forwarded: a connection of its own."""
        config = self.folder / "tunnels"
        config.write_text(ssh_config(self.site))
        return config

    @property
    def certificate(self) -> Path:
        return self.site.files / custody.CERTIFICATE

    def up(self, host: str) -> bool:
        """Whether it has booted."""
        words = ["ssh", "-F", str(self.ssh_config), host, "systemctl is-system-running --wait"]
        return bool(subprocess.run(words, capture_output=True, check=False).stdout)

    def ssh(self, host: str, command: str, stdin: bytes = b"") -> str:
        words = ["ssh", "-F", str(self.ssh_config), host, "sudo", "sh", "-ec", shlex.quote(command)]
        done = subprocess.run(words, input=stdin, capture_output=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout.decode()}{done.stderr.decode()}"
        return done.stdout.decode()

    def root(self, command: str) -> str:
        return self.ssh(VAULT, command)

    @property
    def name(self) -> str:
        return self.site.fleet.hosts[VAULT].dns[0]

    def outside(self, port: int = PORTS[APPEND]) -> Listener:
        """As anyone reaches it."""
        address = self.site.lock.hosts[VAULT].ipv4
        return Listener(address, port, self.name, self.certificate)

    def login(self, user: str) -> tuple[str, str]:
        return user, self.site.secrets[custody.host_secret(user)].get_secret_value()

    def ask(self, method: str, target: str, body: bytes | None = None, **more: Any) -> Answer:
        """As the rooted client."""
        return self.outside().ask(method, target, self.login(ROOTED), body, **more)

    def repository(self, data: str, listener: str = APPEND, user: str = "") -> Restic:
        """restic on a data set `/HOST/PLAN`, by a listener, as a user: the host itself unless named."""
        host, plan = data.strip("/").split("/")
        way = self.inside[listener]
        name, password = self.login(user or host)
        secret = self.site.secrets[custody.DataSet(host, plan).secret].get_secret_value()
        url = f"rest:https://{name}:{password}@localhost:{way.port}{data}/"
        cache = self.folder / "cache" / host / listener
        return Restic(Repository(url, secret, cache=cache, ca=way.certificate), restic(), lock_wait_s=0)

    def files(self, data: str = "") -> list[str]:
        """Every file below a data set, with its content's digest and its time."""
        found = self.root(
            f'cd {REPOSITORIES}{data} && find . -type f -exec stat -c "%n %Y" {{}} + -exec sha256sum {{}} +'
        )
        return sorted(found.splitlines())


def vault_site() -> Iterator[Vault]:
    """A fixture's body. However many ask for it, a worker goes back to one that was built before where it can."""
    with kept_lab("vault", _build) as lab, ExitStack() as stack:
        made = _vault(lab)
        for host in (VAULT, ROOTED):
            until(f"{host} is up", partial(made.up, host))
        made.inside |= stack.enter_context(through_ssh(made.tunnels, VAULT, made.certificate))
        yield made
        disconnect(made.ssh_config)


def _vault(lab: LabConfig) -> Vault:
    folder = lab.root / "built"
    return Vault(folder / f"{lab.name}.py", folder, {})


def _build(lab: LabConfig) -> None:
    """The victim is declared, which is enough: it need not be there to have backups."""
    made = _vault(lab)
    derive(lab, made.folder, _only(VAULT, ROOTED))
    _must(made.deploy("provision"))
    derive(lab, made.folder, _only(VAULT, ROOTED, VICTIM))
    custody.make(made.site)
    _must(made.deploy())
    with through_ssh(made.tunnels, VAULT, made.certificate) as inside:
        made.inside |= inside
        for data in (OWN, OTHER):
            made.repository(data).init()
            source = made.folder / "source" / data.strip("/")
            source.mkdir(parents=True)
            (source / "file").write_bytes(os.urandom(1_000_000))
            made.repository(data).backup(source, host=data.split("/")[1], tags=["data"])
    disconnect(made.ssh_config)


def _only(*wanted: str) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        only(document, *wanted)
        document["settings"]["vault"] = {"quota_percent": QUOTA_PERCENT}

    return change


def _must(done: Converged) -> None:
    assert done.ok, done.output


def named(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
