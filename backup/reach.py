"""How the control side, or an admin's laptop, reaches hosts and repositories: by SSH under pinned keys, and by nothing
else. The vault is spoken to through a forwarding, so that neither its name nor its ports need be reachable."""

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from backup import custody
from backup.custody import CONTROL, PORTS, DataSet
from backup.restic import Restic
from backup.restic_process import Repository
from backup.zipapp import INSTALLED
from inventories.errors import InputError
from inventories.inventory import LoadedSite
from inventories.ssh import ssh_config

LEDGERS = Path("/srv/control/ledgers")
"""On the control host: the record."""
WAIT_S = 15
"""How long a forwarding may take to be there."""


class Unreachable(Exception):
    """A host or the vault did not answer; says which, and what was said."""


@dataclass(frozen=True)
class Reach:
    """The ways into a site's hosts, while `reach` is open."""

    site: LoadedSite
    config: Path
    """For `ssh -F`."""

    def agent(self, host: str, *words: str) -> list[str]:
        """The words that run the backup agent on a host."""
        return ["ssh", "-F", str(self.config), "-o", "BatchMode=yes", host, "sudo", "-n", INSTALLED, *words]

    @contextmanager
    def vault(self, listener: str = CONTROL) -> Iterator["Vault"]:
        """The vault, by one of the listeners that see all repositories. Raises Unreachable."""
        found = custody.vault_of(self.site)
        assert found, "who asks for the vault has looked whether there is one"
        with forwarded(self.config, found[0], PORTS[listener]) as port:
            _greet(port, self.site.files / custody.CERTIFICATE, f"{found[0]}, listener {listener}")
            yield Vault(self.site, listener, port)


@dataclass(frozen=True)
class Vault:
    """The vault at the end of a forwarding."""

    site: LoadedSite
    listener: str
    port: int

    def repository(self, data_set: DataSet) -> Repository:
        """Where a data set lies, with the password that opens it."""
        login = self.site.secrets[custody.LOGINS[self.listener]].get_secret_value()
        return Repository(
            f"rest:https://{self.listener}:{login}@127.0.0.1:{self.port}/{data_set.host}/{data_set.plan}/",
            self.site.secrets[data_set.secret].get_secret_value(),
            cache=cache(self.site) / data_set.host / data_set.plan,
            ca=self.site.files / custody.CERTIFICATE,
        )

    def restic(self, data_set: DataSet) -> Restic:
        """restic on it. Raises InputError when there is none on this machine."""
        program = os.environ.get("MAINSTAY_RESTIC", "restic")
        if not shutil.which(program):
            hint = "install restic 0.17 or newer, as Debian 13 has it, or name another by MAINSTAY_RESTIC"
            raise InputError(program, "", "is not on this machine", hint)
        return Restic(self.repository(data_set), program)


@contextmanager
def reach(site: LoadedSite) -> Iterator[Reach]:
    """The ways into a site's hosts."""
    with TemporaryDirectory(prefix="mainstay-") as folder:
        config = Path(folder, "ssh_config")
        config.write_text(ssh_config(site))
        yield Reach(site, config)


@contextmanager
def forwarded(config: Path, host: str, port: int) -> Iterator[int]:
    """A port of a host's loopback through SSH, as one of this machine's. config: for `ssh -F`. Raises Unreachable."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        local = int(free.getsockname()[1])
    way = f"127.0.0.1:{local}:127.0.0.1:{port}"
    options = ["-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes", "-N", "-L", way]
    forwarding = subprocess.Popen(
        ["ssh", "-F", str(config), *options, host],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    try:
        _wait(forwarding, local, host)
        yield local
    finally:
        forwarding.terminate()
        forwarding.communicate()


def cache(site: LoadedSite) -> Path:
    """restic's caches of a site's repositories: what they hold is encrypted and can be fetched again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mainstay" / "backup" / site.name


def state(site: LoadedSite) -> Path:
    """What this machine has collected of a site's ledgers; of a lab's it goes with the lab."""
    if site.control:
        return LEDGERS
    if Path(site.fleet.site.files).is_absolute():
        return site.files / "ledgers"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "mainstay" / site.name


def ledger_lines(way: Reach, data_set: DataSet, after: int) -> list[bytes]:
    """What a host's ledger says beyond a line. Raises Unreachable."""
    words: Sequence[str] = way.agent(data_set.host, "ledger", data_set.plan, "--after", str(after))
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=120)
    if done.returncode:
        raise Unreachable(f"{data_set.host}: {done.stderr.decode(errors='replace').strip() or 'no answer'}")
    return done.stdout.splitlines()


def _greet(port: int, certificate: Path, what: str) -> None:
    """restic would try a listener that is down for a quarter of an hour."""
    context = ssl.create_default_context(cafile=certificate)
    try:
        with socket.create_connection(("127.0.0.1", port), WAIT_S) as raw:
            context.wrap_socket(raw, server_hostname="127.0.0.1").close()
    except OSError as error:
        raise Unreachable(f"{what}: {error}") from None


def _wait(forwarding: "subprocess.Popen[str]", port: int, host: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if forwarding.poll() is not None:
            _, said = forwarding.communicate()
            raise Unreachable(f"{host}: {said.strip()}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise Unreachable(f"{host}: no forwarding within {WAIT_S} s")
