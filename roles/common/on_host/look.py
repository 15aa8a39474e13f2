"""Tells what a host is beside what operations look at: all of it in one go, and nothing of it is changed.

With `remember` among its orders it writes down what nobody declared, before the first deploy: that is the image's.
Else it prints, as JSON, the answers to `looks` and, by what is `declared`, the rest: what nobody declared that is not
the image's, and what no file tells. Of a password it prints only that there is one.
"""

import base64
import fnmatch
import hashlib
import json
import os
import pwd
import re
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

RECORD = Path("/var/lib/mainstay/image.json")
INFO = Path("/var/lib/dpkg/info")
WATCHED = (
    *("/etc/apt", "/etc/cron.d", "/etc/cron.daily", "/etc/cron.hourly", "/etc/cron.monthly", "/etc/cron.weekly"),
    *("/etc/crontab", "/etc/ld.so.conf.d", "/etc/ld.so.preload", "/etc/mainstay", "/etc/modprobe.d"),
    *("/etc/modules-load.d", "/etc/netplan", "/etc/network", "/etc/nftables.d", "/etc/nginx", "/etc/pam.d"),
    *("/etc/profile.d", "/etc/rc.local", "/etc/security", "/etc/ssh", "/etc/sudoers.d", "/etc/sysctl.d"),
    *("/etc/systemd", "/etc/tmpfiles.d", "/etc/udev", "/run/systemd/system", "/usr/local", "/var/spool/cron/crontabs"),
)
"""Where a file decides what a host does, whoever put it there."""
DHCP = {("udp", 68), ("udp", 546)}
"""Where a host hears what address it has."""
UNITS = ("/etc/systemd/", "/run/systemd/")
BROUGHT = ("/usr/lib/", "/usr/share/", "/lib/", "/etc/systemd/", "/run/systemd/")
"""Where a link leads to what a package or a declared file has brought."""

LEFT = (".dpkg-dist", ".dpkg-new", ".dpkg-old", ".ucf-dist", ".ucf-old")
"""What an upgrade leaves beside a file that it did not replace, and no program reads."""
NOBODYS = "nobody declared it"

Item = tuple[str, str, str, float, str]
"""Kind, what, why, since when (Unix seconds, 0: nobody knows), and what tells it from another of the same name."""


class Failure(Exception):
    """Says what failed and why."""


def run(*command: str) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise Failure(f"`{' '.join(command)[:200]}` fails ({done.returncode}): {done.stderr.strip()[-300:]}")
    return done.stdout


def changed(path: str | Path) -> float:
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return 0


def undeclared(declared: dict[str, list[str]]) -> Iterator[Item]:
    paths = set(declared["paths"])
    yield from packages(set(declared["packages"]))
    yield from files(paths | owned())
    yield from conffiles(paths)
    yield from users(paths)


def later(declared: dict[str, list[str]]) -> list[Item]:
    """What is not the image's either; nothing while nobody knows what is."""
    if not RECORD.exists():
        return []
    images = {tuple(one) for one in json.loads(RECORD.read_text())}
    return [one for one in undeclared(declared) if (*one[:2], one[4]) not in images]


def packages(declared: set[str]) -> Iterator[Item]:
    automatic = set()
    states = Path("/var/lib/apt/extended_states")
    for stanza in states.read_text().split("\n\n") if states.exists() else ():
        if "Auto-Installed: 1" in stanza and (match := re.search(r"^Package: (\S+)", stanza, re.M)):
            automatic.add(match[1])
    for line in run("dpkg-query", "-W", "-f", "${db:Status-Abbrev}\t${Package}\t${Architecture}\n").splitlines():
        status, name, architecture = line.split("\t")
        if status[0] == "h":
            yield "packages", name, "held by hand: it gets no security update", 0, "held"
        if status[1] == "i" and name not in declared | automatic:
            since = changed(INFO / f"{name}.list") or changed(INFO / f"{name}:{architecture}.list")
            yield "packages", name, NOBODYS, since, ""


def owned() -> set[str]:
    """Files of packages in watched places, and those that ucf puts there for them."""
    found = set()
    places = tuple(f"{top}/" for top in WATCHED) + WATCHED
    for listing in INFO.glob("*.list"):
        found |= {line for line in listing.read_text(errors="replace").splitlines() if line.startswith(places)}
    ucf = Path("/var/lib/ucf/hashfile")
    for line in ucf.read_text().splitlines() if ucf.exists() else ():
        found.add(line.split("  ", 1)[-1])
    return found


def files(known: set[str]) -> Iterator[Item]:
    for top in map(Path, WATCHED):
        for path in (top, *top.rglob("*")):
            link = path.is_symlink()
            if path.suffix in LEFT and str(path.with_suffix("")) in known:
                continue
            if (link or path.is_file()) and str(path) not in known and (why := _why(path, known) if link else NOBODYS):
                yield "units" if str(path).startswith(UNITS) else "files", str(path), why, changed(path), ""


def _why(link: Path, known: set[str]) -> str:
    """Empty for one that only puts into service what is known: a unit, a module of nginx, a page of its package."""
    target = os.path.normpath(link.parent / link.readlink())
    if str(link).startswith(UNITS) and target == "/dev/null":
        return "masked by hand"
    if target in known or target.startswith(BROUGHT):
        return ""
    return f"a link to {link.readlink()} that nobody declared"


def conffiles(declared: set[str]) -> Iterator[Item]:
    """Configuration that came with a package and is another now."""
    for line in run("dpkg-query", "-W", "-f", "${Conffiles}\n").splitlines():
        words = line.split()
        if len(words) != 2 or words[0] in declared or words[1] == "newconffile":
            continue
        path = words[0]
        try:
            found = hashlib.md5(Path(path).read_bytes(), usedforsecurity=False).hexdigest()
        except OSError:
            found = ""
        if found != words[1]:
            why = "changed by hand since its package brought it" if found else "removed by hand, its package brought it"
            yield "files", path, why, changed(path), found


def users(declared: set[str]) -> Iterator[Item]:
    passwords = dict(line.split(":")[:2] for line in Path("/etc/shadow").read_text().splitlines())
    for user in pwd.getpwall():
        if user.pw_uid == 0 and user.pw_name != "root":
            yield "users", user.pw_name, "has root's user id", 0, "root"
        password = passwords.get(user.pw_name, "*")
        if password[:1] not in ("!", "*"):
            yield "users", user.pw_name, "has a password" if password else "needs no password", 0, "password"
        for name in ("authorized_keys", "authorized_keys2"):
            path = Path(user.pw_dir, ".ssh", name)
            if str(path) not in declared and path.exists() and path.stat().st_size:
                yield "users", str(path), "keys that nobody declared", changed(path), ""


def started(process: int) -> float:
    """When it was, by proc(5): in clock ticks after the machine's start."""
    try:
        ticks = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0
    booted = re.search(r"^btime (\d+)", Path("/proc/stat").read_text(), re.M)
    return int(booted[1]) + ticks / os.sysconf("SC_CLK_TCK") if booted else 0


def sockets() -> list[list[object]]:
    """Protocol, address, port, program and since when of all that listens, but for a client of DHCP."""
    found: list[list[object]] = []
    for line in run("ss", "-H", "-tulnp").splitlines():
        words = line.split(maxsplit=6)
        address, _, port = words[4].rpartition(":")
        if (words[0], int(port)) in DHCP:
            continue
        holder = re.search(r'\("([^"]*)",pid=(\d+)', words[6]) if len(words) > 6 else None
        name, since = (holder[1], started(int(holder[2]))) if holder else ("", 0.0)
        found.append([words[0], plain(address), int(port), name, since])
    return found


def plain(address: str) -> str:
    """As `ss` writes it, without brackets and interface. Java's sockets are of both families: an IPv4 address is one of
    IPv6 to them."""
    return re.sub(r"^::ffff:(?=[\d.]+$)", "", address.partition("%")[0].strip("[]"))


def kernel(paths: list[str]) -> list[list[str]]:
    """Key, value, wanted value and the file that says so, of settings that this host may make. The last file wins, and
    a plain name one with `*` (sysctl.d(5))."""
    wanted: dict[str, tuple[str, str]] = {}
    plain: dict[str, tuple[str, str]] = {}
    for path in sorted(fnmatch.filter(paths, "/etc/sysctl.d/*.conf")):
        for line in Path(path).read_text().splitlines() if Path(path).exists() else ():
            key, equals, value = line.strip().lstrip("-").partition("=")
            if not equals or key.startswith(("#", ";")):
                continue
            pattern = key.strip().replace(".", "/")
            if "*" in pattern:
                wanted |= {str(one): (value, path) for one in Path("/proc/sys").glob(pattern)}
            else:
                plain[f"/proc/sys/{pattern}"] = (value, path)
    found = []
    for place, (value, path) in sorted((wanted | plain).items()):
        if os.access(place, os.R_OK | os.W_OK):
            now = " ".join(Path(place).read_text().split())
            if now != " ".join(value.split()):
                found.append([place.removeprefix("/proc/sys/").replace("/", "."), now, value.strip(), path])
    return found


def firewall() -> list[str]:
    """The rules in force and those of the files, without counters and what sets hold; none where they are the same."""
    listed = ("nft", "-st", "list", "ruleset")
    here = run(*listed)
    there = run("unshare", "--net", "sh", "-c", f"nft -f /etc/nftables.conf && {' '.join(listed)}")
    return [] if here == there else [here, there]


def since_units(units: list[str]) -> dict[str, float]:
    """When each was last started or stopped."""
    found = {}
    words = ("systemctl", "show", "--timestamp=unix", "-p", "Id,StateChangeTimestamp")
    for stanza in run(*words, "--", *units).split("\n\n") if units else ():
        fields = dict(line.split("=", 1) for line in stanza.splitlines() if "=" in line)
        if fields.get("StateChangeTimestamp", "").startswith("@"):
            found[fields["Id"]] = float(fields["StateChangeTimestamp"][1:])
    return found


def gone(packages: list[str]) -> dict[str, float]:
    """When dpkg last took one of these away, as its log has it."""
    found = {}
    for name in ("dpkg.log.1", "dpkg.log"):
        log = Path("/var/log", name)
        for line in log.read_text(errors="replace").splitlines() if log.exists() else ():
            words = line.split(" ")
            if len(words) > 3 and words[2] in ("remove", "purge") and words[3].split(":")[0] in packages:
                when = time.strptime(" ".join(words[:2]), "%Y-%m-%d %H:%M:%S")
                found[words[3].split(":")[0]] = time.mktime(when)
    return found


def looked(command: str, stdin: str) -> str:
    """What a look says; how it ends tells nothing, as for the operation that takes it."""
    done = subprocess.run(["sh", "-c", command], input=stdin, capture_output=True, text=True, errors="replace")
    return done.stdout


def beside(declared: dict[str, list[str]]) -> dict[str, object]:
    """What no operation asks for."""
    stats = {path: [stat.st_mtime, stat.st_ctime] for path in declared["paths"] if (stat := _stat(path))}
    return {
        "undeclared": [one[:4] for one in later(declared)],
        "sockets": sockets(),
        "kernel": kernel(declared["paths"]),
        "firewall": firewall(),
        "changed": stats,
        "units": since_units(declared["units"]),
        "gone": gone(declared["packages"]),
    }


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def remember() -> None:
    """Once: what comes later is not the image's."""
    nothing: dict[str, list[str]] = {"paths": [], "packages": []}
    text = json.dumps([[kind, what, mark] for kind, what, _, _, mark in undeclared(nothing)])
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    fresh = RECORD.with_suffix(".new")
    fresh.touch(0o600)
    fresh.write_text(text)
    fresh.rename(RECORD)


def main() -> int:
    orders = json.loads(zlib.decompress(base64.b64decode(sys.stdin.buffer.read())))
    try:
        if orders.get("remember"):
            remember()
        else:
            said: dict[str, object] = {"looks": [looked(*one) for one in orders["looks"]]}
            print(json.dumps(said | (beside(orders["declared"]) if "declared" in orders else {})))
    except (Failure, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
