"""A signing host as an admin has it by ssh: commands, and sessions with the HSMs.

What is secret goes in by standard input and lies in the session's directory, which is in memory and ends with it: no
command line, no variable and no disk has it.
"""

import json
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloud.client import Client
from inventories.inventory import load_site
from inventories.ssh import ENDS_WITH_US, configured
from lab import lifecycle
from lab.engine import EngineError, LabConfig
from lab.hsm import service
from lab.signing.site import HOST, SERIALS, passwords
from lab.vm import Vm
from roles.signing.settings import CONNECTOR_PORT

BOOT_S, COMMAND_S = 600, 900
"""Of a VM without KVM on a machine that does other things as well."""
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
BEGIN = """\
set -eu
for name in {names}; do IFS= read -r value; printf '%s' "$value" >"$HOME/$name"; done
for port in {ports}; do
    tries=0
    until (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null; do
        [ $((tries += 1)) -lt 100 ] || {{ echo "no connector at port $port" >&2; exit 3; }}
        sleep 0.3
    done
done
"""
"""Of a session's script: secrets are the first lines of what it is given; connectors take a moment to start."""


def beginning(secrets: Sequence[str], ports: Sequence[int]) -> str:
    """With which a session's script begins."""
    return BEGIN.format(names=" ".join(secrets), ports=" ".join(map(str, ports)))


def first_lines(known: Mapping[str, str], secrets: Sequence[str]) -> bytes:
    """What such a script is given first."""
    return "".join(f"{known[name]}\n" for name in secrets).encode()


class HostError(Exception):
    """Something on the host went otherwise; its text has what was said there."""


@dataclass(frozen=True)
class SigningHost:
    """inventory: of its site, by which it is deployed, too. secrets: by the names that `session` is told."""

    lab: LabConfig
    inventory: Path
    serials: dict[str, int]
    secrets: dict[str, str]

    @classmethod
    def of(cls, lab: LabConfig, inventory: Path) -> "SigningHost":
        """With the passwords that lie beside its inventory, made there if needed."""
        return cls(lab, inventory, dict(SERIALS), passwords(inventory.parent))

    @property
    def instance(self) -> str:
        return load_site(self.inventory).lock.hosts[HOST].instance_id

    def tried(self, command: str, given: bytes = b"", timeout_s: float = COMMAND_S) -> tuple[int, bytes, str]:
        """Exit code, output, and what it said, of a command of an admin's. Raises HostError when it does not end."""
        with configured(load_site(self.inventory)) as config:
            words = [*ENDS_WITH_US, "ssh", "-F", str(config), HOST, command]
            try:
                done = subprocess.run(words, input=given, capture_output=True, timeout=timeout_s, check=False)
            except subprocess.TimeoutExpired:
                raise HostError(f"{HOST}: still running after {timeout_s:g} s: {command[:200]}") from None
        return done.returncode, done.stdout, done.stderr.decode(errors="replace").strip()

    def run(self, command: str) -> str:
        """What it puts out. Raises HostError."""
        code, out, said = self.tried(command)
        if code:
            raise HostError(f"{HOST}: {command}: exit {code}: {out.decode(errors='replace')}{said}")
        return out.decode().strip()

    def session(
        self, script: str, secrets: Sequence[str] = (), given: bytes = b"", codes: Sequence[int] = (0,)
    ) -> tuple[int, bytes, str]:
        """A script of bash in a session of its own: exit code, what it puts out, and what it said.

        secrets: those that it finds in `$HOME`, in files of their names. given: what is left of its input. codes: with
        which it may end; any other raises HostError.
        """
        whole = beginning(secrets, [CONNECTOR_PORT + at for at in range(len(self.serials))]) + script
        lines = first_lines(self.secrets, secrets)
        words = f"sudo signing-session bash -c {shlex.quote(whole)}"
        code, out, said = self.tried(words, lines + given)
        if code not in codes:
            told = out.decode(errors="replace").strip()[-2000:]
            raise HostError(f"{HOST}, in a session: exit {code}: {told}\n{said[-4000:]}\nof this script:\n{script}")
        return code, out, said

    def state(self) -> Any:
        """What the host says of itself."""
        return json.loads(self.run("sudo signing-state"))

    def reboot(self) -> None:
        """As by the provider's button; returns when its units have been started. Raises HostError, CloudError."""
        before = self.run(BOOT_ID)
        Client(self.lab.api_url, lifecycle.api_key(self.lab)).post(f"/instances/{self.instance}/reboot")
        deadline = time.monotonic() + BOOT_S
        while True:
            code, out, said = self.tried(f"{BOOT_ID}; systemctl is-system-running --wait", timeout_s=BOOT_S)
            told = out.decode().split()
            if len(told) > 1 and told[0] != before:
                return
            if time.monotonic() > deadline:
                raise HostError(f"{HOST}: not up {BOOT_S} s after its reboot: exit {code}: {' '.join(told)} {said}")
            time.sleep(2)


def devices(lab: LabConfig, serials: dict[str, int]) -> dict[str, Path]:
    """The simulated devices of a lab, running, by their names; their folders. Raises EngineError."""
    folders = {name: service.of_lab(lab, name) for name in serials}
    for at, (name, folder) in enumerate(folders.items()):
        service.start(folder, 12_500 + 2 * lab.index + at, serial=serials[name])
    return folders


def plug(host: SigningHost, folders: dict[str, Path]) -> None:
    """The devices into the host's USB ports, anew if they are there. Raises EngineError."""
    vm = Vm(host.lab, host.instance)
    for name, folder in folders.items():
        vm.unplug(name)
        vm.plug_redirected(name, folder / service.SOCKET)
    deadline = time.monotonic() + BOOT_S
    wanted = {f"{one:010}" for one in host.serials.values()}
    while wanted - (seen := {one["serial"] for one in host.state()["usb"] if one["allowed"]}):
        if time.monotonic() > deadline:
            raise EngineError(f"{HOST}: of the devices {', '.join(sorted(wanted))} it lets in {seen or 'none'}")
        time.sleep(1)
