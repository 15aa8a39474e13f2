"""Which snapshots an admin may vouch for as they are, or remove, and which are meant by what was typed. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from backup.data_set import DataSet, Kind
from backup.expected import compare, content
from backup.restic_results import Snapshot
from inventories.errors import InputError


def amiss(one: DataSet, now: datetime) -> dict[str, Kind]:
    """The snapshots that are not as they should be, by the ids that status and retention tell, each with what it is."""
    found: dict[str, Kind] = {}
    for store, listed in (("copy", one.copy), ("vault", one.vault)):
        if listed is not None:
            seen = compare(one.ledger, one.control, listed, now, store)
            found |= dict.fromkeys((entry.snapshot for entry in seen.gone), Kind.GONE)
            found |= {odd.id: Kind.FUTURE if odd.future else Kind.BACK_DATED for odd in seen.odd}
    return found


def where(one: DataSet, ids: Sequence[str], now: datetime) -> dict[str, list[str]]:
    """By the store that they are gone from, the snapshots to vouch for; "": those that are no more, and those that are
    there. What is left of one elsewhere may be the last, and must stay."""
    gone: dict[str, set[str]] = {}
    for store, listed in (("copy", one.copy), ("vault", one.vault)):
        if listed is not None:
            seen = compare(one.ledger, one.control, listed, now, store)
            gone[store] = {entry.snapshot for entry in seen.gone}
    found: dict[str, list[str]] = {}
    for identity in ids:
        stores = [store for store, those in gone.items() if identity in those]
        found.setdefault(stores[0] if len(stores) == 1 and one.has_copy else "", []).append(identity)
    return found


def meant(data_set: str, given: Sequence[str], found: Mapping[str, Kind]) -> list[str]:
    """The whole ids of those that were named, each by at least its first eight digits. Raises InputError."""
    ids = []
    for name in given:
        fitting = [one for one in found if one.startswith(name)]
        if len(name) < 8 or len(fitting) != 1:
            problem = "is less than eight digits" if len(name) < 8 else "nothing is amiss with such a snapshot"
            if len(name) >= 8 and fitting:
                problem = f"may be each of {', '.join(fitting)}"
            known = ", ".join(f"{one[:8]} ({kind.word})" for one, kind in found.items())
            raise InputError(data_set, name, problem, f"there are: {known}" if known else "all are as they should be")
        ids += fitting
    return list(dict.fromkeys(ids))


@dataclass(frozen=True)
class Removal:
    """Snapshots to remove: by what people call the stores, the ids that they list them by; and as ledgers know them."""

    listed: dict[str, list[str]]
    recorded: set[str]


def removable(data_set: str, given: Sequence[str], there: Mapping[str, Sequence[Snapshot]]) -> Removal:
    """What was named by the id that a store lists or by the one that it was copied from, and its copies.

    A snapshot may say that it was copied from another one and be something else, as an intruder makes it: neither is
    removed with the other. Raises InputError, also when a store would be left with none.
    """
    listed = [one for store in there.values() for one in store]
    by_id = {one.id: one for one in listed}

    def lies(one: Snapshot) -> bool:
        claimed = by_id.get(one.original)
        return claimed is not None and content(claimed) != content(one)

    meant: set[tuple[object, ...]] = set()
    for name in given:
        named = [one for one in listed if one.id.startswith(name) or (one.original.startswith(name) and not lies(one))]
        fitting = {_identity(one) for one in named}
        if len(name) < 8 or len(fitting) != 1:
            problem = f"may be each of {', '.join(sorted({one.id for one in named}))}" if named else "no such snapshot"
            hint = f"`mainstay backup restic {data_set} snapshots` lists them"
            raise InputError(data_set, name, "is less than eight digits" if len(name) < 8 else problem, hint)
        meant |= fitting
    for words, store in there.items():
        if store and all(_identity(one) in meant for one in store):
            hint = "a good one first: mainstay backup run, then copy"
            raise InputError(data_set, " ".join(given), f"these are all that {words} has", hint)
    return Removal(
        {words: [one.id for one in store if _identity(one) in meant] for words, store in there.items()},
        {one.id if lies(one) else one.original for one in listed if _identity(one) in meant},
    )


def _identity(one: Snapshot) -> tuple[object, ...]:
    """What a snapshot and its copies have in common."""
    return one.original, content(one)
