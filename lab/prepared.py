"""The provider's image with a role's packages in place: half the work of a first deploy, for labs of which something
else is asked.

A lab that is `prepare`d makes a new host by its tag `role:NAME` of such an image; each is built once for each recipe.
A package that is missing here is installed by the deploy, as on any other host.
"""

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

from lab import image, services
from lab.command import run
from lab.engine import EngineError, LabConfig
from roles.signing import software

BASE = ("chrony", "nullmailer", "unattended-upgrades")
HTTP = ("restic", "rsync", "nginx", "libnginx-mod-http-headers-more-filter", "tor-geoipdb", "certbot")
PACKAGES = {
    "base": BASE,
    "control": (*BASE, "restic", "rsync", "git"),
    "gerrit": (*BASE, *HTTP, "openjdk-21-jre-headless", "git", "btrfs-progs"),
    "gitmirror": (*BASE, *HTTP, "fcgiwrap", "git"),
    "release": (*BASE, *HTTP),
    "signing": (*BASE, *software.MINIMUM, *software.PINNED),
    "vault": (*BASE, "restic-rest-server"),
    "web": (*BASE, *HTTP),
}
"""By role."""
PREFIX = "prepared/"
MARK = "prepared"
INSTALL = f"""
export DEBIAN_FRONTEND=noninteractive
printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
echo "Acquire::http::Proxy \\"$0\\";" >/etc/apt/apt.conf.d/00provider-cache
apt-get -q update
apt-get -q -y --no-install-recommends install "$@"
apt-get clean
rm /usr/sbin/policy-rc.d /etc/apt/apt.conf.d/00provider-cache
: >/etc/machine-id
{image.FINISH}
"""


def prepare(config: LabConfig) -> None:
    """From now on new hosts of this lab are prepared. The package cache runs. Raises EngineError."""
    for role in PACKAGES:
        _build(role)
    (config.root / MARK).touch()


def image_for(config: LabConfig, tags: list[str]) -> str:
    """What a host with these tags is made of, as `lab.engine.Machine.image` has it."""
    role = next((role for role in PACKAGES if f"role:{role}" in tags), "")
    return f"{PREFIX}{role}" if role and (config.root / MARK).exists() else "debian-13"


def image_id(name: str) -> str:
    """Of a machine's image. One of an older recipe is none of this."""
    role = name.removeprefix(PREFIX)
    recipe = hashlib.sha256(f"{INSTALL}{PACKAGES[role]}".encode()).hexdigest()[:8]
    return f"{image.image_id()}-{role}-{recipe}"


def _build(role: str) -> None:
    name = image_id(role)
    with (image.IMAGES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (image.IMAGES / name).exists():
            return
        work = image.IMAGES / f"{name}.building"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        image.say(f"installing what hosts with the role {role} need into an image (once)")
        run("cp", "-a", "--reflink=auto", image.root_of(image.image_id()), work / "root", timeout_s=600)
        _install(work / "root", PACKAGES[role], lock.fileno())
        work.rename(image.IMAGES / name)


def _install(root: Path, packages: tuple[str, ...], lock: int) -> None:
    """Inherits the lock, as the build of the provider's image does."""
    inside = ("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--settings=no", "--pipe")
    host = ("--resolv-conf=off", "--timezone=off", "--link-journal=no", f"--directory={root}")
    done = subprocess.run(
        [*inside, *host, "sh", "-ec", INSTALL, services.LOCAL_CACHE_URL, *packages],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        pass_fds=(lock,),
    )
    if done.returncode:
        raise EngineError(f"{root}: exit {done.returncode}: {done.stdout[-2000:].strip()}")
