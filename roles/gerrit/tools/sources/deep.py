"""Reads whole repositories as a mirroring client does, some each time, so that each is read within 30 days.

A fetch of all refs checks the hash of each object that arrives and that none is missing; what git says of damage is
what is told. The rotation is that of release servers' packages.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from inventories.errors import InputError
from inventories.files import replace
from roles.gerrit.tools.sources.git import Git, GitError, scratch
from roles.release.tools.audit import on_disk

TIMEOUT_S = 4 * 3600
FORMAT = 1


@dataclass(frozen=True)
class Reading:
    """Of a repository: bytes when it was read last, 1 where that is not known; Unix seconds, 0: never."""

    size: int
    seen: float
    read: float = 0


@dataclass
class Record:
    """repositories: by address; last: when any was read last."""

    repositories: dict[str, Reading] = field(default_factory=dict)
    last: float = 0

    def due(self, urls: Iterable[str], now: datetime) -> list[str]:
        """What to read now, the most urgent first; forgets those that are no longer asked for."""
        new = Reading(1, now.timestamp())
        self.repositories = {url: self.repositories.get(url, new) for url in urls}
        told = {
            url: {"known": [one.size, 0, 0], "seen": one.seen, "read": one.read}
            for url, one in self.repositories.items()
        }
        return on_disk.due(told, self.last, now.timestamp())

    def note(self, url: str, size: int, now: datetime) -> None:
        """It was read, whatever came of it."""
        before = self.repositories[url]
        self.repositories[url] = Reading(max(size or before.size, 1), before.seen, now.timestamp())
        self.last = now.timestamp()


def read(url: str, below: Path, authority: Path | None = None) -> int:
    """Bytes of all of a repository's objects. Raises GitError, of damage with the kind BROKEN."""
    with scratch(below, authority) as into:
        into.run("fetch", "-q", "--no-write-fetch-head", url, "+refs/*:refs/*", timeout_s=TIMEOUT_S)
        into.run("fsck", "--connectivity-only", "--no-dangling", "--no-progress", timeout_s=TIMEOUT_S)
        return _size(into)


def load(path: Path) -> Record:
    """Nothing when there is no such file. Raises InputError when it is none of ours."""
    try:
        told = json.loads(path.read_text())
        if told["format"] != FORMAT:
            raise ValueError(f"format {told['format']}")
        repositories = {
            str(url): Reading(int(one["size"]), float(one["seen"]), float(one["read"]))
            for url, one in told["repositories"].items()
        }
        return Record(repositories, float(told["last"]))
    except FileNotFoundError:
        return Record()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        hint = "move it away: everything is then read anew within 30 days"
        raise InputError(path, "", f"is no record of an audit: {error!r}", hint) from None


def save(path: Path, record: Record) -> None:
    """Whole or not at all."""
    repositories = {url: asdict(one) for url, one in record.repositories.items()}
    replace(path, json.dumps({"format": FORMAT, "last": record.last, "repositories": repositories}), 0o600)


def _size(into: Git) -> int:
    try:
        told = into.run("count-objects", "-v").decode()
    except GitError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in told.splitlines() if line.startswith(("size:", "size-pack:")))
