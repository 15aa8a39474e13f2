"""The command that is a virtual machine: what it is made of, and what its firmware tells the system inside.

A machine of the Q35 kind without what no host of ours uses: no graphics, SATA or firmware to choose a disk by. Block
storage has slots of its own, into which it is plugged while the VM runs. USB has 15 ports of each speed: with fewer
QEMU puts a hub between, which is a device that a host may refuse.

systemd takes credentials from strings of type 11 of the firmware (systemd.system-credentials(7), 257): they bring
the very network files that a container finds in /run/systemd/network. The maker's name and the serial number are how
cloud-init knows the provider's machines.
"""

import base64
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import network
from lab.engine import LabConfig, Machine
from lab.folder import Attached

CONSOLE, QMP = "console", "qmp"
"""Sockets in the host's folder, in which it runs: a socket's path must be shorter than 108 characters."""
MOST_DISKS = 6
TRANSLATION_MB = 256
"""Of translated code, without KVM. With less, code that is still wanted is thrown away and translated again."""
PROCESSOR = "max,la57=off"
"""Without KVM. Page tables of five levels are walked longer, and are of use from 64 TB on."""
USB_BUS = "xhci.0"


@dataclass(frozen=True)
class Parts:
    """What a VM is put together from on this machine."""

    kernel: Path
    initrd: Path
    root: Path
    """qcow2."""
    disks: Mapping[Path, Attached]
    taps: Mapping[str, str]
    """Of its interfaces, by MAC, in their order inside."""
    credentials: Mapping[str, str]
    kvm: bool


def command(machine: Machine, parts: Parts) -> list[str]:
    """QEMU (7.2 or later) with all it is told."""
    accelerator = "kvm" if parts.kvm else f"tcg,thread=multi,tb-size={TRANSLATION_MB}"
    words = [
        "qemu-system-x86_64",
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-uuid",
        str(system_uuid(machine)),
    ]
    words += ["-machine", "q35,sata=off,smbus=off,vmport=off", "-accel", accelerator]
    words += ["-cpu", "host" if parts.kvm else PROCESSOR, "-smp", str(machine.vcpus), "-m", str(machine.memory_mb)]
    words += ["-kernel", str(parts.kernel), "-initrd", str(parts.initrd), "-append", kernel_arguments(machine)]
    identity = f"serial={machine.id},uuid={system_uuid(machine)}"
    words += ["-smbios", f"type=1,manufacturer=Vultr,product=VOC,{identity}"]
    for name, text in parts.credentials.items():
        encoded = base64.b64encode(text.encode()).decode()
        words += ["-smbios", f"type=11,value=io.systemd.credential.binary:{name}={encoded}"]
    # First on the bus, and so /dev/vda.
    words += [*_blocks(root_nodes(parts.root)), "-device", "virtio-blk-pci,drive=root,addr=2"]
    for number in range(1, MOST_DISKS + 1):
        words += ["-device", f"pcie-root-port,id=slot{number},chassis={number},addr={0x10 + number:#x}"]
    for path, disk in parts.disks.items():
        words += [*_blocks([disk_node(path, disk)]), "-device", json.dumps(disk_device(disk))]
    for number, (mac, tap) in enumerate(parts.taps.items()):
        words += ["-netdev", f"tap,id=net{number},ifname={tap},script=no,downscript=no"]
        words += ["-device", f"virtio-net-pci,netdev=net{number},mac={mac},addr={4 + number},romfile="]
    words += ["-device", "virtio-rng-pci", "-device", "qemu-xhci,id=xhci,p2=15,p3=15"]
    words += ["-chardev", f"socket,id=console,path={CONSOLE},server=on,wait=off,logfile=console.log,logappend=on"]
    words += ["-serial", "chardev:console", "-qmp", f"unix:{QMP},server=on,wait=off"]
    return words + (["-S"] if machine.boot == "never" else [])


def system_uuid(machine: Machine) -> uuid.UUID:
    """Of the firmware. Another one than the serial number, as at the provider: where the two are the same, cloud-init
    takes any snapshot for the machine that it was of, and its first boot for done."""
    return uuid.uuid5(uuid.NAMESPACE_OID, machine.id)


def kernel_arguments(machine: Machine) -> str:
    """Locked down as on a machine whose firmware has checked the kernel's signature (kernel_lockdown(7))."""
    words = ["root=/dev/vda", "rw", "console=ttyS0", "net.ifnames=0", "lockdown=integrity"]
    words.append(f"systemd.machine_id={machine.id.replace('-', '')}")
    # Without its metadata it would take itself for another host, and make new keys.
    return " ".join(words if machine.nics else [*words, "cloud-init=disabled"])


def root_nodes(root: Path) -> list[dict[str, Any]]:
    """A flush ends in this machine's page cache, which outlives a VM that loses its power: nothing waits for a disk."""
    file = {"driver": "file", "node-name": "root-file", "filename": str(root), "cache": {"no-flush": True}}
    return [
        file | {"discard": "unmap"},
        {"driver": "qcow2", "node-name": "root", "file": "root-file", "discard": "unmap"},
    ]


def node_name(disk: Attached) -> str:
    """A name is at most 31 characters long."""
    return f"disk-{disk.letter}"


def disk_node(path: Path, disk: Attached) -> dict[str, Any]:
    file = {"driver": "file", "filename": str(path), "cache": {"no-flush": True}, "discard": "unmap"}
    return {"driver": "raw", "node-name": node_name(disk), "discard": "unmap", "file": file}


def disk_device(disk: Attached) -> dict[str, Any]:
    """Its slot is by its letter, as the kernel finds disks in that order. A serial is cut off at 20 characters."""
    slot = ord(disk.letter) - ord("a")
    identity = {"id": node_name(disk), "serial": disk.serial}
    return {"driver": "virtio-blk-pci", "drive": node_name(disk), "bus": f"slot{slot}", **identity}


def _blocks(nodes: Iterable[Mapping[str, Any]]) -> list[str]:
    return [word for node in nodes for word in ("-blockdev", json.dumps(node))]


def credentials(config: LabConfig, machine: Machine, network_files: Mapping[str, str], proxy: str) -> dict[str, str]:
    """What the firmware tells systemd. network_files: for /run/systemd/network, by name.

    A VM without a network lets root in at its console: there is no other way in, and who sits there has the machine.
    """
    found = {f"network.network.{name.removesuffix('.network')}": text for name, text in network_files.items()}
    found["tmpfiles.extra"] = (
        f'f /etc/apt/apt.conf.d/00provider-cache 0644 root root - Acquire::http::Proxy "{proxy}";\n'
    )
    if not machine.nics:
        return found | {"agetty.autologin": "root", "login.noauth": "yes"}
    lines: list[str] = []
    for number, nic in enumerate(machine.nics):
        lines += network.guest_commands(config, nic, f"eth{number}", None)
    return found | {"provider.network": "".join(f"{line}\n" for line in lines)}
