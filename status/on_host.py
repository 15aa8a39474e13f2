"""How a host is, told by itself as JSON. It comes over standard input, reads, changes nothing, and needs no root.

What cannot be had is null. Standard library only: it runs by the host's own Python.
"""

import json
import os
import pwd
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

DISKS = {"btrfs", "ext2", "ext3", "ext4", "overlay", "vfat", "xfs"}
DRIFT = Path("/var/lib/mainstay/drift.json")
APT = ("nice", "apt-get", "-s", "-qq", "-o", "Debug::NoLocking=true", "dist-upgrade")
SECURITY = re.compile(r"Inst (\S+) .*\(\S+ [^)]*-security")
PROPERTIES = ("Id", "Type", "ActiveState", "UnitFileState", "ConditionResult")
SHOW = ("systemctl", "show", f"--property={','.join(PROPERTIES)}", "--all", "--type=service,socket,timer,mount", "*")
COMMAND_S = 60
PEOPLE = range(1000, 60000)
"""What `useradd` gives to people."""
NO_SHELLS = ("/usr/sbin/nologin", "/bin/false")


def said(words: tuple[str, ...]) -> str:
    quiet = os.environ | {"LC_ALL": "C"}
    done = subprocess.run(words, env=quiet, capture_output=True, text=True, timeout=COMMAND_S, check=True)
    return done.stdout


def changed(path: str) -> float | None:
    """When a file was written last."""
    try:
        return Path(path).stat().st_mtime
    except FileNotFoundError:
        return None


def kernel() -> dict[str, Any]:
    """installed: releases, by when each came; a container has its machine's kernel, and none of its own."""
    kept = Path("/boot").glob("vmlinuz-*")
    installed = {one.name.removeprefix("vmlinuz-"): one.stat().st_mtime for one in kept}
    own = not Path("/run/systemd/container").exists()
    return {"running": os.uname().release, "installed": installed, "own": own}


def updates() -> dict[str, Any]:
    """security: what would be installed; as_of: when lists were fetched; ran: when updates were last installed."""
    return {
        "security": sorted({found[1] for found in map(SECURITY.match, said(APT).splitlines()) if found}),
        "as_of": changed("/var/lib/apt/periodic/update-success-stamp") or changed("/var/lib/apt/lists"),
        "ran": changed("/var/lib/apt/periodic/upgrade-stamp"),
    }


END_BY_THEMSELVES = ("cloud-init-main.service",)
"""Enabled, no oneshot, and yet at its end once the host has booted."""


def units() -> dict[str, list[str]]:
    """failed; and stopped: what is to run from boot on, was begun, and runs no more."""
    found: dict[str, list[str]] = {"failed": [], "stopped": []}
    for block in said(SHOW).split("\n\n"):
        unit = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if unit.get("ActiveState") == "failed":
            found["failed"].append(unit["Id"])
        elif is_stopped(unit):
            found["stopped"].append(unit["Id"])
    return {state: sorted(set(names)) for state, names in found.items()}


def is_stopped(unit: dict[str, str]) -> bool:
    if unit.get("Id") in END_BY_THEMSELVES:
        return False
    if unit.get("ActiveState") != "inactive" or unit.get("UnitFileState") != "enabled":
        return False
    return unit.get("ConditionResult") == "yes" and unit.get("Type") != "oneshot"


def disks() -> list[dict[str, Any]]:
    """Bytes, as users of the host have them; each filesystem once."""
    found: dict[int, dict[str, Any]] = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, kind, *_ = line.split(" ")
        mount = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), mount)
        if kind not in DISKS or mount.startswith("/run/"):
            continue
        try:
            device, told = Path(mount).stat().st_dev, os.statvfs(mount)
        except PermissionError:
            continue
        size = (told.f_blocks - told.f_bfree + told.f_bavail) * told.f_frsize
        one = {"mount": mount, "size": size, "free": told.f_bavail * told.f_frsize}
        one |= {"inodes": told.f_files, "inodes_free": told.f_favail}
        if device not in found or len(mount) < len(found[device]["mount"]):
            found[device] = one
    return sorted(found.values(), key=lambda one: str(one["mount"]))


def people() -> list[str]:
    """Accounts of people that have a shell; who was locked out has none."""
    return sorted(one.pw_name for one in pwd.getpwall() if one.pw_uid in PEOPLE and one.pw_shell not in NO_SHELLS)


def drift() -> Any:
    """What its own daily look found (roles/base/drifting/command.py); null: it has not looked yet."""
    return json.loads(DRIFT.read_text()) if DRIFT.exists() else None


def tried(look: Callable[[], Any]) -> Any:
    try:
        return look()
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        print(f"{look.__name__}: {error}", file=sys.stderr)
        return None


def main(deploys: str = "true") -> None:
    """deploys: the command that tells of the last deploys (roles/base/deployed.py)."""
    told = {one.__name__: tried(one) for one in (kernel, updates, units, disks, people, drift)}
    told["deploys"] = tried(lambda: said(("sh", "-c", deploys)))
    told["debian"] = tried(lambda: Path("/etc/debian_version").read_text().strip())
    told["reboot_required"] = changed("/run/reboot-required")
    told["booted"] = tried(lambda: time.time() - float(Path("/proc/uptime").read_text().split()[0]))
    print(json.dumps(told | {"time": time.time()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
