"""The snapshots that must exist, by the ledgers, against those that a repository lists.

Hosts may lie about time, by a wrong clock or on purpose. What holds is the order of their ledger's lines and when the
control side first had them (its `collect` entries): a line was written between two collections.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate, zip_longest

from backup.entry import Entry
from backup.restic_results import Snapshot

SKEW = timedelta(minutes=10)
"""How far clocks may be apart."""
NEVER = datetime.max.replace(tzinfo=UTC)
COULD_NOT = ("restic ", "http://", "https://", "[Errno ")
"""How the error of a comparison begins that could not be done: restic's, the vault's, the host's (backup/agent)."""


@dataclass(frozen=True)
class Dated:
    """A line of a ledger. time: its start, or what it can have been if it says otherwise."""

    entry: Entry
    time: datetime
    wrong: str
    """Why its times cannot be true; empty if they can."""
    future: bool
    """It claims to be later than it can be (else: earlier)."""
    begun: Entry | None = None
    """The line that was written at its start, where only by that it can have begun so early."""


@dataclass(frozen=True)
class Odd:
    """A snapshot, listed or recorded, whose date cannot be true."""

    id: str
    why: str
    future: bool


@dataclass(frozen=True)
class Comparison:
    """What of the ledger is there, what is not, and what is there besides. Snapshots go by the ledger's ids."""

    there: dict[str, Snapshot]
    """By the id in the ledger, what is listed: that very snapshot, or what was copied from it."""
    backups: tuple[Dated, ...]
    """All backups with a snapshot, in the ledger's order."""
    gone: tuple[Entry, ...]
    """Those of them that the store must have had, that are not listed, and that retention did not remove nor an admin
    vouch for."""
    odd: tuple[Odd, ...]
    """Back-dated, from the future, or in no ledger."""
    unfinished: tuple[Snapshot, ...]
    """Listed, made by a run that was killed before it could write its end."""
    pending: tuple[Snapshot, ...]
    """Listed, and so new that its line may not have been collected."""
    doubles: dict[str, str]
    """Listed besides the very same, as when two copies ran at once: by its id, the ledger's."""

    def good(self) -> list[Dated]:
        """The complete backups that are there, oldest first."""
        there = [one for one in self.backups if one.entry.outcome == "ok" and one.entry.snapshot in self.there]
        return sorted(there, key=lambda one: one.time)


def compare(
    ledger: Sequence[Entry],
    control: Sequence[Entry],
    listed: Sequence[Snapshot],
    now: datetime,
    store: str = "vault",
    lines: Sequence[Dated] | None = None,
) -> Comparison:
    """Holds a data set's ledger and what the control side did to a store against what that store lists.

    In the second copy only what was copied there must be; what the vault thinned out before never comes there. lines:
    the ledger as `dated` has it, if that is known.
    """
    removed = settled_ids(control, "retain", store)
    copied = settled_ids(control, "copy", store) if store == "copy" else set()
    if store == "copy":
        removed |= settled_ids(control, "retain", "vault") - copied
    vouched = accepted_ids(control, store)
    lines = dated(ledger, control, now) if lines is None else lines
    backups = backups_of(lines)
    by_id = {one.id: one for one in listed}
    by_original = {one.original: one for one in reversed(listed)}
    there: dict[str, Snapshot] = {}
    for one in backups:
        if found := by_id.get(one.entry.snapshot) or by_original.get(one.entry.snapshot):
            there[one.entry.snapshot] = found
    kept = tuple(one for one in backups if one.entry.snapshot not in removed)
    accounted = there.keys() | vouched
    had = [one.entry for one in kept if store != "copy" or one.entry.snapshot in copied]
    gone = [entry for entry in had if entry.snapshot not in accounted]
    odd = [
        Odd(one.entry.snapshot, one.wrong, one.future)
        for one in kept
        if one.wrong and one.entry.snapshot not in vouched
    ]
    told = {one.id for one in odd}
    dates = there.keys() - told - vouched
    odd += [
        different
        for one in kept
        if one.entry.snapshot in dates and (different := _another_date(one.entry, there[one.entry.snapshot]))
    ]
    known = {one.id for one in there.values()}
    unfinished, pending, doubles = [], [], {}
    of_a_killed_run = _in_killed_runs(lines)
    # Elsewhere who says that his snapshot was copied from another made that up.
    are_copies = holds_copies(control, store)
    collected = max((one.written for one in (*ledger[-1:], *collections_of(control)[-1:])), default=None)
    for snapshot in listed:
        if snapshot.id in known:
            continue
        if (first := there.get(snapshot.original)) and content(snapshot) == content(first):
            doubles[snapshot.id] = snapshot.original
        elif snapshot.id in vouched or (are_copies and snapshot.original in vouched):
            continue
        elif snapshot.time > now + SKEW:
            odd.append(Odd(snapshot.id, f"is dated {_said(snapshot.time)}, which is yet to come", True))
        elif of_a_killed_run(snapshot.time):
            unfinished.append(snapshot)
        elif collected is None or snapshot.time > collected - SKEW:
            pending.append(snapshot)
        else:
            odd.append(Odd(snapshot.id, f"is dated {_said(snapshot.time)}, and no ledger knows of it", False))
    return Comparison(there, tuple(backups), tuple(gone), tuple(odd), tuple(unfinished), tuple(pending), doubles)


def backups_of(lines: Sequence[Dated]) -> list[Dated]:
    """The backups with a snapshot."""
    return [one for one in lines if one.entry.kind == "backup" and one.entry.snapshot]


def dated(ledger: Sequence[Entry], control: Sequence[Entry], now: datetime) -> list[Dated]:
    """All lines, each with the time that it can have been begun at.

    A backup that began before what was written before its end has a line of its start, the last of such lines, and none
    that came to an end already.
    """
    collections = collections_of(control)
    numbers = [one.upto for one in collections]
    found = []
    earliest: datetime | None = None
    running: Entry | None = None
    for entry in ledger:
        first = bisect_left(numbers, entry.seq)
        latest = collections[first].start if first < len(collections) else now
        if first and (earliest is None or collections[first - 1].start > earliest):
            earliest = collections[first - 1].start
        wrong, future, time = "", False, entry.start
        is_end = entry.kind == "backup" and entry.outcome != "started"
        begun = running if is_end and running and running.start == entry.start else None
        is_early = is_end and earliest is not None and entry.start < earliest - SKEW
        if max(entry.start, entry.written) > latest + SKEW:
            wrong, future, time = f"claims {_said(entry.written)}, but was there by {_said(latest)}", True, latest
        elif earliest and entry.written < earliest - SKEW:
            wrong, time = f"claims {_said(entry.written)}, but was written after {_said(earliest)}", earliest
        elif earliest and is_early and not begun:
            wrong, time = f"claims to have begun {_said(entry.start)}, but did so after {_said(earliest)}", earliest
        elif earliest is None or entry.written > earliest:
            earliest = entry.written
        found.append(Dated(entry, time, wrong, future, begun if is_early else None))
        if begun:
            running = None
        elif entry.kind == "backup" and not is_end:
            running = None if wrong and not future else entry
    return found


def last_compared(lines: Sequence[Dated]) -> Dated | None:
    """The last comparison of the source with its snapshot that found them the same; None: there was none."""
    same = [one for one in lines if (one.entry.kind, one.entry.outcome) == ("verify", "ok")]
    return max(same, key=lambda one: one.time, default=None)


def compared(ledger: Sequence[Entry]) -> list[Entry]:
    """The comparisons of the source with its snapshot that were not interrupted."""
    return [one for one in ledger if one.kind == "verify" and one.outcome != "interrupted"]


def has_found(comparison: Entry) -> bool:
    """Whether it came to an end: that the vault does not answer says nothing of the source."""
    return comparison.outcome != "failed" or not comparison.error.startswith(COULD_NOT)


def settled_ids(control: Sequence[Entry], kind: str, store: str = "") -> set[str]:
    """The snapshots that entries of a kind name, of one store or of all. A started removal may have removed already."""
    return {one for entry in control if entry.kind == kind and store in ("", entry.store) for one in entry.ids}


def accepted_ids(control: Sequence[Entry], store: str) -> set[str]:
    """The snapshots that an admin vouched for as they are in a store, or in all."""
    return {one for entry in control if entry.kind == "accept" and entry.store in ("", store) for one in entry.ids}


def holds_copies(control: Sequence[Entry], store: str) -> bool:
    """Whether anything was ever copied to a store: then a snapshot there may be a copy, with an id of its own."""
    return any((one.kind, one.store) == ("copy", store) for one in control)


def collections_of(control: Sequence[Entry]) -> list[Entry]:
    """When the control side first had which of the host's lines."""
    return [entry for entry in control if entry.kind == "collect"]


def content(snapshot: Snapshot) -> tuple[object, ...]:
    """What a copy has of what it was made from."""
    return snapshot.time, snapshot.host, snapshot.paths, snapshot.tree


def _another_date(entry: Entry, snapshot: Snapshot) -> Odd | None:
    early = snapshot.time < entry.start - SKEW
    if not early and snapshot.time <= entry.written + SKEW:
        return None
    why = f"is dated {_said(snapshot.time)}, but its backup ran from {_said(entry.start)} to {_said(entry.written)}"
    return Odd(entry.snapshot, why, not early)


def _in_killed_runs(lines: Sequence[Dated]) -> Callable[[datetime], bool]:
    """Whether a time is after a start that was followed by no end with a snapshot, and before what came next."""
    runs = [one for one in lines if one.entry.kind == "backup"]
    killed = sorted(
        (one.entry.start - SKEW, after.entry.written + SKEW if after else NEVER)
        for one, after in zip_longest(runs, runs[1:])
        if one.entry.outcome == "started" and not one.wrong and not (after and after.entry.snapshot)
    )
    starts = [start for start, _ in killed]
    latest = list(accumulate((end for _, end in killed), max))

    def of_one(time: datetime) -> bool:
        begun = bisect_right(starts, time)
        return begun > 0 and time <= latest[begun - 1]

    return of_one


def _said(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M}"
