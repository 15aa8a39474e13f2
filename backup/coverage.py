"""Which packs of a repository have been read back, and which part to read next so that each is within 30 days.

`restic check --read-data-subset=n/t` reads the packs whose id begins with a byte b for which b % t == n - 1 (restic
0.16 to 0.19; tests/e2e/test_coverage.py). So 256 classes, one a first byte, tell exactly what any sequence of parts has
read, with whatever t, and also for packs that came later: a pack is read when its class is next read.

Entries go by their times, not by their order: what a laptop did apart is written down days later.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backup.entry import Entry

Part = tuple[int, int]
"""n of t, n from 1."""

CLASSES = 256
WITHIN = timedelta(days=30)
"""The promise: no pack goes longer than this without being read."""
PARTS = 20
"""Into how many parts a repository is divided: one a day leaves ten days that may be missed."""
EVERY = timedelta(days=1)
"""How often a part is read."""


@dataclass(frozen=True)
class Coverage:
    """How much of a repository has been read back."""

    since: datetime
    """Since when it has had data."""
    share: float
    """Of all classes of packs, how many were read within 30 days, from 0 to 1."""
    oldest: datetime
    """Since when the one that waits longest is unread."""
    part: Part
    """The part of PARTS that it is in."""
    overdue: bool
    """It has waited longer than 30 days."""
    damaged: tuple[Part, ...]
    """Parts whose newest reading found damage."""
    damage: str
    """As `damage` says it."""


def coverage(done: Sequence[Entry], store: str, since: datetime, now: datetime) -> Coverage:
    """What the control side's entries prove about a store ("vault", "copy") that has had data since then."""
    checks = _checks(done, store, now)
    reads, damaged = _newest(checks)
    ages = [read or since for read in reads]
    oldest = min(ages)
    return Coverage(
        since=since,
        share=sum(read is not None and now - read <= WITHIN for read in reads) / CLASSES,
        oldest=oldest,
        part=(ages.index(oldest) % PARTS + 1, PARTS),
        overdue=now - oldest > WITHIN,
        damaged=damaged,
        damage=_damage(checks, damaged),
    )


def due(done: Sequence[Entry], store: str, since: datetime, now: datetime, parts: int = PARTS) -> list[Part]:
    """The parts to read now, the most urgent first: one, and more after missed days or where damage was found.

    Called once a day, it has every class read within 30 days of its last reading, if no more than 30 - 1 - `parts` days
    in a row are missed and the repository can be read at all.
    """
    if not 1 <= parts <= min(CLASSES, WITHIN // EVERY - 1):
        raise ValueError(f"{parts} parts, one a day, do not fit into {WITHIN.days} days")
    reads, damaged = _newest(_checks(done, store, now))
    waiting = []
    for n in range(1, parts + 1):
        read = [reads[one] for one in classes((n, parts))]
        waiting.append((min(one or since for one in read), all(read), n))
    waiting.sort()
    ages = [age for age, _, _ in waiting]
    count = next(count for count in range(1, parts + 1) if _enough(count, ages, now))
    if count == 1 and now - ages[0] > (parts + 1) * EVERY:
        count = min(2, parts)
    urgent = [(n, parts) for _, _, n in waiting[:count]]
    return [*urgent, *(part for part in damaged if part not in urgent)]


def damage(done: Sequence[Entry], store: str, now: datetime) -> str:
    """The damage that checks found in a store and that no later check of the same found mended, in words; or empty."""
    checks = _checks(done, store, now)
    return _damage(checks, _newest(checks)[1])


def _damage(checks: Sequence[Entry], parts: Sequence[Part]) -> str:
    if parts:
        error = next(one.error for one in checks if one.part in parts)
        said = "damage was found in part " + ", ".join("{}/{}".format(*part) for part in parts)
    elif checks and checks[0].outcome == "damaged":
        error, said = checks[0].error, "damage was found in the structure"
    else:
        return ""
    return f"{said}: {error}" if error else said


def first_held(backups: Iterable[Entry], done: Sequence[Entry], store: str) -> datetime | None:
    """Since when a store has had a data set's packs; None: it has none yet."""
    copied = [one for one in done if one.kind == "copy" and one.store == store]
    if store == "copy":
        return copied[0].start if copied else None
    return max(copied, key=as_of).start if copied else first_good(backups)


def of_this_repository(done: Sequence[Entry], store: str, now: datetime) -> Sequence[Entry]:
    """What was begun since the repository was made. A vault that was filled from the second copy is another one, of
    whose packs nothing is proved by what was read before."""
    filled = [as_of(one) for one in done if (one.kind, one.store) == ("copy", "vault") and one.start <= now]
    if store != "vault" or not filled:
        return done
    return [one for one in done if one.start >= max(filled)]


def as_of(entry: Entry) -> datetime:
    """The moment that what is told of a store holds for: its begin, as what came later may not have been seen; for
    damage, which may have been there until then, and for copies, which are whole only then, its end."""
    return entry.written if entry.outcome == "damaged" or entry.kind == "copy" else entry.start


def first_good(backups: Iterable[Entry]) -> datetime | None:
    """Since when a data set has had packs, by its host's entries; None: there is no backup yet."""
    return min((one.start for one in backups if one.kind == "backup" and one.snapshot), default=None)


def _enough(count: int, ages: Sequence[datetime], now: datetime) -> bool:
    """Whether reading that many a day, in this order, is in time for each, a day to spare; what is late is read now."""
    return all(index < count or now + (index // count + 1) * EVERY <= age + WITHIN for index, age in enumerate(ages))


def _newest(checks: Iterable[Entry]) -> tuple[list[datetime | None], tuple[Part, ...]]:
    """When each class was last read, and the parts in which the newest reading of a class found damage.

    checks: as `_checks` has them. A reading counts from its start: what came during it may not have been read.
    """
    reads: list[datetime | None] = [None] * CLASSES
    damaged: list[Part] = []
    left = CLASSES
    for entry in checks:
        if entry.part is None:
            continue
        fresh = [one for one in classes(entry.part) if reads[one] is None]
        for one in fresh:
            reads[one] = entry.start
        if fresh and entry.outcome == "damaged":
            damaged.append(entry.part)
        left -= len(fresh)
        if not left:
            break
    return reads, tuple(damaged)


def _checks(done: Sequence[Entry], store: str, now: datetime) -> list[Entry]:
    """The checks of a store that ended, the newest first. One from the future proves nothing."""
    checks = [
        one
        for one in of_this_repository(done, store, now)
        if one.kind == "check" and one.store == store and one.outcome in ("ok", "damaged") and one.start <= now
    ]
    return sorted(checks, key=as_of)[::-1]


def classes(part: Part) -> range:
    """Those that a part reads."""
    n, t = part
    return range(n - 1, CLASSES, t)
