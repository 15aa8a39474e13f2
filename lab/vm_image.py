"""What virtual machines boot: the provider's image with a kernel and udev, as a disk without partitions.

`images/ID/` has root.img (raw, sparse, ext4), vmlinuz and initrd.img: each VM's disk is a qcow2 over the first, and
QEMU is handed the others, as no firmware has to find them. A kernel that is installed inside later is not booted.
What a container needs in the place of udev is taken out, and the provider is found by its name in the firmware.
"""

import os
import shutil
from pathlib import Path

from lab import derived, image
from lab.command import run
from lab.engine import EngineError

PACKAGES = ("linux-image-amd64", "initramfs-tools", "udev", "usbutils")
SIZE_GB = 10
"""Of the filesystem; cloud-init grows it to a VM's disk at each boot."""

# The initrd finds the root disk, and the interface is there before init: nothing has to wait for it.
INITRD_MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "ext4")
FILES = {
    "/etc/initramfs-tools/conf.d/provider": "MODULES=list\nRESUME=none\n",
    "/etc/initramfs-tools/modules": "".join(f"{module}\n" for module in INITRD_MODULES),
    "/etc/cloud/cloud.cfg.d/90-provider.cfg": """\
datasource:
  Vultr: {url: "http://169.254.169.254", retries: 30, timeout: 5, wait: 2}
# The provider's network files are in /run/systemd/network.
network: {config: disabled}
""",
    # cloud-init asks for its metadata before networkd starts, and would ask a DHCP server first.
    "/etc/systemd/system/provider-network.service": """\
[Unit]
Description=The network as the provider declares it, before there is a networkd
DefaultDependencies=no
Before=cloud-init-main.service cloud-init-local.service
ConditionPathExists=/run/credentials/@system/provider.network

[Service]
Type=oneshot
ExecStart=/usr/bin/ip -force -batch /run/credentials/@system/provider.network

[Install]
WantedBy=sysinit.target
""",
    # Devices of every PC, of use to none.
    "/etc/modprobe.d/provider.conf": "".join(
        f"blacklist {module}\n" for module in ("pcspkr", "iTCO_wdt", "i2c_i801", "lpc_ich", "joydev", "mousedev")
    ),
}
REMOVED = (
    "etc/cloud/ds-identify.cfg",
    "etc/systemd/system/provider-disks.service",
    "etc/systemd/system/provider-disks-again.path",
    "etc/systemd/system/provider-disks-again.service",
    "usr/local/lib/provider/provider-disks",
)
ENABLED = ("provider-network.service",)
DISABLED = ("provider-disks.service", "provider-disks-again.path", "getty@tty1.service")
# Of use to a disk with partitions, a TPM, a crashed kernel's notes, or a snapshot of LVM.
MASKED = (
    "e2scrub_reap.service",
    "systemd-hibernate-clear.service",
    "systemd-pcrmachine.service",
    "systemd-pcrphase-sysinit.service",
    "systemd-pcrphase.service",
    "systemd-pstore.service",
    "systemd-tpm2-setup-early.service",
    "systemd-tpm2-setup.service",
)
MAKE_FILESYSTEM = ("mkfs.ext4", "-q", "-F", "-m0", "-L", "root", "-E", "nodiscard,lazy_itable_init=1")


def image_id() -> str:
    recipe = [PACKAGES, SIZE_GB, FILES, REMOVED, ENABLED, DISABLED, MASKED, MAKE_FILESYSTEM]
    return derived.image_id("vm", str(recipe))


def folder_of(image_id: str) -> Path:
    """The folder of an image for VMs; raises EngineError where there is none."""
    folder = image.IMAGES / image_id
    if not (folder / "root.img").exists():
        raise EngineError(
            f"{folder}: no such image of VMs; a snapshot needs the image it was made on, and a host of its kind"
        )
    return folder


def build() -> str:
    """Returns the id of the current image, building it if needed (one to two minutes). Raises EngineError."""
    made = image_id()
    derived.build(made, "what virtual machines need", PACKAGES, before=_declare, after=_finish)
    return made


def _declare(work: Path) -> None:
    root = work / "root"
    run("systemctl", f"--root={root}", "disable", *DISABLED)
    for name in REMOVED:
        (root / name).unlink()
    for name, text in FILES.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    run("systemctl", f"--root={root}", "enable", *ENABLED)
    run("systemctl", f"--root={root}", "mask", *MASKED)


def _finish(work: Path) -> None:
    root, disk = work / "root", work / "root.img"
    [kernel], [initrd] = (root / "boot").glob("vmlinuz-*"), (root / "boot").glob("initrd.img-*")
    shutil.copy(kernel, work / "vmlinuz")
    shutil.copy(initrd, work / "initrd.img")
    disk.touch(mode=0o600)
    os.truncate(disk, SIZE_GB * 2**30)
    run(*MAKE_FILESYSTEM, "-d", root, disk, timeout_s=600)
    shutil.rmtree(root)
