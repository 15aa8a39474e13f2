"""`status` of many plans, each with a year of ledgers: how long it takes without asking hosts and the vault.

The year: a backup a day (two lines), a comparison a week, and on the control side a collection, a check and a copy a
day, retention a month in both stores. SNAPSHOTS are there, as between two retentions of 3, 7 daily, 4 weekly and 12
monthly ones. Collecting by SSH and listing by restic cost their own time for each, and are left out.
"""

import json
import shutil
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from backup.control import looked
from backup.data_set import Plan
from backup.entry import Entry, digest, render
from backup.restic_results import Snapshot
from backup.status import as_json, status

DAYS, SNAPSHOTS, RETAINED_EVERY = 365, 60, 30
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
VERSIONS = {"agent": "0123456789ab", "python": "3.13.5", "restic": "0.18.0"}


def year(folder: Path) -> list[Snapshot]:
    """Writes the ledgers of one data set, and returns what the vault lists."""
    ledger: list[bytes] = []
    control: list[bytes] = []
    there: list[tuple[str, datetime]] = []
    for day in range(DAYS):
        start = NOW - timedelta(days=DAYS - day)
        there.append((digest(b"%d" % day), start))
        backup = partial(_entry, "backup", start, versions=VERSIONS)
        _add(ledger, replace(backup(outcome="started"), end=None))
        _add(ledger, backup(snapshot=there[-1][0], files=100_000, bytes=50_000_000_000, bytes_added=100_000_000))
        if day % 7 == 0:
            _add(ledger, _entry("verify", start + timedelta(hours=2), snapshot=there[-1][0], versions=VERSIONS))
        own = partial(_entry, start=start + timedelta(hours=4))
        _add(control, own("collect", upto=len(ledger), head=digest(ledger[-1])))
        _add(control, own("check", store="vault", part=(day % 20 + 1, 20)))
        _add(control, own("copy", store="copy", ids=(there[-1][0],)))
        if day % RETAINED_EVERY == RETAINED_EVERY - 1:
            left = SNAPSHOTS - RETAINED_EVERY // 2
            gone, there = there[:-left], there[-left:]
            for store in ("vault", "copy"):
                ids = tuple(one for one, _ in gone)
                _add(control, replace(own("retain", outcome="started", store=store, ids=ids), end=None))
                _add(control, own("retain", store=store, ids=ids))
    folder.mkdir(parents=True)
    (folder / "data.jsonl").write_bytes(b"\n".join(ledger) + b"\n")
    (folder / "data.control.jsonl").write_bytes(b"\n".join(control) + b"\n")
    (folder / "heard").write_text(NOW.isoformat())
    return [Snapshot(one, start, "host", ("data",), ("/",), "", one, None, None) for one, start in there]


def _entry(kind: str, start: datetime, outcome: str = "ok", **more: Any) -> Entry:
    return Entry(
        host="host", plan="data", kind=kind, start=start, end=start + timedelta(minutes=5), outcome=outcome, **more
    )


def _add(lines: list[bytes], entry: Entry) -> None:
    lines.append(render(replace(entry, seq=len(lines) + 1, after=digest(lines[-1]) if lines else "")))


def measure(work: Path, count: int, rounds: int) -> dict[str, Any]:
    """Seconds of each `status` after the first, which checks everything; and of that."""
    listed = year(work / "host-0")
    for number in range(1, count):
        shutil.copytree(work / "host-0", work / f"host-{number}")
    plans = [Plan(f"host-{number}", "data", "daily", 30) for number in range(count)]

    stores = {"vault": (listed, ()), "copy": (None, ())}

    def once() -> float:
        began = time.perf_counter()
        found = (looked(work, plan, stores, NOW, has_copy=False) for plan in plans)
        told = as_json(status(found, NOW), NOW)
        json.dumps(told)
        seconds = time.perf_counter() - began
        assert told["exit_code"] == 0, told["data_sets"][0]["findings"]
        return seconds

    first = once()
    size = sum(path.stat().st_size for path in (work / "host-0").glob("*.jsonl"))
    lines = sum(path.read_bytes().count(b"\n") for path in (work / "host-0").glob("*.jsonl"))
    worked = time.process_time()
    seconds = [once() for _ in range(rounds)]
    cpu = (time.process_time() - worked) / rounds
    return {"first_s": first, "seconds": seconds, "cpu_s": cpu, "lines": lines, "bytes": size}
