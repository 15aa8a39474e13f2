"""What was found to be right before, so that a look at a data set parses only what was added since.

HOST/PLAN.known.json holds, of the collected ledger and of the control side's own, how many bytes were checked, their
hash, and the entries that rules still need (backup/pared.py). At each look the hash is taken anew, so a byte that was
changed anywhere sends the look through everything, line by line, as does whatever else does not fit. The file can be
removed at any time. Whoever decides what is removed (`retain`) does not go by it.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from backup.collected import Known, heard, known, not_as_anchored, path_of
from backup.entry import Entry
from backup.ledger import LedgerError, chain, content
from backup.pared import pare
from inventories.files import replace

FORMAT = 5
"""Of the file, and of what is pared: another one is not read."""
ANEW_AFTER = 20
"""Lines that have come since, from which on the file is written anew."""
UNSETTLED = (".rejected", ".pending", ".other", ".control.other")
"""Files that are not there when all is well (backup/collected.py): beside one of them nothing is remembered."""
DEFAULTS = {one.name: one.default for one in fields(Entry) if one.name not in ("host", "plan", "after", "versions")}
"""What is kept of an entry, where it is not this; no rule needs the rest."""


@dataclass(frozen=True)
class Part:
    """Of one ledger: the first bytes, as they were checked, and which of their entries are needed."""

    size: int
    digest: str
    entries: list[Entry]


NOTHING = Part(0, hashlib.sha256().hexdigest(), [])


def recall(folder: Path, host: str, plan: str, now: datetime) -> Known:
    """As `known(whole=True)` of backup/collected.py, without the entries that no rule needs."""
    paths = (path_of(folder, host, plan), path_of(folder, host, plan, ".control"))
    memory = path_of(folder, host, plan, ".known").with_suffix(".json")
    if any(path_of(folder, host, plan, kind).exists() for kind in UNSETTLED):
        return known(folder, host, plan, whole=True)
    there = [content(path) for path in paths]
    before = _load(memory, host, plan)
    if not all(map(_fits, before, there)):
        before = [NOTHING, NOTHING]
    try:
        fresh = [_grown(*one) for one in zip(paths, there, before, strict=True)]
    except LedgerError:
        return known(folder, host, plan, whole=True)
    collections = [entry for entry in fresh[1] if entry.kind == "collect"]
    if collections and not_as_anchored(paths[0], there[0].split(b"\n")[:-1], collections):
        return known(folder, host, plan, whole=True)
    ledger, control = (part.entries + grown for part, grown in zip(before, fresh, strict=True))
    if sum(map(len, fresh)) > ANEW_AFTER:
        ledger, control = pare(ledger, control, now)
        parts = [Part(len(all_), _digest(all_), left) for all_, left in zip(there, (ledger, control), strict=True)]
        with suppress(OSError):  # what is not remembered is read again
            replace(memory, _render(parts), 0o600)
    return Known(ledger, control, heard(folder, host), "")


def _fits(part: Part, there: bytes) -> bool:
    return len(there) >= part.size and _digest(memoryview(there)[: part.size]) == part.digest


def _grown(path: Path, there: bytes, before: Part) -> list[Entry]:
    """The entries beyond the checked part. Raises LedgerError."""
    if len(there) == before.size:
        return []
    last = there[there.rfind(b"\n", 0, max(before.size - 1, 0)) + 1 : max(before.size - 1, 0)]
    return chain(path, there[before.size : -1].split(b"\n"), last)


def _digest(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()


def _render(parts: Sequence[Part]) -> str:
    """The hash of the rest, and the rest: one line each."""
    rest = json.dumps([FORMAT, *([one.size, one.digest, [_row(entry) for entry in one.entries]] for one in parts)])
    return f"{_digest(rest.encode())}\n{rest}\n"


def _load(memory: Path, host: str, plan: str) -> list[Part]:
    """What was written; nothing if there is none, or it is damaged or of another version."""
    try:
        digest, rest = memory.read_text().splitlines()
    except (FileNotFoundError, ValueError):
        return [NOTHING, NOTHING]
    if _digest(rest.encode()) != digest:
        return [NOTHING, NOTHING]
    form, *parts = json.loads(rest)
    if form != FORMAT:
        return [NOTHING, NOTHING]
    return [Part(size, digest, _entries(host, plan, rows)) for size, digest, rows in parts]


def _row(entry: Entry) -> dict[str, Any]:
    row = {name: value for name, default in DEFAULTS.items() if (value := getattr(entry, name)) != default}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


def _entries(host: str, plan: str, rows: Sequence[dict[str, Any]]) -> list[Entry]:
    """The entries of rows. Their fields are set at once: one by one, as a frozen class does, takes long."""
    rest: dict[str, Any] = {**DEFAULTS, "host": host, "plan": plan, "after": "", "versions": {}}
    found = []
    for row in rows:
        for name in ("start", "end"):
            if name in row:
                row[name] = datetime.fromisoformat(row[name])
        if "unread" in row:
            row["unread"] = tuple((path, why) for path, why in row["unread"])
        for name in ("ids", "part"):
            if name in row:
                row[name] = tuple(row[name])
        entry = object.__new__(Entry)
        entry.__dict__.update(rest)
        entry.__dict__.update(row)
        found.append(entry)
    return found
