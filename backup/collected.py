"""What the control side knows, in its folder: the hosts' ledgers as collected, its own, when each host last answered.

HOST/PLAN.jsonl            collected: the host's lines as they are
HOST/PLAN.control.jsonl    what the control side did to the data set, and when it collected up to which line
HOST/PLAN.known.json       what of both was found to be right before, see backup/remembered.py
HOST/PLAN.rejected.jsonl   what the host reported and was not believed, each with when and why
HOST/heard                 when the host last answered

A laptop has the same, as the control host has it, and two more kinds of file:

HOST/PLAN.pending.jsonl    what this laptop did to the data set, until it is in what comes from the control host
HOST/PLAN.other.jsonl, HOST/PLAN.control.other.jsonl    what the control host has that contradicts what it had before
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import datetime
from pathlib import Path

from backup.entry import Entry, digest, parse
from backup.ledger import LedgerError, append, check, lines, merge, read
from inventories.files import replace

REJECTED_AT_MOST = 1_000_000
"""Bytes of unbelieved reports that are kept of a plan: a host must not fill the control side's disk."""


@dataclass(frozen=True)
class Known:
    """What has been collected of a data set."""

    ledger: list[Entry]
    control: list[Entry]
    heard: datetime | None
    disputed: str
    """Why something that the host reported was not believed; until PLAN.rejected.jsonl is moved away."""


def count(folder: Path, host: str, plan: str) -> int:
    """How many lines of the host's have been collected."""
    return len(lines(path_of(folder, host, plan)))


def ask_after(had: int) -> int:
    """What to ask the host for: `backup.pyz ledger PLAN --after` this. Its first line proves that history is there."""
    return max(0, had - 1)


def collect(
    folder: Path,
    host: str,
    plan: str,
    reported: Sequence[bytes],
    now: datetime,
    *,
    had: int | None = None,
    anchor: bool = True,
) -> str:
    """Takes in what a host answered. Returns why it is not believed, or "".

    had: how many lines had been collected when it was asked; None: as many as now.
    anchor: that it was collected is written down, for folders that are the record.
    What is not believed is kept apart, and leaves what was collected as it is.
    """
    copy = path_of(folder, host, plan)
    replace(folder / host / "heard", f"{now.isoformat()}\n", 0o600)
    try:
        merge(copy, reported, host, plan, had)
    except LedgerError as error:
        _reject(path_of(folder, host, plan, ".rejected"), reported, str(error), now)
        return str(error)
    own = path_of(folder, host, plan, ".control")
    there = lines(copy)
    if anchor and len(there) > _anchored(own):
        append(own, _collected(host, plan, len(there), digest(there[-1]), now))
    return ""


def note(folder: Path, entry: Entry) -> Entry:
    """Writes down what the control side did to a data set."""
    return append(path_of(folder, entry.host, entry.plan, ".control"), entry)


def note_once(folder: Path, entry: Entry) -> None:
    """Writes down what another machine did, unless that is there already."""
    if not has(read(path_of(folder, entry.host, entry.plan, ".control")), entry):
        note(folder, entry)


def has(entries: Iterable[Entry], entry: Entry) -> bool:
    """Whether it is among them, wherever in its ledger it stands."""
    return any(one.start == entry.start and changed(one, seq=entry.seq, after=entry.after) == entry for one in entries)


def lacking(there: Sequence[Entry], entries: Iterable[Entry]) -> list[Entry]:
    """Those that are not there, each once."""
    found: list[Entry] = []
    for entry in entries:
        if not has(there, entry) and not has(found, entry):
            found.append(entry)
    return found


def postpone(folder: Path, entry: Entry) -> None:
    """Keeps what this machine did until the control host's record has it; `known` tells it meanwhile."""
    append(path_of(folder, entry.host, entry.plan, ".pending"), entry)


def postponed(folder: Path) -> list[tuple[Path, list[Entry]]]:
    """What is kept for the control host, by file."""
    return [(path, read(path)) for path in sorted(folder.glob("*/*.pending.jsonl"))]


def bring(folder: Path, apart: Path) -> None:
    """Keeps here what is kept there for the control host. Broken off, it can be given again."""
    for path, entries in postponed(apart):
        for entry in lacking(read(folder / path.relative_to(apart)), entries):
            postpone(folder, entry)


def drop_noted(folder: Path, host: str, plan: str) -> None:
    """Of what is kept for the control host, takes away what the record has. Nobody may postpone meanwhile."""
    path, fresh = (path_of(folder, host, plan, f".pending{end}") for end in ("", ".new"))
    waiting = read(path)
    try:
        left = lacking(read(path_of(folder, host, plan, ".control")), waiting)
    except LedgerError:  # a look tells it
        return
    if not left:
        path.unlink(missing_ok=True)
    elif len(left) < len(waiting):
        fresh.unlink(missing_ok=True)
        for entry in left:
            append(fresh, entry)
        fresh.replace(path)


def whole_lines(folder: Path, host: str, plan: str, kind: str = "") -> bytes:
    """What is there of a ledger: the host's as collected, or the control side's own (kind ".control")."""
    return b"".join(line + b"\n" for line in lines(path_of(folder, host, plan, kind)))


def contradiction(folder: Path, host: str, plan: str, kind: str) -> str:
    """What people are told of two versions of a record."""
    mine, other = (path_of(folder, host, plan, f"{kind}{end}") for end in ("", ".other"))
    return (
        f"{host}:{plan}: what the control host has ({other}) does not continue what it had before ({mine}): one of them"
        f" was rewritten, or the control host is new or was made again: see roles/control/README.md"
    )


def known(folder: Path, host: str, plan: str, *, whole: bool = False) -> Known:
    """All that is known of a data set. whole: both chains are checked, and the one against the other.

    A record of the control side's own that is damaged is told as a dispute, and read as far as it can be believed.
    """
    disputes = []
    rejected = path_of(folder, host, plan, ".rejected")
    if last := lines(rejected):
        disputes.append(_why(last[-1]))
    parts: list[list[Entry]] = []
    for path in (path_of(folder, host, plan), path_of(folder, host, plan, ".control")):
        try:
            parts.append(check(path) if whole else read(path))
        except LedgerError as error:
            disputes.append(str(error))
            parts.append(_as_far_as_good(path, error.line))
    for kind in ("", ".control"):
        if path_of(folder, host, plan, f"{kind}.other").exists():
            disputes.append(contradiction(folder, host, plan, kind))
    if whole:
        copy = path_of(folder, host, plan)
        disputes += not_as_anchored(copy, lines(copy), parts[1])
    ledger, control = parts
    waiting = lacking(control, read(path_of(folder, host, plan, ".pending")))
    return Known(ledger, [*control, *waiting], heard(folder, host), "; ".join(disputes))


def _why(rejected: bytes) -> str:
    """Why a report was not believed."""
    try:
        return str(json.loads(rejected)["why"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return "the host reported what was not believed, and what that was cannot be read"


def not_as_anchored(copy: Path, there: Sequence[bytes], control: Sequence[Entry]) -> list[str]:
    """Of the lines collected, the first that the control side's own ledger knows otherwise; none if all is well."""
    for entry in control:
        if entry.kind == "collect" and (entry.upto > len(there) or digest(there[entry.upto - 1]) != entry.head):
            return [f"{copy}: line {entry.upto}: is not what was collected {entry.start:%Y-%m-%d %H:%M}"]
    return []


def _as_far_as_good(path: Path, broken: int) -> list[Entry]:
    return [parse(line) for line in lines(path)[: broken - 1]]


def _anchored(own: Path) -> int:
    """Up to which line it is written down that it was collected. What is damaged is passed over: a look tells it."""
    for line in reversed(lines(own)):
        with suppress(ValueError):
            if (entry := parse(line)).kind == "collect":
                return entry.upto
    return 0


def _collected(host: str, plan: str, upto: int, head: str, now: datetime) -> Entry:
    return Entry(host=host, plan=plan, kind="collect", start=now, end=now, outcome="ok", upto=upto, head=head)


def _reject(path: Path, reported: Sequence[bytes], why: str, now: datetime) -> None:
    """Keeps an unbelieved report, once however often it comes, and its first lines if it is large."""
    shown = [line[:10_000].decode("utf-8", "backslashreplace") for line in reported[:20]]
    before = path.read_text() if path.exists() else ""
    for line in before.splitlines():
        if (old := json.loads(line))["why"] == why and old["lines"] == shown:
            return
    record = json.dumps({"time": now.isoformat(), "why": why, "count": len(reported), "lines": shown}, sort_keys=True)
    if len(before) + len(record) < REJECTED_AT_MOST or not before:
        replace(path, f"{before}{record}\n", 0o600)


def heard(folder: Path, host: str) -> datetime | None:
    """When the host last answered; None: never."""
    try:
        return datetime.fromisoformat((folder / host / "heard").read_text().strip())
    except FileNotFoundError:
        return None


def path_of(folder: Path, host: str, plan: str, kind: str = "") -> Path:
    """Where a data set's ledger lies, or another of its records."""
    return folder / host / f"{plan}{kind}.jsonl"
