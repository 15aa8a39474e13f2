"""All that a deploy decides of a host, as it is now: in hashes, modes and names, so that no secret is in it.

A shot is JSON: by kind what there is, by its name. What a healthy host changes by itself is not in it: versions of
packages, certificates, what services write, what only waits to be started.
"""

import grp
import hashlib
import os
import stat
from difflib import unified_diff
from pathlib import Path
from typing import Any

from roles.common.on_host import look

Shot = dict[str, dict[str, Any]]
Declared = dict[str, list[str]]
"""Names: `paths`, `packages`, `units`; and `listens`, as `tcp 0.0.0.0:22`."""
ROOT = 0
EPHEMERAL = range(32768, 61000)
"""Ports that a program gets which asks for any (ip_local_port_range): on loopback nobody else's business."""
UNIT_WORDS = ("systemctl", "show", "--timestamp=unix", "-p", "Id,UnitFileState,ActiveState,StateChangeTimestamp")


def take(declared: Declared) -> Shot:
    """Raises look.Failure, OSError, ValueError."""
    return {
        "files": {path: file(path) for path in declared["paths"]},
        "packages": packages(declared["packages"]),
        "services": services(declared["units"]),
        "users": users(),
        "undeclared": {" ".join((one[0], one[1], one[4])): one[:4] for one in look.undeclared(declared)},
        "sockets": sockets({*declared["listens"]}),
        "kernel": {key: [now, wanted, path] for key, now, wanted, path in look.kernel(declared["paths"])},
        "firewall": firewall(),
    }


def file(path: str) -> list[Any]:
    """What it is, mode, owner and hash of a file, and when content and rights changed; empty: it is not there.

    Links and directories in a folder of somebody else's are theirs to change: who publishes has a link for a directory.
    """
    try:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode) and Path(path).parent.stat().st_uid != ROOT:
            return ["what the owner of its folder made"]
        if stat.S_ISLNK(found.st_mode):
            return [f"a link to {Path(path).readlink()}"]
        if not stat.S_ISREG(found.st_mode):
            return ["a directory" if stat.S_ISDIR(found.st_mode) else "something else"]
        content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return []
    mode, owner = f"{stat.S_IMODE(found.st_mode):04o}", f"{found.st_uid}:{found.st_gid}"
    return ["a file", mode, owner, content, found.st_mtime, found.st_ctime]


def packages(declared: list[str]) -> dict[str, Any]:
    """Which of them are installed."""
    listed = look.run("dpkg-query", "-W", "-f", "${db:Status-Abbrev}\t${Package}\n").splitlines()
    there = {name for status, name in (line.split("\t") for line in listed) if status[1] == "i"}
    return {name: name in there for name in declared}


def services(declared: list[str]) -> dict[str, Any]:
    """Whether it is enabled, how it runs, and since when."""
    found = {}
    for stanza in look.run(*UNIT_WORDS, "--", *declared).split("\n\n") if declared else ():
        fields = dict(line.split("=", 1) for line in stanza.splitlines() if "=" in line)
        since = fields["StateChangeTimestamp"]
        dated = float(since[1:]) if since.startswith("@") else 0
        found[fields["Id"]] = [fields["UnitFileState"], fields["ActiveState"], dated]
    return found


def users() -> dict[str, Any]:
    """Ids, home, shell and further groups of each, as the files have them."""
    found, groups = {}, grp.getgrall()
    for line in Path("/etc/passwd").read_text().splitlines():
        name, _, uid, gid, _, home, shell = line.split(":")
        found[name] = [int(uid), int(gid), home, shell, sorted(one.gr_name for one in groups if name in one.gr_mem)]
    return found


def sockets(allowed: set[str]) -> dict[str, Any]:
    """What listens and is not declared: by whom, and since when."""
    found: dict[str, Any] = {}
    for protocol, address, port, program, since in look.sockets():
        own = port in EPHEMERAL and (address == "::1" or str(address).startswith("127."))
        if not own and (place := f"{protocol} {address}:{port}") not in allowed:
            found[place] = [program, since]
    return found


def firewall() -> dict[str, Any]:
    """The lines in which the rules in force are others than the file makes them."""
    here, there = look.firewall() or ("", "")
    lines = unified_diff(here.splitlines(), there.splitlines(), lineterm="", n=0)
    return {line[0] + line[1:].strip(): True for line in lines if not line.startswith(("--- ", "+++ ", "@@"))}
