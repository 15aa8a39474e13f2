"""Installs or upgrades packages in one apt call, or upgrades all, without starting services that do not run yet."""

import base64
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RUN = Path("/run/mainstay")
INSTALLING = RUN / "installing"
UPDATED = RUN / "package-lists"
LISTS_AGE_S = 3600
POLICY = Path("/usr/sbin/policy-rc.d")
MARK = "# Made by Mainstay"
# invoke-rc.d and deb-systemd-invoke ask this before they start anything; 101 forbids (invoke-rc.d(8)). Should this
# program be cut off, then the process id before a reboot, and the empty /run after one, tell that nobody installs.
POLICY_TEXT = f"""#!/bin/sh
{MARK}: while it installs packages, services that do not run yet are not started.
read -r pid 2>/dev/null < {INSTALLING} && kill -0 "$pid" 2>/dev/null || exit 0
for word; do case "$word" in -*) ;; *) systemctl -q is-active "$word" && exit 0; exit 101 ;; esac; done
exit 0
"""
PATIENCE_S = 600
FRONTEND_LOCK = Path("/var/lib/dpkg/lock-frontend")
LISTS_LOCK = Path("/var/lib/apt/lists/lock")
APT = ("apt-get", "-q", "-y", "-o", f"DPkg::Lock::Timeout={PATIENCE_S}", "-o", "Acquire::Retries=3")
KEEP = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "NEEDRESTART_MODE": "l",
    "APT_LISTCHANGES_FRONTEND": "none",
    # By it a bundle's `apply` has apt know the bundle alone.
    **{name: value for name, value in os.environ.items() if name == "APT_CONFIG"},
}


class Failure(Exception):
    """Says which command failed, and its last lines."""


def run(*command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        env=ENVIRONMENT | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if check and done.returncode:
        lines = "\n".join(done.stdout.strip().splitlines()[-25:])
        raise Failure(f"`{' '.join(command)}` fails ({done.returncode}):\n{lines}")
    return done


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Has a lock that unattended upgrades may hold for minutes; dpkg and `apt-get update` do not wait for theirs."""

    def give_up(*_: object) -> None:
        raise Failure(f"{path}: another package manager has held it for {PATIENCE_S} s")

    signal.signal(signal.SIGALRM, give_up)
    with path.open("w") as lock:
        signal.alarm(PATIENCE_S)
        fcntl.lockf(lock, fcntl.LOCK_EX)
        signal.alarm(0)
        yield


def hold_services() -> bool:
    """False where the host has a policy of its own, which is left alone."""
    INSTALLING.write_text(f"{os.getpid()}\n")
    if POLICY.exists() and MARK not in POLICY.read_text():
        return False
    fresh = POLICY.with_suffix(".new")
    fresh.write_text(POLICY_TEXT)
    fresh.chmod(0o755)
    fresh.rename(POLICY)
    return True


def lists_are_fresh() -> bool:
    return UPDATED.exists() and time.time() - UPDATED.stat().st_mtime < LISTS_AGE_S


def update() -> None:
    with locked(LISTS_LOCK):
        pass
    run(*APT, "-o", "APT::Update::Error-Mode=any", "update")
    UPDATED.touch()


def install(packages: dict[str, str]) -> None:
    with locked(FRONTEND_LOCK):
        run("dpkg", "--configure", "-a", "--force-confdef", "--force-confold", DPKG_FRONTEND_LOCKED="1")
    if not packages:
        return
    command = (*APT, *KEEP, "--no-install-recommends", "install", *packages)
    updated = not lists_are_fresh()
    if updated:
        update()
    if run(*command, check=updated).returncode or (not updated and too_old(packages)):
        update()
        run(*command)
    if problems := too_old(packages):
        raise Failure("\n".join(problems))


def too_old(packages: dict[str, str]) -> list[str]:
    """Which of these packages are older than their minimum, in words."""
    found = []
    for name, minimum in packages.items():
        version = run("dpkg-query", "-W", "-f", "${Version}", name).stdout
        if minimum and run("dpkg", "--compare-versions", version, "ge", minimum, check=False).returncode:
            found.append(f"{name}: the archive has {version}, wanted at least {minimum}")
    return found


def main() -> int:
    orders = json.loads(zlib.decompress(base64.b64decode(sys.stdin.buffer.read())))
    os.umask(0o022)
    RUN.mkdir(mode=0o700, exist_ok=True)
    ours = hold_services()
    try:
        install(orders["packages"])
        if orders.get("upgrade"):
            run(*APT, *KEEP, "--no-install-recommends", "--with-new-pkgs", "upgrade")
    except Failure as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        INSTALLING.unlink()
        if ours:
            POLICY.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
