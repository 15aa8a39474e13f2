"""A vault in a lab of its own, with the backups of two hosts of which one is in the wrong hands."""

import hashlib
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backup import custody
from backup.custody import APPEND, PORTS
from backup.restic import Restic
from backup.restic_process import Repository
from cloud.converge import Converged, converge
from inventories.inventory import LoadedSite, load_site
from inventories.ssh import ssh_config
from lab.sites import derive, only
from tests.labs import own_lab
from tests.restics import restic
from tests.vault_client import Answer, Listener, through_ssh

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

    def ssh(self, host: str, command: str, stdin: bytes = b"") -> str:
        words = ["ssh", "-F", str(self.folder / "ssh_config"), host, "sudo", "sh", "-ec", shlex.quote(command)]
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
        return Listener(address, port, self.name, self.site.files / custody.CERTIFICATE)

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


def _only(*wanted: str) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        only(document, *wanted)
        document["settings"]["vault"] = {"quota_percent": QUOTA_PERCENT}

    return change


def vault_site(folder: Path) -> Iterator[Vault]:
    """A fixture's body. The victim is declared, which is enough: it need not be there to have backups."""
    with ExitStack() as stack:
        lab = stack.enter_context(own_lab("vault"))
        inventory = derive(lab, folder, _only(VAULT, ROOTED))
        _must(converge(inventory, "provision"))
        derive(lab, folder, _only(VAULT, ROOTED, VICTIM))
        custody.make(load_site(inventory))
        _must(converge(inventory, "vault"))
        config = folder / "ssh_config"
        config.write_text(ssh_config(load_site(inventory)))
        certificate = load_site(inventory).files / custody.CERTIFICATE
        inside = stack.enter_context(through_ssh(config, VAULT, certificate))
        made = Vault(inventory, folder, inside)
        for data in (OWN, OTHER):
            made.repository(data).init()
            source = folder / "source" / data.strip("/")
            source.mkdir(parents=True)
            (source / "file").write_bytes(os.urandom(1_000_000))
            made.repository(data).backup(source, host=data.split("/")[1], tags=["data"])
        yield made


def _must(done: Converged) -> None:
    assert done.ok, done.output


def named(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
