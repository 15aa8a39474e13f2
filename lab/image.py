"""The root tree that hosts are overlays of: Debian 13 as a provider ships it, built once for each recipe.

Built by mmdebstrap through the labs' package cache into `images/HASH/root`, where HASH covers everything that decides
the content; a tree under that name is complete, since it is renamed into place last.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from lab.command import BASE, run
from lab.engine import EngineError

IMAGES = BASE / "images"
MIRROR = "http://deb.debian.org"
SUITE = "trixie"

PACKAGES = (
    "apt-utils",
    "bash-completion",
    "ca-certificates",
    "cloud-init",
    "cron",
    "curl",
    "dbus",
    "e2fsprogs",
    "iproute2",
    "iputils-ping",
    "kmod",
    "less",
    "libpam-systemd",
    "linux-sysctl-defaults",
    "logrotate",
    "nano",
    "netbase",
    "nftables",
    "openssh-server",
    "procps",
    "psmisc",
    "python3",
    "rsync",
    "sudo",
    "systemd-resolved",
    "systemd-sysv",
    "tzdata",
    "xfsprogs",
    "zstd",
)

# What no test looks at and every host would carry; installed packages follow the same rule.
STRIPPED = (
    "path-exclude=/etc/update-motd.d/*",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-include=/usr/share/locale/locale.alias",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
)

JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
LINKS = "/bin/sh /usr/local/lib/provider/provider-disks"

FILES = {
    "/etc/apt/sources.list.d/debian.sources": f"""\
Types: deb
URIs: {MIRROR}/debian
Suites: {SUITE} {SUITE}-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: {MIRROR}/debian-security
Suites: {SUITE}-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
""",
    # Detection by DMI cannot work in a container; with one datasource listed cloud-init does not try it.
    "/etc/cloud/ds-identify.cfg": "policy: enabled\ndatasource: Vultr\n",
    "/etc/cloud/cloud.cfg.d/90-provider.cfg": """\
datasource_list: [Vultr]
datasource:
  Vultr: {url: "http://169.254.169.254", retries: 30, timeout: 2, wait: 2}
# The provider's network files are in /run/systemd/network.
network: {config: disabled}
""",
    # In a container there is no udev, and systemd leaves disks in fstab alone. These keep /dev/disk/by-label and
    # by-uuid as udev would, at boot and after every mkfs, and mount what fstab says.
    "/usr/local/lib/provider/provider-disks": """\
for by in LABEL UUID; do
  links=/dev/disk/by-$(echo $by | tr A-Z a-z)
  mkdir -p $links
  for device in /dev/vd[b-z]; do
    [ -b "$device" ] && value=$(blkid -p -s $by -o value "$device") && ln -sfn "$device" "$links/$value"
  done
  for link in $links/*; do [ -b "$link" ] || rm -f "$link"; done
done
""",
    "/etc/systemd/system/provider-disks.service": f"""\
[Unit]
Description=Links to disks by label and UUID, and their mounts, at boot
DefaultDependencies=no
After=systemd-tmpfiles-setup-dev.service systemd-remount-fs.service
Before=local-fs-pre.target
Wants=local-fs-pre.target

[Service]
Type=oneshot
ExecStart={LINKS}
ExecStart=-/usr/bin/mount --all --types ext4,xfs,btrfs

[Install]
WantedBy=sysinit.target
""",
    # A service that a path starts comes after the path, and so after sysinit.target: it cannot be the one above.
    "/etc/systemd/system/provider-disks-again.service": f"""\
[Unit]
Description=Links to disks by label and UUID, after a change
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart={LINKS}
""",
    "/etc/systemd/system/provider-disks-again.path": "[Path]\n"
    + "".join(f"PathChanged=/dev/vd{letter}\n" for letter in "bcdefghi")
    + "TriggerLimitIntervalSec=0\n\n[Install]\nWantedBy=paths.target\n",
    # A server that lives for minutes never gets back what the optimizing compiler and a parallel collector cost at its
    # start: half of its CPU.
    "/etc/systemd/system.conf.d/50-java.conf": f'[Manager]\nDefaultEnvironment="JDK_JAVA_OPTIONS={JAVA_OPTIONS}"\n',
    "/etc/environment": f'JDK_JAVA_OPTIONS="{JAVA_OPTIONS}"\n',
    "/etc/apt/apt.conf.d/70no-translations": 'Acquire::Languages "none";\n',
    "/etc/default/locale": "LANG=C.UTF-8\n",
    "/etc/fstab": "",
    "/etc/hostname": "",
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n",
    "/etc/machine-id": "",
}

ENABLED = (
    "systemd-networkd.service",
    "systemd-resolved.service",
    "provider-disks.service",
    "provider-disks-again.path",
)
# The links are up before init runs; waiting for networkd to say so costs seconds.
DISABLED = ("systemd-networkd-wait-online.service",)
# Of no use in a container, and begun at each of the dozens of daemon-reloads of a deploy.
GENERATORS = ("debug", "gpt-auto", "hibernate-resume", "rc-local", "ssh", "system-update", "tpm2")
# Alternatives of Java link their manual's pages, and fail without the folder. The rest is work that every host's first
# boot and first apt call would do again.
FINISH = (
    "mkdir -p /usr/share/man/man1 && apt-cache gencaches && journalctl --update-catalog"
    " && touch /etc/.updated /var/.updated"
)
REMOVED = (
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/apt/sources.list",
    "var/lib/systemd/random-seed",
    "var/lib/cloud/instance",
)


def recipe() -> str:
    """Everything that decides what is in the image."""
    return json.dumps([MIRROR, SUITE, PACKAGES, STRIPPED, FILES, ENABLED, DISABLED, GENERATORS, REMOVED, FINISH])


def image_id() -> str:
    return hashlib.sha256(recipe().encode()).hexdigest()[:16]


def root_of(image: str) -> Path:
    """The tree of an image; raises EngineError where there is none."""
    root = IMAGES / image / "root"
    if not root.is_dir():
        raise EngineError(
            f"{root}: no such image; a snapshot needs the image it was made on, and makes hosts of its own kind"
        )
    return root


def build(apt_proxy: str) -> str:
    """Returns the id of the current image, building it if needed (about a minute) with progress on stderr."""
    image = image_id()
    if (IMAGES / image / "root").is_dir():
        return image
    IMAGES.mkdir(parents=True, exist_ok=True)
    with (IMAGES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in IMAGES.glob("*.building"):
            shutil.rmtree(left)
        if not (IMAGES / image / "root").is_dir():
            _build(image, apt_proxy, lock.fileno())
    return image


def _build(image: str, apt_proxy: str, lock: int) -> None:
    began = time.monotonic()
    work = IMAGES / f"{image}.building"
    root = work / "root"
    work.mkdir()
    say(f"building a Debian 13 image in {IMAGES} (once, about a minute)")
    include = ",".join(PACKAGES)
    sources = [
        f"deb {MIRROR}/debian {SUITE} main",
        f"deb {MIRROR}/debian {SUITE}-updates main",
        f"deb {MIRROR}/debian-security {SUITE}-security main",
    ]
    # The lock is inherited: a build that outlives its caller is not disturbed by the next one.
    with subprocess.Popen(
        [
            *("unshare", "--mount", "mmdebstrap", "--mode=root", "--variant=minbase", f"--include={include}"),
            "--skip=cleanup/apt/lists",
            *("--format=directory", f'--aptopt=Acquire::http::Proxy "{apt_proxy}"'),
            *(f"--dpkgopt={option}" for option in STRIPPED),
            *(SUITE, str(root), *sources),
        ],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        text=True,
        pass_fds=(lock,),
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    ) as builder:
        assert builder.stderr is not None
        said = []
        for line in builder.stderr:
            said.append(line)
            if line.startswith("I: ") and "..." in line:
                say(f"{time.monotonic() - began:4.0f} s  {line[3:].strip()}")
    if builder.returncode:
        shutil.rmtree(work)
        raise EngineError(f"mmdebstrap: exit {builder.returncode}: {''.join(said[-15:]).strip()}")
    _finish(root)
    (work / "recipe.json").write_text(recipe())
    work.rename(IMAGES / image)
    _prune(image)
    say(f"{time.monotonic() - began:4.0f} s  image {image} is ready")


def _finish(root: Path) -> None:
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    for name in REMOVED:
        (root / name).unlink(missing_ok=True)
    for name, text in FILES.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    masked = root / "etc/systemd/system-generators"
    masked.mkdir()
    for name in GENERATORS:
        (masked / f"systemd-{name}-generator").symlink_to("/dev/null")
    resolv = root / "etc/resolv.conf"
    resolv.unlink(missing_ok=True)
    resolv.symlink_to("../run/systemd/resolve/stub-resolv.conf")
    run("systemctl", f"--root={root}", "enable", *ENABLED)
    run("systemctl", f"--root={root}", "disable", *DISABLED)
    run("chroot", root, "sh", "-c", FINISH)


def _prune(newest: str) -> None:
    """Removes images of older recipes on which no host and no snapshot of any lab lies."""
    used = {path.read_text().strip() for path in (BASE / "labs").glob("*/*/*/image")} | {newest}
    for image in IMAGES.iterdir():
        if image.is_dir() and image.name not in used and not image.name.startswith(f"{newest}-"):
            shutil.rmtree(image)


def say(text: str) -> None:
    print(f"lab: {text}", file=sys.stderr, flush=True)
