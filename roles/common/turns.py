"""Whose turn it is to be read, so that every byte is read within 30 days. Pure, of the standard library only: it also
goes to hosts, as a part of programs there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

WITHIN = timedelta(days=30)
"""The promise."""
PARTS = 20
"""Read is such a part of all bytes for each day since the last time: of 30 days ten may be missed."""

Thing = tuple[int, float, float]
"""Its bytes; when it was first seen and when last read, in Unix seconds, 0: never."""


@dataclass(frozen=True)
class Coverage:
    """bytes, of: read within 30 days, and in all; oldest: since when what waits longest is unread."""

    bytes: int
    of: int
    oldest: datetime | None
    overdue: bool

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.bytes / self.of if self.of else 1.0


def due(things: Mapping[str, Thing], last: float, now: float) -> list[str]:
    """What to read now: what is new, then what waits longest. last: when something was read before, 0: never."""
    order = sorted(things, key=lambda name: (things[name][2], -things[name][1], name))
    days = max(1, -(-(now - (last or now)) // 86400))
    room = sum(size for size, _, _ in things.values()) / PARTS * min(days, PARTS)
    chosen = []
    for name in order:
        if room <= 0:
            break
        chosen.append(name)
        room -= max(things[name][0], 1)
    return chosen


def coverage(things: Iterable[Thing], now: datetime) -> Coverage:
    """How much of all was read."""
    known = [*things]
    oldest = min((read or seen for _, seen, read in known), default=None)
    since = datetime.fromtimestamp(oldest, UTC) if oldest is not None else None
    done = sum(size for size, _, read in known if read > (now - WITHIN).timestamp())
    return Coverage(done, sum(size for size, _, _ in known), since, bool(since and now - since > WITHIN))
