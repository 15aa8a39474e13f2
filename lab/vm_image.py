"""What virtual machines boot: the provider's image with a kernel and udev, as a disk without partitions.

`images/ID/` has root.img (raw, sparse, ext4), vmlinuz and initrd.img: each VM's disk is a qcow2 over the first, and
QEMU is handed the others, as no firmware has to find them. A kernel that is installed inside later is not booted.
What a container needs in the place of udev is taken out, and the provider is found by its name in the firmware.

Without KVM every process that starts is a tenth of a second, and each of a PC's hundreds of devices that is asked after
is some: the boot does without what no host of ours uses.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from lab import derived, image
from lab.command import run
from lab.engine import EngineError

PACKAGES = ("linux-image-amd64", "initramfs-tools", "udev", "usbutils")
SIZE_GB = 10
"""Of the filesystem; cloud-init grows it to a VM's disk at each boot."""

# The initrd finds the root disk, and the interface is there before init: nothing has to wait for it. It has no udev.
INITRD_MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "ext4")
# What devices that are not asked after are there for: USB, the power button, random numbers.
MODULES = ("xhci_pci", "button", "evdev", "virtio_rng")
ASKED_AFTER = ("block", "input", "misc", "net", "rtc", "usb")
INITRD_SCRIPT = """\
#!/bin/sh
[ "$1" = prereqs ] && exit 0
"""
FILES = {
    "/etc/initramfs-tools/scripts/init-top/udev": INITRD_SCRIPT,
    "/etc/initramfs-tools/scripts/init-bottom/udev": INITRD_SCRIPT + 'mount -n -o move /dev "$rootmnt/dev"\n',
    "/etc/initramfs-tools/conf.d/provider": "MODULES=list\nRESUME=none\n",
    "/etc/initramfs-tools/modules": "".join(f"{module}\n" for module in INITRD_MODULES),
    # cloud-init itself looks for the maker's name; the shell script that would look for all makers' is as slow as it.
    "/etc/cloud/ds-identify.cfg": "policy: enabled\n",
    "/etc/cloud/cloud.cfg.d/90-provider.cfg": """\
datasource_list: [Vultr, NoCloud, None]
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
    "/etc/modules-load.d/provider.conf": "".join(f"{module}\n" for module in MODULES),
    "/etc/systemd/system/systemd-udev-trigger.service.d/provider.conf": f"""\
[Service]
ExecStart=
ExecStart=-udevadm trigger --action=add {" ".join(f"--subsystem-match={name}" for name in ASKED_AFTER)}
ExecStart=-udevadm trigger --action=add --subsystem-match=tty --sysname-match=ttyS0
""",
    # The service manager of a user who has gone is there when he comes again, as after each command by ssh.
    "/etc/systemd/logind.conf.d/provider.conf": "[Login]\nUserStopDelaySec=infinity\n",
}
REMOVED = (
    "etc/systemd/system/provider-disks.service",
    "etc/systemd/system/provider-disks-again.path",
    "etc/systemd/system/provider-disks-again.service",
    "usr/local/lib/provider/provider-disks",
)
ENABLED = ("provider-network.service",)
DISABLED = ("provider-disks.service", "provider-disks-again.path", "getty@tty1.service")
# Of use to partitions, a TPM, a crashed kernel's notes, snapshots of LVM, foreign programs, or huge pages.
MASKED = (
    "dev-hugepages.mount",
    "e2scrub_reap.service",
    "proc-sys-fs-binfmt_misc.automount",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "systemd-binfmt.service",
    "systemd-hibernate-clear.service",
    "systemd-pcrmachine.service",
    "systemd-pcrphase-sysinit.service",
    "systemd-pcrphase.service",
    "systemd-pstore.service",
    "systemd-tpm2-setup-early.service",
    "systemd-tpm2-setup.service",
)
MAKE_FILESYSTEM = ("mkfs.ext4", "-q", "-F", "-m0", "-L", "root", "-E", "nodiscard,lazy_itable_init=1")


def image_id(packages: Sequence[str] = ()) -> str:
    recipe = [(*PACKAGES, *packages), SIZE_GB, FILES, REMOVED, ENABLED, DISABLED, MASKED, MAKE_FILESYSTEM]
    return derived.image_id("vm", str(recipe))


def folder_of(image_id: str) -> Path:
    """The folder of an image for VMs; raises EngineError where there is none."""
    folder = image.IMAGES / image_id
    if not (folder / "root.img").exists():
        raise EngineError(f"{folder}: no such image of VMs; a snapshot needs the image it was made on")
    return folder


def build(packages: Sequence[str] = ()) -> str:
    """Returns the id of the current image, building it if needed (one to two minutes). Raises EngineError.

    packages: what is in it beside what each virtual machine needs (lab/prepared.py).
    """
    made = image_id(packages)
    what = "what virtual machines need" + (", and a role's packages," if packages else "")
    derived.build(made, what, (*PACKAGES, *packages), before=_declare, after=_finish)
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
        if text.startswith("#!"):
            path.chmod(0o755)
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
