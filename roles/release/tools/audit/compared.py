"""Servers that share a name, against each other: a phone that resumes may come to another one. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from roles.release.tools.audit.findings import Finding, Kind, finding
from roles.release.tools.audit.inside import PUBLIC, Disk
from roles.release.tools.audit.outside import Seen
from roles.release.tools.audit.truth import Need, Truth, about

SECOND = 1_000_000_000


def outside(seen: Mapping[str, Mapping[str, Seen]], needs: Mapping[str, Need]) -> Iterator[Finding]:
    """Sizes and ETags of packages; seen: by server and path."""
    for one, other in pairwise(sorted(seen)):
        for path in sorted(seen[one].keys() & seen[other].keys()):
            mine, its = seen[one][path], seen[other][path]
            if mine != its:
                yield finding(other, path, Kind.DISAGREE, _told(its), f"{_told(mine)}, as {one}", about(path, needs))


def inside(disks: Mapping[str, Disk], truth: Truth, needs: Mapping[str, Need]) -> Iterator[Finding]:
    """All files of the archive: there or not, sizes, and times, of which ETags are made."""
    for one, other in pairwise(sorted(disks)):
        mine, its = _files(disks[one], truth), _files(disks[other], truth)
        for path in sorted(mine.keys() | its.keys()):
            if mine.get(path) != its.get(path):
                found, expected = _facts(its.get(path)), f"{_facts(mine.get(path))}, as {one}"
                yield finding(other, path, Kind.DISAGREE, found, expected, about(path, needs))


def unexplained(found: Iterable[Finding], others: Iterable[Finding]) -> Iterator[Finding]:
    """Disagreements that no finding on the same file tells of already, whichever server has it."""
    told = {one.path for one in others if one.kind not in (Kind.UNLISTED, Kind.ORPHANED)}
    return (one for one in found if one.path not in told)


def hashes(read: Mapping[str, Mapping[str, str]], truth: Truth, needs: Mapping[str, Need]) -> Iterator[Finding]:
    """Content that no list vouches for; read: hash by server and path."""
    for one, other in pairwise(sorted(read)):
        for path in sorted(read[one].keys() & read[other].keys()):
            mine, its = read[one][path], read[other][path]
            if mine != its and path.rpartition("/")[2] not in truth.sums:
                yield finding(other, path, Kind.DISAGREE, its, f"{mine}, as {one}", about(path, needs))


def _files(disk: Disk, truth: Truth) -> dict[str, tuple[int, int]]:
    """Size, and time in seconds, by path as they are asked for."""
    found = {}
    for path, file in disk.files.items():
        asked = path.removeprefix(PUBLIC)
        if path.startswith(PUBLIC) and file.type == "file" and about(asked, {})[0] not in truth.retired:
            found[asked] = (file.size, file.mtime // SECOND)
    return found


def _facts(facts: tuple[int, int] | None) -> str:
    return f"{facts[0]:,} bytes of time {facts[1]}" if facts else "nothing"


def _told(one: Seen) -> str:
    return f"{one.length:,} bytes, ETag {one.etag}, Last-Modified {one.modified}"
