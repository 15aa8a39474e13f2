"""Where a drill brings keys back: on a throwaway VM with the role, or on this machine.

The simulated device, with all keys in the clear, is in this machine's memory (a tmpfs) and nowhere else.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from cloud.converge import REPOSITORY, converge
from lab import lifecycle
from lab.engine import EngineError
from lab.hsm import service
from lab.signing import site
from lab.signing.host import HostError, SigningHost, beginning, first_lines, plug
from lab.vm import Vm
from roles.signing.settings import CONNECTOR_PORT

SERIAL = site.SERIALS["primary"]
TIMEOUT_S = 900


class Where(Protocol):
    """work: a folder there. connector: of the device, as it is reached there."""

    secrets: dict[str, str]

    @property
    def work(self) -> str: ...

    @property
    def connector(self) -> str: ...

    def empty(self) -> None:
        """A device as it left the factory is there, and no other. Raises EngineError."""

    def session(
        self, script: str, secrets: Sequence[str] = (), given: bytes = b"", codes: Sequence[int] = (0,)
    ) -> tuple[int, bytes, str]:
        """As of lab.signing.host.SigningHost."""


def renewed(folder: Path, port: int) -> Path:
    """A device that nobody has used, in the place of the one there."""
    service.stop(folder)
    shutil.rmtree(folder, ignore_errors=True)
    service.start(folder, port, serial=SERIAL)
    return folder


class Here:
    """This machine: this clone's `mainstay hsm`, without a connector between."""

    def __init__(self, scratch: Path, secrets: dict[str, str]) -> None:
        self.scratch, self.secrets = scratch, secrets
        self.port = free_port()

    @property
    def work(self) -> str:
        return str(self.scratch / "work")

    @property
    def connector(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def empty(self) -> None:
        renewed(self.scratch / "device", self.port)

    def session(
        self, script: str, secrets: Sequence[str] = (), given: bytes = b"", codes: Sequence[int] = (0,)
    ) -> tuple[int, bytes, str]:
        home = self.scratch / "home"
        home.mkdir(mode=0o700)
        path = f"{REPOSITORY / 'bin'}:{os.environ['PATH']}"
        try:
            done = subprocess.run(
                ["bash", "-c", beginning(secrets, [self.port]) + script],
                env={"HOME": str(home), "TMPDIR": str(home), "PATH": path, "LC_ALL": "C.UTF-8"},
                input=first_lines(self.secrets, secrets) + given,
                capture_output=True,
                umask=0o077,
                timeout=TIMEOUT_S,
                check=False,
            )
        finally:
            shutil.rmtree(home)
        said = done.stderr.decode(errors="replace").strip()
        if done.returncode not in codes:
            raise HostError(f"exit {done.returncode}: {done.stdout.decode(errors='replace').strip()}\n{said}")
        return done.returncode, done.stdout, said


class InVm:
    """A host with the role and a kernel of its own, the device in its USB port."""

    def __init__(self, scratch: Path, host: SigningHost) -> None:
        self.scratch, self.host, self.secrets = scratch, host, host.secrets
        self.session = host.session
        self.work, self.connector = "/srv/signing", f"http://127.0.0.1:{CONNECTOR_PORT}"

    def empty(self) -> None:
        Vm(self.host.lab, self.host.instance).unplug("drill")
        plug(self.host, {"drill": renewed(self.scratch / "device", 12_500 + 2 * self.host.lab.index)})


@contextmanager
def in_vm(lab: str, scratch: Path, secrets: dict[str, str]) -> Iterator[InVm]:
    """In a lab of that name, which is made for it and goes with it. Raises LabError, EngineError, HostError."""
    lifecycle.down(lab)
    try:
        config = lifecycle.up(lab)
        inventory = site.inventory(config, declared=False)
        for deploy in ("provision", "signing"):
            done = converge(inventory, deploy)
            if not done.ok:
                raise HostError(f"deploys/{deploy}.py on the throwaway host exited {done.code}:\n{done.output[-4000:]}")
        yield InVm(scratch, SigningHost(config, inventory, {"drill": SERIAL}, secrets))
    finally:
        lifecycle.down(lab)


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A folder in memory, gone afterwards with the device in it; what a killed drill left there goes first."""
    _clear(folder)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        _clear(folder)


def _clear(folder: Path) -> None:
    with suppress(EngineError):
        service.stop(folder / "device")
    shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """Of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
