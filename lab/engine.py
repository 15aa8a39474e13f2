"""What the lab's API needs from whatever runs its hosts.

An engine knows nothing of the provider: it is given machines, disks and rules and makes them real. Everything it makes
is named after the lab, recorded (or derivable from the name) before it is made, and found again by `sweep`. All calls
block, are idempotent, and may be made from several threads for different machines. lab/hosts.py is the engine: a
machine is a container (lab/nspawn.py) or a virtual machine (lab/qemu.py).
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path
from typing import Literal, Protocol

GIB = 2**30
MAX_INDEX = 31
"""Of labs on one machine, beside the one with index 0."""


class EngineError(Exception):
    """The engine could not do what it was asked; says what failed and what to do."""


@dataclass(frozen=True)
class LabConfig:
    """One lab on this machine; everything else follows from name and index.

    index is 0 for the lab named `lab`, else the first free one (1..MAX_INDEX), recorded in `root/lab.json` by `lab up`.
    """

    name: str
    index: int
    root: Path
    """/var/lib/mainstay/labs/NAME: state, hosts, disks, logs, site files; images and package cache are shared."""

    @property
    def prefix(self) -> str:
        """Start of the name of every bridge, veth, tap, namespace and nftables table of this lab."""
        return f"ms{self.index}"

    @property
    def network4(self) -> IPv4Network:
        """The hosts' public network; its first address is the lab's: gateway, resolver, mail sink, package cache."""
        return IPv4Network((f"10.{64 + self.index}.0.0", 20))

    @property
    def network6(self) -> IPv6Network:
        return IPv6Network((f"fd6d:7300:{self.index:x}::", 64))

    @property
    def gateway4(self) -> IPv4Address:
        return self.network4[1]

    @property
    def gateway6(self) -> IPv6Address:
        return self.network6[1]

    @property
    def api_port(self) -> int:
        """On 127.0.0.1 and the gateway: the provider's API under /v2, the lab's own calls under /lab."""
        return 7780 + self.index

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}/v2"

    @property
    def https_port(self) -> int:
        """On the gateway: the same API by https."""
        return self.api_port + 200

    @property
    def drill_api_url(self) -> str:
        """The API as the lab's hosts reach it too; trusted by `provider.pem` in the site's folder."""
        return f"https://{self.gateway4}:{self.https_port}/v2"


@dataclass(frozen=True)
class Nic:
    """A network interface. `network` is "public" or a VPC's id; hosts on different VPCs share no wire."""

    mac: str
    network: str
    ipv4: tuple[IPv4Interface, ...]
    ipv6: tuple[IPv6Interface, ...] = ()


@dataclass(frozen=True)
class Machine:
    """A host to be. `id` is the instance's UUID; nics[0] is the public one. Only a VM can have none."""

    id: str
    image: str
    """`debian-13`, `prepared/ROLE`, or `snapshot/ID`."""
    vcpus: int
    memory_mb: int
    disk_gb: int
    nics: tuple[Nic, ...]
    boot: Literal["normal", "never"] | int = "normal"
    """Faults: seconds until init starts; never leaves init hanging."""
    kind: Literal["container", "vm"] = "container"
    """A VM has a kernel, USB and a console of its own, and takes half a minute to boot. A host stays what it is."""


@dataclass(frozen=True)
class Rule:
    """One opening; an address with any rule set (even an empty one) drops what no rule accepts, answers excepted."""

    protocol: Literal["tcp", "udp", "icmp", "gre", "esp", "ah"]
    source: IPv4Network | IPv6Network
    first_port: int = 0
    last_port: int = 0


@dataclass(frozen=True)
class Status:
    running: bool
    pid: int = 0
    memory_bytes: int = 0


class Engine(Protocol):
    """See the module's docstring."""

    config: LabConfig

    def prepare(self) -> None:
        """Builds or finds the image, brings up bridge, addresses and nftables table; after a reboot or kill -9 too."""

    def create(self, machine: Machine) -> None:
        """Root disk and network, not started."""

    def start(self, machine: Machine) -> None:
        """Boots it (makes again what a crash took away, grows the root disk to the machine's); returns when init runs,
        not when sshd answers."""

    def stop(self, machine_id: str, *, force: bool = False) -> None:
        """Orderly within 10 s (a VM 60), else killed; force kills at once, as a power loss does."""

    def reinstall(self, machine: Machine) -> None:
        """Stops it and gives it a fresh root disk; volumes stay attached."""

    def destroy(self, machine_id: str) -> None: ...

    def status(self, machine_id: str) -> Status: ...

    def set_nics(self, machine: Machine) -> None:
        """Makes the live interfaces those of the machine (VPC attached or detached). Of a VM only while it is off: else
        raises EngineError."""

    def create_disk(self, disk_id: str, size_gb: int) -> None: ...

    def resize_disk(self, disk_id: str, size_gb: int) -> None: ...

    def destroy_disk(self, disk_id: str) -> None: ...

    def attach_disk(self, machine_id: str, disk_id: str, serial: str) -> None:
        """Live or stopped; inside it is /dev/vdb... and /dev/disk/by-id/virtio-<serial>, also after a reboot."""

    def detach_disk(self, machine_id: str, disk_id: str) -> None: ...

    def create_snapshot(self, machine_id: str, snapshot_id: str) -> int:
        """Copies the root disk (stopped or running); returns its size in bytes."""

    def destroy_snapshot(self, snapshot_id: str) -> None: ...

    def set_firewall(self, addresses: dict[str, tuple[Rule, ...]]) -> None:
        """Replaces all rules at once, atomically; keys are IPv4 or IPv6 addresses of public nics."""

    def console(self, machine_id: str) -> Path:
        """The file its console is written to."""

    def cut(self, machine_id: str, *, off: bool) -> None:
        """Fault: takes the machine's links down (off=True) or up."""

    def fill_disk(self, machine_id: str, *, full: bool) -> None:
        """Fault: leaves no free block on the root disk, or frees them again. Not of a VM: raises EngineError."""

    def sweep(self) -> None:
        """Removes every process, mount, namespace, link, loop device and nftables table this lab ever made."""
