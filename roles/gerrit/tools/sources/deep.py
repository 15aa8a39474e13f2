"""Reads all bytes that clients can get, some each time, so that each is read within 30 days: whole repositories, as a
mirroring client does, and objects of LFS.

A fetch of all refs checks the hash of each object that arrives and that none is missing; what git says of damage is
what is told. What is damaged is read each time, until it is whole.
"""

import json
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Lock

from inventories.errors import InputError
from inventories.files import replace
from roles.common import turns
from roles.gerrit.tools.sources.git import Git, GitError, Place

TIMEOUT_S = 4 * 3600
SAVE_S = 10
"""No more than what was read in so many seconds is forgotten when an audit is killed."""
FORMAT = 2


@dataclass(frozen=True)
class Reading:
    """Of a repository or an object of LFS: its bytes, 1 where they are not known; when it was first seen and when last
    read, in Unix seconds, 0: never; whether it was damaged then."""

    size: int
    seen: float
    read: float = 0
    is_damaged: bool = False

    @property
    def thing(self) -> turns.Thing:
        return self.size, self.seen, self.read


@dataclass
class Record:
    """readings: by address; last: when any was read last; path: where it is kept while it changes, None: nowhere."""

    readings: dict[str, Reading] = field(default_factory=dict)
    last: float = 0
    path: Path | None = None
    _saved: float = 0
    _lock: Lock = field(default_factory=Lock, compare=False)

    def look(self, sizes: Mapping[str, int], now: datetime, *, all_there: bool) -> None:
        """Brings it up to what there is, by address; a size of 0 is not known. all_there: nothing else is."""
        before = self.readings
        found = {url: before.get(url, Reading(max(size, 1), now.timestamp())) for url, size in sizes.items()}
        self.readings = found if all_there else before | found

    def due(self, can: Collection[str], now: datetime) -> list[str]:
        """What of these to read now, the most urgent first."""
        mine = {url: one for url, one in self.readings.items() if url in can}
        damaged = [url for url, one in mine.items() if one.is_damaged]
        whole = {url: one.thing for url, one in mine.items() if not one.is_damaged}
        return [*damaged, *turns.due(whole, self.last, now.timestamp())]

    def note(self, url: str, size: int, now: datetime, *, damaged: bool) -> None:
        """It was read. size: 0 where it is not known."""
        with self._lock:
            before = self.readings[url]
            self.readings[url] = Reading(size or before.size, before.seen, now.timestamp(), damaged)
            self.last = now.timestamp()
            if time.monotonic() - self._saved > SAVE_S:
                self.save()

    def coverage(self, there: Collection[str], now: datetime) -> turns.Coverage:
        """Of what is there."""
        return turns.coverage((self.readings[url].thing for url in there), now)

    def save(self) -> None:
        """Whole or not at all."""
        if self.path:
            readings = {url: asdict(one) for url, one in self.readings.items()}
            replace(self.path, json.dumps({"format": FORMAT, "last": self.last, "readings": readings}), 0o600)
            self._saved = time.monotonic()


@contextmanager
def kept(path: Path) -> Iterator[Record]:
    """The record of a file; what was read is in it, however this ends. Raises InputError when it is none of ours."""
    record = load(path)
    try:
        yield record
    finally:
        record.save()


def load(path: Path) -> Record:
    """Nothing when there is no such file. Raises InputError when it is none of ours."""
    try:
        told = json.loads(path.read_text())
        if told["format"] != FORMAT:
            raise ValueError(f"format {told['format']}")
        readings = {
            str(url): Reading(int(one["size"]), float(one["seen"]), float(one["read"]), bool(one["is_damaged"]))
            for url, one in told["readings"].items()
        }
        return Record(readings, float(told["last"]), path)
    except FileNotFoundError:
        return Record(path=path)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        hint = "move it away: everything is then read anew within 30 days"
        raise InputError(path, "", f"is no record of an audit: {error!r}", hint) from None


def read(url: str, place: Place) -> int:
    """Bytes of all of a repository's objects. Raises GitError, of damage with the kind BROKEN."""
    with place.scratch() as into:
        into.run("fetch", "-q", "--no-write-fetch-head", url, "+refs/*:refs/*", timeout_s=TIMEOUT_S)
        into.run("fsck", "--connectivity-only", "--no-dangling", "--no-progress", timeout_s=TIMEOUT_S)
        return _size(into)


def _size(into: Git) -> int:
    try:
        told = into.run("count-objects", "-v").decode()
    except GitError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in told.splitlines() if line.startswith(("size:", "size-pack:")))
