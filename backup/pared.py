"""The lines of a data set's history that the rules of `status` still need, of a year's perhaps a tenth. Pure.

Left out is what can change nothing any more: a start that its end follows, a backup that retention removed from every
store, a check of a part that was checked again, the hours between. Judged by what is left a data set is silent only if
it is by all of it, and is told the same, but for two things that need all lines, `in_doubt`: snapshots that are gone,
and ones whose date cannot be true.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from operator import attrgetter
from typing import Any

from backup.data_set import DataSet
from backup.expected import compare, settled_ids
from backup.ledger import Entry


def pare(ledger: Sequence[Entry], control: Sequence[Entry], now: datetime) -> tuple[list[Entry], list[Entry]]:
    """Of a host's and the control side's entries, the ones that are still needed. Once pared they can grow again."""
    left = _of_the_host(ledger, _removed_everywhere(control))
    return left, _of_control(control, left, now)


def in_doubt(one: DataSet, now: datetime) -> bool:
    """Whether what was left out might explain what is found."""
    stores = (("vault", one.vault), ("copy", one.copy))
    compared = [compare(one.ledger, one.control, listed, now, store) for store, listed in stores if listed is not None]
    return any(found.gone or found.odd for found in compared)


def _removed_everywhere(control: Sequence[Entry]) -> set[str]:
    copied = {one for entry in control if entry.kind == "copy" for one in entry.ids}
    return settled_ids(control, "retain", "vault") - (copied - settled_ids(control, "retain", "copy"))


def _of_the_host(ledger: Sequence[Entry], removed: set[str]) -> list[Entry]:
    if not ledger:
        return []
    runs = [entry for entry in ledger if entry.kind == "backup"]
    saved = [entry for entry in runs if entry.snapshot]
    compared = [entry for entry in ledger if entry.kind == "verify" and entry.outcome != "interrupted"]
    needed = [ledger[-1], max(ledger, key=attrgetter("written")), *runs[:1], *runs[-3:], *compared[-2:]]
    needed += [entry for entry in saved if entry.snapshot not in removed]
    needed += [entry for entry in reversed(saved) if entry.outcome == "ok"][:1]
    needed += _earliest(saved) + _latest(entry for entry in compared if entry.outcome == "ok")
    for entry, after in pairwise(runs):
        if entry.outcome == "started" and not after.snapshot:
            needed += [entry, after]
    return _in_order(needed)


def _of_control(control: Sequence[Entry], ledger: Sequence[Entry], now: datetime) -> list[Entry]:
    ids = {entry.snapshot for entry in ledger if entry.snapshot}
    collections = [entry for entry in control if entry.kind == "collect"]
    needed = collections[-1:] + _latest(collections)
    numbers = [entry.upto for entry in collections]
    for entry in ledger:
        first = bisect_left(numbers, entry.seq)
        needed += collections[max(first - 1, 0) : first + 1]
    for store in ("vault", "copy"):
        needed += [entry for entry in control if (entry.kind, entry.store) == ("copy", store)][:1]
    newest: dict[Any, Entry] = {}
    for entry in control:
        if entry.kind in ("retain", "copy"):
            entry = replace(entry, ids=tuple(one for one in entry.ids if one in ids))
        if entry.start > now or entry.ids:
            needed.append(entry)
        key = (entry.kind, entry.store, entry.outcome, entry.part)
        if entry.kind != "retain" or key not in newest or entry.start > newest[key].start:
            newest[key] = entry
    return _in_order([*needed, *newest.values()])


def _in_order(needed: Iterable[Entry]) -> list[Entry]:
    by_number = {entry.seq: entry for entry in needed}
    return [by_number[number] for number in sorted(by_number)]


def _earliest(entries: Sequence[Entry]) -> list[Entry]:
    return [min(entries, key=attrgetter("start"))] if entries else []


def _latest(entries: Iterable[Entry]) -> list[Entry]:
    found = list(entries)
    return [max(found, key=attrgetter("start"))] if found else []
