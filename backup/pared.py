"""The lines of a data set's history that the rules of `status` still need, of a year's perhaps a twentieth. Pure.

Left out is what can change nothing any more: the start of a run, what ran in vain, a backup that retention removed from
every store, a check of a part that was checked again, the hours between. By what is left the same is told, unless a
store lists what no line that is left tells of: `in_doubt`.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from operator import attrgetter
from typing import Any

from backup.coverage import as_of
from backup.data_set import DataSet
from backup.entry import Entry
from backup.expected import accepted_ids, collections_of, compared, dated, has_found, last_compared, settled_ids


def pare(ledger: Sequence[Entry], control: Sequence[Entry], now: datetime) -> tuple[list[Entry], list[Entry]]:
    """Of a host's and the control side's entries, the ones that are still needed. Once pared they can grow again.

    All of them, if the control side's clock went back between two collections: nothing can be dated by them then.
    """
    if _went_back(control):
        return list(ledger), list(control)
    left, proofs = _of_the_host(ledger, control, now)
    return left, _of_control(control, left, proofs, now)


def in_doubt(one: DataSet) -> bool:
    """Whether what was left out might explain what is found, or date it."""
    if _went_back(one.control):
        return True
    recorded = {entry.snapshot for entry in one.ledger if entry.kind == "backup" and entry.snapshot}
    for listed in (one.vault, one.copy):
        there = {snapshot.id if snapshot.id in recorded else snapshot.original for snapshot in listed or ()}
        if len(there) < len(listed or ()) or there - recorded:
            return True
        if listed is not None and listed is one.vault:
            settled = settled_ids(one.control, "retain", "vault") | accepted_ids(one.control, "vault")
            if recorded - settled - there:
                return True
    return False


def _went_back(control: Sequence[Entry]) -> bool:
    return any(after.start < before.start for before, after in pairwise(collections_of(control)))


def _removed_everywhere(control: Sequence[Entry]) -> set[str]:
    copied = settled_ids(control, "copy", "copy")
    return settled_ids(control, "retain", "vault") - (copied - settled_ids(control, "retain", "copy"))


def _of_the_host(ledger: Sequence[Entry], control: Sequence[Entry], now: datetime) -> tuple[list[Entry], list[Entry]]:
    """The lines that are needed, and the collections that prove the times of some of them wrong."""
    removed, collections = _removed_everywhere(control), collections_of(control)
    numbers = [entry.upto for entry in collections]
    runs = [entry for entry in ledger if entry.kind == "backup"]
    saved = [entry for entry in runs if entry.snapshot]
    done = compared(ledger)
    needed = [*runs[:1], *runs[-2:], *done[-1:], *list(filter(has_found, done))[-1:]]
    needed += [entry for entry in saved if entry.snapshot not in removed]
    lines = dated(ledger, control, now)
    needed += _earliest(saved)
    if same := last_compared(lines):
        needed.append(same.entry)
    # What was not collected yet can still be proved wrong.
    needed += [entry for entry in ledger if entry.seq > max(numbers, default=0)]
    needed_numbers = {entry.seq for entry in needed}
    needed += [one.begun for one in lines if one.begun and one.entry.seq in needed_numbers]
    proofs: list[Entry] = []
    trusted: list[Entry] = []
    for one in lines:
        if not one.wrong:
            trusted = _last_written([*trusted, one.entry])
        elif one.entry.seq in needed_numbers:
            first = bisect_left(numbers, one.entry.seq)
            needed += trusted
            proofs += collections[max(first - 1, 0) : first + 1]
    return _in_order(needed + trusted), proofs


def _of_control(
    control: Sequence[Entry], ledger: Sequence[Entry], proofs: Sequence[Entry], now: datetime
) -> list[Entry]:
    ids = {entry.snapshot for entry in ledger}
    needed = list(proofs)
    newest: dict[Any, Entry] = {}
    copied = False
    for entry in control:
        if entry.kind in ("retain", "copy") and entry.ids:
            entry = replace(entry, ids=tuple(one for one in entry.ids if one in ids))
        first_copy = not copied and (entry.kind, entry.store) == ("copy", "copy")
        copied |= first_copy
        if entry.start > now or entry.ids or first_copy:
            needed.append(entry)
        key = (entry.kind, entry.store, entry.outcome, entry.part)
        if entry.start <= now and (key not in newest or as_of(entry) >= as_of(newest[key])):
            newest[key] = entry
    return _in_order([*needed, *newest.values()])


def _in_order(needed: Iterable[Entry]) -> list[Entry]:
    by_number = {entry.seq: entry for entry in needed}
    return [by_number[number] for number in sorted(by_number)]


def _earliest(entries: Sequence[Entry]) -> list[Entry]:
    return [min(entries, key=attrgetter("start"))] if entries else []


def _last_written(entries: Sequence[Entry]) -> list[Entry]:
    return [max(entries, key=attrgetter("written"))]
