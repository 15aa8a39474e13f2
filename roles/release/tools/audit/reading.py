"""What has been read of each server, byte by byte, and what is due: everything within 30 days.

Kept in a file beside the site's record. A file counts as read for as long as it is known as it was then: size, time
and inode. What was written since comes first.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from backup.reach import state
from inventories.errors import InputError
from inventories.files import replace
from inventories.inventory import LoadedSite
from roles.common import turns
from roles.common.turns import Coverage
from roles.release.tools.audit.findings import Finding, Kind, finding
from roles.release.tools.audit.inside import File
from roles.release.tools.audit.truth import Need, Truth, about

FORMAT = 1

Known = tuple[int, int, int]
"""Size, time in nanoseconds, inode."""


@dataclass(frozen=True)
class Reading:
    """Of a file: when it was first seen, when last read and what its SHA-256 was. Times in Unix seconds, 0: never."""

    known: Known
    seen: float
    read: float = 0
    sha256: str = ""


Readings = dict[str, Reading]


@dataclass
class Record:
    """servers: readings by server and path; last: when each server was last read from, in Unix seconds."""

    servers: dict[str, Readings]
    last: dict[str, float]

    def look(self, server: str, files: Mapping[str, File], told: Readings, now: datetime) -> None:
        """Brings it up to what is there now; what is gone or was written anew is no longer read. told: what the
        server's own timer has read."""
        before = self.servers.get(server, {})
        after = {}
        for path, file in files.items():
            known = (file.size, file.mtime, file.inode)
            same = [one[path] for one in (before, told) if path in one and one[path].known == known]
            after[path] = max(same, key=lambda one: one.read, default=Reading(known, now.timestamp()))
        self.servers[server] = after

    def due(self, server: str, now: datetime) -> list[str]:
        """What to read now, the most urgent first."""
        things = {path: (one.known[0], one.seen, one.read) for path, one in self.servers[server].items()}
        return turns.due(things, self.last.get(server, 0), now.timestamp())

    def note(self, server: str, path: str, known: Known, sha256: str, now: datetime) -> None:
        """A file was read."""
        before = self.servers[server].get(path)
        seen = before.seen if before else now.timestamp()
        self.servers[server][path] = Reading(known, seen, now.timestamp(), sha256)
        self.last[server] = now.timestamp()

    def coverage(self, server: str, now: datetime) -> Coverage | None:
        """None: nothing is known of it."""
        if server not in self.servers:
            return None
        readings = self.servers[server].values()
        return turns.coverage(((one.known[0], one.seen, one.read) for one in readings), now)

    def hashes(self) -> dict[str, dict[str, str]]:
        """Of what was read and is still as it was, by server and path."""
        return {
            server: {path: one.sha256 for path, one in readings.items() if one.sha256}
            for server, readings in self.servers.items()
        }


def wrong_content(
    server: str, hashes: Mapping[str, str], beside: Mapping[str, str], truth: Truth, needs: Mapping[str, Need]
) -> Iterator[Finding]:
    """Files whose bytes are not those on record, or not those that the checksum beside them says."""
    for path, found in hashes.items():
        whose = about(path, needs)
        if whose[0] in truth.retired:
            continue
        listed = truth.sums.get(path.rpartition("/")[2])
        if listed and listed != found:
            yield finding(server, path, Kind.DIFFERING, f"SHA-256 {found}", f"{listed}, as on record", whose)
        elif not listed and path in beside and beside[path] != found:
            yield finding(server, path, Kind.DIFFERING, f"SHA-256 {found}", f"{beside[path]}, as beside it", whose)


def place(site: LoadedSite) -> Path:
    """The file, on this machine; of a lab's it goes with the lab."""
    return state(site).with_name(f"{site.name}.audit.json")


def readings(told: Mapping[str, Any]) -> Readings:
    """As they are written. Raises ValueError, KeyError and TypeError."""
    found = {}
    for path, one in told.items():
        size, mtime, inode = one["known"]
        known = (int(size), int(mtime), int(inode))
        found[path] = Reading(known, float(one["seen"]), float(one["read"]), str(one["sha256"]))
    return found


def load(path: Path) -> Record:
    """Nothing when there is no such file. Raises InputError when it is none of ours."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return Record({}, {})
    try:
        told = json.loads(text)
        if told["format"] != FORMAT:
            raise ValueError(f"format {told['format']}")
        servers = {server: readings(one) for server, one in told["servers"].items()}
        return Record(servers, {server: float(when) for server, when in told["last"].items()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        hint = "move it away: everything is then read anew within 30 days"
        raise InputError(path, "", f"is no record of an audit: {error!r}", hint) from None


def save(path: Path, record: Record) -> None:
    """Whole or not at all."""
    servers = {
        server: {path: asdict(one) for path, one in readings.items()} for server, readings in record.servers.items()
    }
    replace(path, json.dumps({"format": FORMAT, "last": record.last, "servers": servers}), 0o600)
