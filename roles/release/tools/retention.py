"""Which packages no phone needs any more. Pure, but for the question when a build was offered last."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from roles.release.archive import SHA256SUM, Offer
from roles.release.tools.layout import CHANGELOG, Named, named
from roles.release.tools.offers import Published
from roles.release.tools.problems import Damaged
from roles.release.tools.repository import Repository

DAY_S = 86400
Ended = Mapping[tuple[str, str], int]
"""When the last channel ceased to offer a build, Unix time, by device and build."""


@dataclass(frozen=True)
class Kept:
    """What stays, whatever else: so many builds of a device, the last offered ones, and all that were offered within so
    many days. A phone that is in the middle of a download does not begin anew when that is gone."""

    builds: int
    days: int


def ended(metadata: Repository, commit: str) -> Ended:
    """By the repository's history up to a commit. Raises RepositoryError."""
    found: dict[tuple[str, str], int] = {}
    when, device = 0, ""
    for line in metadata.changes(commit, "ota"):
        if line.startswith("at "):
            when = int(line[3:])
        elif line.startswith("--- "):
            parts = line[4:].split("/")
            is_line = len(parts) == 4 and parts[3].startswith(f"{parts[2]}-") and not parts[3].endswith(CHANGELOG)
            device = parts[2] if is_line else ""
        elif line.startswith("-") and device:
            try:
                offer = Offer.parse(line[1:])
            except ValueError:
                continue
            found.setdefault((device, offer.build), when)
    return found


def superseded(paths: Iterable[str], offers: Published, over: Ended, now: float, kept: Kept) -> list[str]:
    """Of an archive's paths the packages that may go, with their checksums. One that was never offered, or is no
    package, stays: of it nothing is known."""
    offered = {(device, offer.build) for (device, _), offer in offers.items()}
    there = {path: one for path in paths if (one := _package(path))}
    last = _last({(one.device, one.build) for one in there.values()}, offered, over, kept.builds)
    return sorted(path for path, one in there.items() if _goes(one, offered | last, over, now - kept.days * DAY_S))


def _package(path: str) -> Named | None:
    """Whose file it is: the package's own, or its checksum."""
    try:
        return named(path.removesuffix(SHA256SUM))
    except Damaged:
        return None


def _goes(one: Named, stays: set[tuple[str, str]], over: Ended, since: float) -> bool:
    key = one.device, one.build
    return key not in stays and key in over and over[key] < since


def _last(builds: set[tuple[str, str]], offered: set[tuple[str, str]], over: Ended, count: int) -> set[tuple[str, str]]:
    """Of each device the last offered ones of those that are there."""
    found = set()
    for device in {device for device, _ in builds}:
        mine = [key for key in builds if key[0] == device and (key in offered or key in over)]
        mine.sort(key=lambda key: (key not in offered, -over.get(key, 0), key))
        found |= {*mine[:count]}
    return found
