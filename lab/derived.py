"""Images that are the provider's with more packages in it, each built once for each recipe.

Their names begin with the provider's image's, with which they go.
"""

import fcntl
import hashlib
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from lab import image, services
from lab.command import run
from lab.engine import EngineError

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


def image_id(name: str, recipe: str) -> str:
    """Of an image of that name. recipe: all that decides what it has beyond the provider's."""
    return f"{image.image_id()}-{name}-{hashlib.sha256(f'{INSTALL}{recipe}'.encode()).hexdigest()[:8]}"


def nothing(work: Path) -> None:
    """What is done where there is nothing to be done."""


def build(
    image_id: str,
    what: str,
    packages: Sequence[str],
    *,
    before: Callable[[Path], None] = nothing,
    after: Callable[[Path], None] = nothing,
) -> None:
    """Builds an image unless it is there. The package cache runs. Raises EngineError.

    before, after: what is done to its folder, in which `root` is the tree, around the installation.
    """
    with (image.IMAGES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (image.IMAGES / image_id).exists():
            return
        work = image.IMAGES / f"{image_id}.building"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        image.say(f"installing {what} into an image (once)")
        run("cp", "-a", "--reflink=auto", image.root_of(image.image_id()), work / "root", timeout_s=600)
        before(work)
        _install(work / "root", packages, lock.fileno())
        after(work)
        work.rename(image.IMAGES / image_id)


def _install(root: Path, packages: Sequence[str], lock: int) -> None:
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
