"""How the control side, or an admin's laptop, reaches hosts and repositories.

Hosts by SSH under pinned keys, and the vault through a forwarding, so that neither its name nor its ports need be
reachable; the second copy as the public does, by https.
"""

import os
import resource
import selectors
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import TypeVar
from urllib.parse import urlsplit

from backup import custody
from backup.custody import ADMIN, CONTROL, PORTS, DataSet
from backup.ledger import LEDGER_AT_MOST
from backup.restic import Restic
from backup.restic_process import NoRepository
from backup.store import COPY, VAULT, WORDS, Store, second_copy
from backup.zipapp import INSTALLED
from inventories.errors import InputError
from inventories.inventory import LoadedSite
from inventories.ssh import ENDS_WITH_US, configured

T = TypeVar("T")
LEDGERS = Path("/srv/control/ledgers")
"""On the control host: the record."""
SSH_FAILED = 255
"""ssh's own exit code: the command was not reached."""
WAIT_S = 60
"""How long a forwarding may take to be there. A host that is down ssh gives up sooner; this is for one that is busy."""
HELD_S = 60
"""How long a held connection is there for the next command, should nobody end it."""
SOCKET_AT_MOST = 85
"""Bytes of a socket's path: Linux takes 107 (unix(7)), of which ssh needs 17 for a suffix while it makes one."""
GREET_S = 15
"""How long what is there may take to answer."""
LEDGER_S = 120
"""How long a host may take to tell what its ledger has grown by."""
ANSWER_AT_MOST = 32 << 20
"""Bytes that another machine may say at once: the ledger of more than a year, every half hour."""
ERROR_AT_MOST = 1000
"""Characters of what it says when it fails: the last, which say why."""


class Unreachable(Exception):
    """A host or a store did not answer; says which, and what was said."""


@dataclass(frozen=True)
class Reach:
    """The ways into a site's hosts, while `reach` is open."""

    site: LoadedSite
    config: Path
    """For `ssh -F`."""

    def agent(self, host: str, *words: str) -> list[str]:
        """The words that run the backup agent on a host."""
        return self.admin(host, "sudo", "-n", INSTALLED, *words)

    def admin(self, host: str, *words: str) -> list[str]:
        """The words that run a command on a host."""
        return [*self.ssh, host, *words]

    @property
    def ssh(self) -> list[str]:
        """ssh, as it reaches every host; rsync takes it as one word."""
        return ["ssh", "-F", str(self.config), "-o", "BatchMode=yes"]

    def declared(self) -> tuple[str, ...]:
        """The stores that the site has, by name."""
        return (VAULT, COPY) if self.site.fleet.backup.copy_ else (VAULT,)

    @contextmanager
    def store(self, name: str, listener: str = CONTROL) -> Iterator[Store]:
        """A store, as the control side or as an admin. Raises Unreachable, InputError."""
        if name == VAULT:
            with self.vault(listener) as vault:
                yield vault
            return
        declared = self.site.fleet.backup.copy_
        assert declared, "who asks for the second copy has looked whether there is one"
        url = urlsplit(declared.endpoint)
        tls = url.scheme == "https"
        where = (url.hostname or "", url.port or (443 if tls else 80))
        copy = second_copy(
            self.site,
            declared,
            listener,
            lambda ca: _greet(where, ca, f"the second copy at {declared.endpoint}", tls=tls),
        )
        copy.greet()
        yield copy

    @contextmanager
    def stores(self, say: Callable[[str], None], listener: str = CONTROL) -> Iterator[dict[str, Store]]:
        """The stores that can be used, by name; of any other it is said why it cannot."""
        with ExitStack() as stack:
            found = {}
            for name in self.declared():
                try:
                    found[name] = stack.enter_context(self.store(name, listener))
                except (Unreachable, InputError) as error:
                    say(f"{WORDS[name]} cannot be used: {error}")
            yield found

    @contextmanager
    def repositories(self, data_set: DataSet) -> Iterator[dict[str, Restic]]:
        """A data set's, in all stores, by what people call them, each by a credential that may delete.

        Raises Unreachable and InputError: what is done to them is not done in one place alone.
        """
        with ExitStack() as stack:
            stores = [stack.enter_context(self.store(name, ADMIN)) for name in self.declared()]
            yield {store.words: store.restic(data_set) for store in stores}

    @contextmanager
    def vault(self, listener: str = CONTROL) -> Iterator[Store]:
        """The vault, by one of the listeners that see all repositories. Raises Unreachable, InputError."""
        found = custody.vault_of(self.site)
        assert found, "who asks for the vault has looked whether there is one"
        custody.certificate(self.site)  # a file that is missing is no vault that is down
        with forwarded(self.config, found[0], PORTS[listener]) as port:
            certificate = self.site.files / custody.CERTIFICATE
            greet = partial(_greet, ("127.0.0.1", port), certificate, f"{found[0]}, listener {listener}")
            greet()
            login = self.site.secrets[custody.LOGINS[listener]].get_secret_value()
            yield Store(self.site, VAULT, f"rest:https://{listener}:{login}@127.0.0.1:{port}", certificate, greet)


def of_begun(repositories: Mapping[str, Restic], ask: Callable[[Restic], T]) -> dict[str, T]:
    """What is asked of each of `Reach.repositories`, but of a second copy that was not begun yet."""
    said = {}
    for name, restic in repositories.items():
        try:
            said[name] = ask(restic)
        except NoRepository:
            if name == WORDS[VAULT]:
                raise
    return said


@contextmanager
def reach(site: LoadedSite) -> Iterator[Reach]:
    """The ways into a site's hosts."""
    with configured(site) as config:
        yield Reach(site, config)


@contextmanager
def held(way: Reach, host: str) -> Iterator[None]:
    """Has all commands on a host go over one connection, which the first of them makes: a log-in costs more than most
    commands do. Below a folder whose name is too long for that, each makes its own."""
    path = way.config.with_name("held")
    if len(os.fsencode(path)) > SOCKET_AT_MOST:
        yield
        return
    with way.config.open("a") as config:
        config.write(f'\nHost {host}\n  ControlMaster auto\n  ControlPath "{path}"\n  ControlPersist {HELD_S}\n')
    try:
        yield
    finally:
        if path.exists():
            words = ["ssh", "-F", str(way.config), "-O", "exit", host]
            subprocess.run(words, capture_output=True, check=False)


@contextmanager
def forwarded(config: Path, host: str, port: int) -> Iterator[int]:
    """A port of a host's loopback through SSH, as one of this machine's. config: for `ssh -F`. Raises Unreachable."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        local = int(free.getsockname()[1])
    way = f"127.0.0.1:{local}:127.0.0.1:{port}"
    options = ["-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes", "-N", "-L", way]
    with subprocess.Popen(
        [*ENDS_WITH_US, "ssh", "-F", str(config), *options, host],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as forwarding:
        try:
            _wait(forwarding, local, host)
            yield local
        finally:
            forwarding.terminate()


def state_folder() -> Path:
    """Where this machine keeps what it has seen, of all sites."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "mainstay"


def state(site: LoadedSite) -> Path:
    """What this machine has collected of a site's ledgers; of a lab's it goes with the lab."""
    if site.control:
        return LEDGERS
    if Path(site.fleet.site.files).is_absolute():
        return site.files / "ledgers"
    return state_folder() / site.name


def ledger_lines(way: Reach, data_set: DataSet, after: int) -> list[bytes]:
    """What a host's ledger says beyond a line. Raises Unreachable.

    Of very much, what comes first: the rest is beyond that, and comes with the next answer.
    """
    words = way.agent(data_set.host, "ledger", data_set.plan, "--after", str(after))
    *whole, half = answer(words, data_set.host, LEDGER_S).stdout.split(b"\n")
    return whole or ([half] if half else [])


def answer(
    words: Sequence[str], whose: str, timeout_s: float, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """What a command says that asks another machine, as far as it is listened to. whose: what people call that.

    No file that it writes here is longer than a ledger can be, and with it ends all that it started. Raises Unreachable
    when it does not say it, and InputError when there is no such command here.
    """
    with TemporaryFile() as given:
        given.write(stdin)
        given.seek(0)
        try:
            running = subprocess.Popen(
                words, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0
            )
        except OSError as error:
            raise InputError(words[0], "", f"cannot be run here: {error.strerror}", "install it") from None
    with running:
        try:
            with suppress(OSError, ValueError):  # it has ended, or may write less anyway
                resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (LEDGER_AT_MOST, LEDGER_AT_MOST))
            done = _listen(running, time.monotonic() + timeout_s)
        except subprocess.TimeoutExpired:
            raise Unreachable(f"{whose}: no answer within {timeout_s:g} s") from None
        finally:
            if running.returncode is None:
                os.killpg(running.pid, signal.SIGKILL)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[-ERROR_AT_MOST:] or f"ended with {done.returncode}"
        raise Unreachable(f"{whose}: {said}")
    return done


def _listen(running: "subprocess.Popen[bytes]", deadline: float) -> subprocess.CompletedProcess[bytes]:
    """Until the command ends, or has said too much, which is no failure. Raises TimeoutExpired."""
    said = {pipe.fileno(): bytearray() for pipe in (running.stdout, running.stderr) if pipe}
    with selectors.DefaultSelector() as pipes:
        for pipe in said:
            pipes.register(pipe, selectors.EVENT_READ)
        while pipes.get_map() and max(map(len, said.values())) < ANSWER_AT_MOST:
            for ready, _ in pipes.select(_left(running, deadline)):
                if chunk := os.read(ready.fd, 1 << 16):
                    said[ready.fd] += chunk
                else:
                    pipes.unregister(ready.fd)
        code = 0 if pipes.get_map() else running.wait(_left(running, deadline))
    out, err = (bytes(one[:ANSWER_AT_MOST]) for one in said.values())
    return subprocess.CompletedProcess(running.args, code, out, err)


def _left(running: "subprocess.Popen[bytes]", deadline: float) -> float:
    """Seconds that are left. Raises TimeoutExpired when none are."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise subprocess.TimeoutExpired(running.args, 0)
    return left


def _greet(where: tuple[str, int], ca: Path | None, what: str, *, tls: bool = True) -> None:
    """restic would try a server that is down for a quarter of an hour."""
    try:
        with socket.create_connection(where, GREET_S) as raw:
            if tls:
                ssl.create_default_context(cafile=ca).wrap_socket(raw, server_hostname=where[0]).close()
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
