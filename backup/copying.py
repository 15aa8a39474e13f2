"""Copies between the vault and the second copy: there every six hours, and back when the vault was lost."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

from backup import collected, record
from backup.collected import Known
from backup.custody import DataSet
from backup.entry import Entry
from backup.expected import compare, settled_ids
from backup.restic_process import NoRepository, ResticError
from backup.restic_results import Snapshot
from backup.sizes import counted
from backup.store import COPY, Store

Say = Callable[[str], None]


class Refused(Exception):
    """What is there forbids to copy over it; says what to do."""


def to_copy(vault: Store, copy: Store, data_set: DataSet, tell: Say) -> str:
    """Brings the complete good backups that the second copy lacks there; returns what was done, in words.

    tell: hears of each that is begun. Raises ResticError when any could not be copied, after the others were;
    Unreachable when either store is gone.
    """
    known = collected.known(record.folder(vault.site), data_set.host, data_set.plan, whole=True)
    held = vault.restic(data_set).readable()[0]
    there = _listed(copy, data_set)
    wanted = missing(known, held, there or [], datetime.now(UTC))
    if wanted and there is None:
        tell("making the repository")
        copy.restic(data_set).init(chunks_like=vault.repository(data_set))
    return _copy(vault, copy, data_set, wanted, _unwritten(known, there or []), tell)


def missing(known: Known, vault: Sequence[Snapshot], copy: Sequence[Snapshot], now: datetime) -> dict[str, Snapshot]:
    """By the ledger's ids, what of the vault is to be copied, the newest first: it would be missed most.

    Only complete backups whose dates can be true, and none that retention has taken out of the second copy.
    """
    held = compare(known.ledger, known.control, vault, now)
    odd = {one.id for one in held.odd}
    done = compare(known.ledger, known.control, copy, now, COPY).there.keys()
    settled = done | settled_ids(known.control, "retain", COPY) | odd
    return {
        one.entry.snapshot: held.there[one.entry.snapshot]
        for one in reversed(held.good())
        if one.entry.snapshot not in settled
    }


def to_vault(copy: Store, vault: Store, data_set: DataSet, tell: Say) -> str:
    """Fills the data set's repository in a new vault with all that the second copy has; returns what was done.

    Raises Refused when the vault holds what the second copy does not, ResticError as `to_copy`.
    """
    source = copy.restic(data_set).readable()[0]
    there = _listed(vault, data_set)
    originals = {one.original for one in there or []}
    copied = {one.original for one in source}
    if strange := [one for one in there or [] if one.original not in copied]:
        raise Refused(
            f"the vault holds {counted(len(strange), 'snapshot')} that the second copy lacks, the newest of "
            f"{strange[-1].time:%Y-%m-%d %H:%M} UTC: it is not a new one, and was left as it is. "
            f"To keep what it holds, first: mainstay backup copy {data_set}"
        )
    wanted = {one.original: one for one in reversed(source) if one.original not in originals}
    if wanted and there is None:
        tell("making the repository")
        vault.restic(data_set).init(chunks_like=copy.repository(data_set))
    return _copy(copy, vault, data_set, wanted, (), tell)


def _listed(store: Store, data_set: DataSet) -> list[Snapshot] | None:
    """None: there is no repository yet."""
    try:
        return store.restic(data_set).readable()[0]
    except NoRepository:
        return None


def _unwritten(known: Known, copy: Sequence[Snapshot]) -> tuple[str, ...]:
    """What a run that was killed had copied."""
    there = compare(known.ledger, known.control, copy, datetime.now(UTC), COPY).there
    return tuple(there.keys() - settled_ids(known.control, "copy", COPY))


def _copy(
    source: Store, target: Store, data_set: DataSet, wanted: dict[str, Snapshot], before: Sequence[str], tell: Say
) -> str:
    """One by one, so that what is done stays done when it is broken off; written down before and after.

    before: what was copied already and not yet written down. A snapshot that fails keeps none of the others back.
    """
    if not wanted and not before:
        return "nothing to copy"
    begun = datetime.now(UTC)
    entry = partial(Entry, host=data_set.host, plan=data_set.plan, kind="copy", store=target.name, start=begun)
    record.note(target.site, entry(outcome="started"))
    restic = target.restic(data_set)
    done: list[str] = []
    failed: list[ResticError] = []
    try:
        for number, (recorded, snapshot) in enumerate(wanted.items(), 1):
            tell(f"{number} of {len(wanted)}: {recorded[:8]} of {snapshot.time:%Y-%m-%d %H:%M} UTC")
            try:
                restic.copy(source.repository(data_set), [snapshot.id])
            except ResticError as error:
                failed.append(error)
                source.greet()
                target.greet()
            else:
                done.append(recorded)
    finally:
        outcome = "failed" if failed else "ok" if len(done) == len(wanted) else "interrupted"
        words = "; ".join(dict.fromkeys(map(str, failed)))[:1000]
        end = datetime.now(UTC)
        record.note(target.site, entry(outcome=outcome, end=end, ids=(*before, *done), error=words))
    if failed:
        raise failed[0]
    return f"{len(done)} of {counted(len(wanted), 'snapshot')} copied"
