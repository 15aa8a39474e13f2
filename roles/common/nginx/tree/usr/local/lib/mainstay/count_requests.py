"""The requests that nginx logged, as counts that show nobody; then the log is destroyed.

A log is set aside under a name of its own, and read once no process writes to it any more. Its counts are in place, as
/var/lib/mainstay/requests/NAME.json, before it is destroyed: a run that was broken off is finished by the next one, and
nothing is counted twice. {"from": NAME, "unreadable": lines, "rows": [{day, country, device, kind, status, requests,
begun, bytes}]}; begun: requests for a file's first byte, which are downloads as opposed to parts of them. Days are
those of UTC.

Destroyed: written over with zeros, unlinked, and what is free on the filesystem told to the disk, where both can do
that; said is what was done. What a disk, or the provider's storage under it, does with blocks is not known here.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

LOGS, COUNTS = Path("/var/log/http"), Path("/var/lib/mainstay/requests")
LOG, ASIDE = LOGS / "access.log", "counting-"
REOPENED_S = 60
"""How long nginx may take to let go of a log."""
COUNTS_DAYS = 800
OTHER = "other"
METADATA, FULL, INCREMENTAL, FACTORY = "metadata", "full", "incremental", "factory"
KINDS = {
    METADATA: r"ota/(?P<device>\w{1,32})/(?P=device)-[a-z0-9-]+(?:-changelog\.html)?|"
    r"factory/(?P<factory>\w{1,32})/(?P=factory)-factory",
    FULL: r"ota/(?P<device>\w{1,32})/[^/]+/(?P=device)-ota_update-[^/]+\.zip",
    INCREMENTAL: r"ota/(?P<device>\w{1,32})/[^/]+/(?P=device)-incremental-[^/]+\.zip",
    FACTORY: r"factory/(?P<device>\w{1,32})/[^/]+/(?P=device)-factory-[^/]+\.zip",
}
PATTERNS = {kind: re.compile(f"/(?:{pattern})", re.ASCII) for kind, pattern in KINDS.items()}
LINES_OF_A_PHONE, PHONES = 6, 10
"""A phone asks for its channel's line six times a day, and for a package once. What fewer than ten phones may have
asked for is not told apart."""
FOLDED = ("device", "country", "kind", "status")
"""What of a small count is given up, in this order, until it is not small any more."""


@dataclass(frozen=True)
class Key:
    """What is counted apart."""

    day: str
    country: str
    device: str
    kind: str
    status: str


@dataclass
class Count:
    """Of requests; bytes of bodies."""

    requests: int = 0
    begun: int = 0
    bytes: int = 0

    def add(self, other: "Count") -> None:
        self.requests += other.requests
        self.begun += other.begun
        self.bytes += other.bytes


def place(path: str) -> tuple[str, str]:
    """Kind and device of what is at a path."""
    for kind, pattern in PATTERNS.items():
        if found := pattern.fullmatch(path):
            return kind, next(filter(None, found.groups()))
    return OTHER, OTHER


def one(line: bytes) -> tuple[Key, Count]:
    """A line of the log. Raises ValueError, KeyError or TypeError."""
    told = json.loads(line)
    kind, device = place(told["path"])
    begun = told["method"] == "GET" and (not told["range"] or told["range"].startswith("bytes=0-"))
    status = f"{int(told['status']) // 100}xx"
    return Key(told["time"][:10], told["country"], device, kind, status), Count(1, int(begun), int(told["bytes"]))


def counted(lines: Iterable[bytes]) -> tuple[dict[Key, Count], int]:
    """All lines, and how many could not be read."""
    found: dict[Key, Count] = {}
    unreadable = 0
    for line in lines:
        try:
            key, count = one(line)
        except (ValueError, KeyError, TypeError):
            unreadable += 1
            continue
        found.setdefault(key, Count()).add(count)
    return found, unreadable


def small(key: Key, count: Count) -> bool:
    """Whether so few phones may be behind it that one of them would show."""
    if key.kind in (FULL, INCREMENTAL, FACTORY):
        return count.begun < PHONES
    return count.requests < PHONES * LINES_OF_A_PHONE


def folded(counts: Mapping[Key, Count]) -> dict[Key, Count]:
    """The same requests in all; small counts are added to those of `other`."""
    found = dict(counts)
    for what in FOLDED:
        before, found = found, {}
        for key, count in before.items():
            fields = vars(key) | ({what: OTHER} if small(key, count) else {})
            found.setdefault(Key(**fields), Count()).add(count)
    return found


def set_aside() -> None:
    """Gives the log another name, and has nginx begin a new one."""
    if LOG.exists() and LOG.stat().st_size:
        LOG.rename(LOGS / f"{ASIDE}{time.time_ns()}.log")
        subprocess.run(["systemctl", "kill", "--kill-whom=main", "--signal=USR1", "nginx.service"], check=False)


def open_somewhere(path: Path) -> bool:
    """Whether a process has the file open."""
    wanted = path.stat()
    for opened in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            found = opened.stat()
        except OSError:
            continue
        if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
            return True
    return False


def let_go(path: Path) -> None:
    """Waits until nobody writes to it. Raises TimeoutError."""
    deadline = time.monotonic() + REOPENED_S
    while open_somewhere(path):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path}: a process still has it open after {REOPENED_S} s")
        time.sleep(0.1)


def write(path: Path) -> None:
    """A log's counts, where they are not there yet."""
    target = COUNTS / f"{path.stem.removeprefix(ASIDE)}.json"
    if target.exists():
        return
    with path.open("rb") as lines:
        counts, unreadable = counted(lines)
    rows = [vars(key) | vars(count) for key, count in sorted(folded(counts).items(), key=str)]
    new = target.with_suffix(".new")
    with new.open("w") as out:
        out.write(json.dumps({"from": target.stem, "unreadable": unreadable, "rows": rows}) + "\n")
        out.flush()
        os.fsync(out.fileno())
    new.rename(target)
    folder = os.open(COUNTS, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
    print(f"{path.name}: {sum(count.requests for count in counts.values())} requests counted, {unreadable} unreadable")


def destroy(path: Path) -> None:
    """Writes zeros over it, where it lies if the filesystem does not copy on write, and unlinks it."""
    with path.open("r+b") as raw:
        left = path.stat().st_size
        while left > 0:
            left -= raw.write(bytes(min(left, 1 << 20)))
        raw.flush()
        os.fsync(raw.fileno())
    path.unlink()
    print(f"{path.name}: written over and unlinked")


def discard() -> None:
    """Tells the disk what is free, or why it cannot be told."""
    done = subprocess.run(["fstrim", "--verbose", LOGS], capture_output=True, text=True, check=False)
    print(f"discarded: {done.stdout.strip() or f'no: {done.stderr.strip()}'}")


def main() -> None:
    """Exits 1 when a log could not be counted; it is destroyed all the same when it is older than `--days`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, required=True)
    oldest = time.time() - parser.parse_args().days * 86400
    failures = []
    set_aside()
    for path in sorted(LOGS.glob(f"{ASIDE}*.log")):
        try:
            let_go(path)
            write(path)
        except OSError as error:
            failures.append(f"{path.name}: {error}")
            if path.stat().st_mtime > oldest:
                continue
        destroy(path)
    discard()
    for path in COUNTS.glob("*.json"):
        if path.stat().st_mtime < time.time() - COUNTS_DAYS * 86400:
            path.unlink()
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
