"""What the control side knows, in its folder: the hosts' ledgers as collected, its own, when each host last answered.

HOST/PLAN.jsonl            collected: the host's lines as they are
HOST/PLAN.control.jsonl    what the control side did to the data set, and when it collected up to which line
HOST/PLAN.known.json       what of both was found to be right before, see backup/remembered.py
HOST/PLAN.rejected.jsonl   what the host reported and was not believed, each with when and why
HOST/heard                 when the host last answered
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from backup.ledger import Entry, LedgerError, append, check, digest, lines, merge, parse, read
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


def ask_after(folder: Path, host: str, plan: str) -> int:
    """What to ask the host for: `backup.pyz ledger PLAN --after` this. Its first line proves that history is there."""
    return max(0, len(lines(path_of(folder, host, plan))) - 1)


def collect(folder: Path, host: str, plan: str, reported: Sequence[bytes], now: datetime) -> str:
    """Takes in what a host answered. Returns why it is not believed, or "".

    What is not believed is kept apart, and leaves what was collected as it is.
    """
    copy = path_of(folder, host, plan)
    replace(folder / host / "heard", f"{now.isoformat()}\n", 0o600)
    try:
        merge(copy, reported, host, plan)
    except LedgerError as error:
        _reject(path_of(folder, host, plan, ".rejected"), reported, str(error), now)
        return str(error)
    own = path_of(folder, host, plan, ".control")
    there = lines(copy)
    anchored = max((entry.upto for entry in read(own)), default=0)
    if len(there) > anchored:
        append(own, _collected(host, plan, len(there), digest(there[-1]), now))
    return ""


def note(folder: Path, entry: Entry) -> Entry:
    """Writes down what the control side did to a data set."""
    return append(path_of(folder, entry.host, entry.plan, ".control"), entry)


def known(folder: Path, host: str, plan: str, *, whole: bool = False) -> Known:
    """All that is known of a data set. whole: both chains are checked, and the one against the other.

    A record of the control side's own that is damaged is told as a dispute, and read as far as it can be believed.
    """
    disputes = []
    rejected = path_of(folder, host, plan, ".rejected")
    if last := lines(rejected):
        disputes.append(json.loads(last[-1])["why"])
    parts: list[list[Entry]] = []
    for path in (path_of(folder, host, plan), path_of(folder, host, plan, ".control")):
        try:
            parts.append(check(path) if whole else read(path))
        except LedgerError as error:
            disputes.append(str(error))
            parts.append(_as_far_as_good(path, error.line))
    if whole:
        copy = path_of(folder, host, plan)
        disputes += not_as_anchored(copy, lines(copy), parts[1])
    ledger, control = parts
    return Known(ledger, control, heard(folder, host), "; ".join(disputes))


def not_as_anchored(copy: Path, there: Sequence[bytes], control: Sequence[Entry]) -> list[str]:
    """Of the lines collected, the first that the control side's own ledger knows otherwise; none if all is well."""
    for entry in control:
        if entry.kind == "collect" and (entry.upto > len(there) or digest(there[entry.upto - 1]) != entry.head):
            return [f"{copy}: line {entry.upto}: is not what was collected {entry.start:%Y-%m-%d %H:%M}"]
    return []


def _as_far_as_good(path: Path, broken: int) -> list[Entry]:
    return [parse(line) for line in lines(path)[: broken - 1]]


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
