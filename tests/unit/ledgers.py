"""Entries as the tests need them: a host's and the control side's, at hours counted from one moment."""

from datetime import UTC, datetime, timedelta
from typing import Any

from backup.entry import Entry
from backup.restic_results import Snapshot

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


def at(number: float) -> datetime:
    """That many hours after (or before) noon."""
    return NOON + hours(number)


def identity(number: float) -> str:
    """The snapshot id of the backup that began at that hour."""
    return f"{int(number * 60) % (1 << 64):064x}"


def entry(hour: float, *, took: float | None = 0.1, **more: Any) -> Entry:
    """A good backup that began at that hour; took=None: it has not ended."""
    start = at(hour)
    standard: dict[str, Any] = {
        "host": "release-1",
        "plan": "release",
        "kind": "backup",
        "start": start,
        "end": None if took is None else start + hours(took),
        "outcome": "ok",
        "snapshot": identity(hour),
        "files": 100,
        "bytes": 1_000_000,
    }
    return Entry(**(standard | more))


def started(hour: float) -> Entry:
    return entry(hour, took=None, outcome="started", snapshot="", files=0, bytes=0)


def failed(hour: float, outcome: str = "failed", error: str = "the vault does not answer") -> Entry:
    return entry(hour, outcome=outcome, snapshot="", files=0, bytes=0, error=error)


def control(hour: float, kind: str, **more: Any) -> Entry:
    """What the control side did at that hour, on the vault."""
    known: dict[str, Any] = {"kind": kind, "snapshot": "", "files": 0, "bytes": 0, "store": "vault"}
    return entry(hour, **(known | more))


def snapshot(hour: float, **more: Any) -> Snapshot:
    """What the repository lists of the backup that began at that hour."""
    known: dict[str, Any] = {
        "id": identity(hour),
        "time": at(hour),
        "host": "release-1",
        "tags": ("release",),
        "paths": ("/",),
        "tree": "",
        "files": 100,
        "bytes": 1_000_000,
    } | more
    return Snapshot(**({"original": known["id"]} | known))
