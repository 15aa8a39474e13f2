"""What a host is on disk: everything the engine knows of it, since a new engine object has nothing else to go by.

hosts/ID/machine.json   what it is to be
hosts/ID/image          the image its root disk lies over
hosts/ID/disk.img       its root disk: of a container a sparse file with ext4, in it the overlay's upper layer; of a VM
                        qcow2 over the image's
hosts/ID/disks.json     block storage attached to it
hosts/ID/network/       becomes /run/systemd/network inside
hosts/ID/provider/      of a VM: what else its firmware tells it (lab/qemu_command.py)
hosts/ID/tmpfiles.conf  becomes /run/tmpfiles.d/provider.conf inside: the nodes of its disks
hosts/ID/lock, pid      locked for as long as anything of it runs; its supervisor's process id
hosts/ID/console.log    what it says
hosts/ID/qmp, console   of a VM: QEMU's sockets
hosts/ID/cut            there while its links are to be down
hosts/ID/offline        of a VM: there when it is to start without any network interface
"""

import fcntl
import json
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path
from typing import Any

from inventories.files import replace
from lab.engine import LabConfig, Machine, Nic


@dataclass(frozen=True)
class Attached:
    """A disk attached to a host: /dev/vdX inside."""

    letter: str
    serial: str


@dataclass(frozen=True)
class Folder:
    """The files of one host."""

    path: Path

    @classmethod
    def of(cls, config: LabConfig, machine_id: str) -> "Folder":
        return cls(config.root / "hosts" / machine_id)

    @property
    def machine(self) -> Machine | None:
        """None where there is no such host."""
        try:
            return machine_from(json.loads((self.path / "machine.json").read_text()))
        except FileNotFoundError:
            return None

    def save_machine(self, machine: Machine) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        replace(self.path / "machine.json", json.dumps(machine_to(machine), indent=1))

    @property
    def disks(self) -> dict[str, Attached]:
        """By disk id."""
        try:
            found = json.loads((self.path / "disks.json").read_text())
        except FileNotFoundError:
            return {}
        return {disk: Attached(**value) for disk, value in found.items()}

    def save_disks(self, disks: dict[str, Attached]) -> None:
        replace(self.path / "disks.json", json.dumps({disk: vars(value) for disk, value in disks.items()}))

    @property
    def image(self) -> str:
        return (self.path / "image").read_text().strip()

    @property
    def disk(self) -> Path:
        return self.path / "disk.img"

    @property
    def console(self) -> Path:
        return self.path / "console.log"

    @property
    def cut(self) -> bool:
        return (self.path / "cut").exists()

    @property
    def offline(self) -> bool:
        return (self.path / "offline").exists()

    @property
    def supervisor(self) -> int:
        """The process id of what keeps the host running, or 0 when nothing of it runs."""
        try:
            with (self.path / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return 0
        except FileNotFoundError:
            return 0
        except BlockingIOError:
            try:
                return int((self.path / "pid").read_text())
            except (FileNotFoundError, ValueError):
                return -1


def folders(config: LabConfig) -> list[Folder]:
    return [Folder(path.parent) for path in (config.root / "hosts").glob("*/machine.json")]


def machine_to(machine: Machine) -> dict[str, Any]:
    nics = [
        {"mac": nic.mac, "network": nic.network, "ipv4": [str(a) for a in nic.ipv4], "ipv6": [str(a) for a in nic.ipv6]}
        for nic in machine.nics
    ]
    return vars(machine) | {"nics": nics}


def machine_from(found: dict[str, Any]) -> Machine:
    nics = tuple(
        Nic(
            nic["mac"],
            nic["network"],
            tuple(IPv4Interface(address) for address in nic["ipv4"]),
            tuple(IPv6Interface(address) for address in nic["ipv6"]),
        )
        for nic in found["nics"]
    )
    return Machine(**(found | {"nics": nics}))
