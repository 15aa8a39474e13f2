"""What the control side does with all data sets of a site: collects ledgers, lists and checks repositories, retains.

The same from the control host and from any admin's laptop; backup/record.py says where the record lies.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from backup import collected, coverage, custody, record
from backup.accepting import removable
from backup.checking import checked, damage
from backup.custody import DataSet
from backup.data_set import DataSet as Looked
from backup.data_set import Plan
from backup.entry import Entry
from backup.pared import in_doubt
from backup.reach import Reach, Unreachable, ledger_lines, of_begun
from backup.remembered import recall
from backup.restic_process import Interrupted, NoRepository, ResticError
from backup.restic_results import Snapshot
from backup.retention import Keep, Retention, retention
from backup.store import COPY, VAULT, Store
from backup.trouble import said
from inventories.errors import InputError
from inventories.inventory import LoadedSite

AT_ONCE = 8
"""Hosts asked, and repositories listed, at the same time."""
Say = Callable[[str], None]
Listed = tuple[Sequence[Snapshot] | None, Sequence[str]]
"""The snapshots of a data set in a store (None: it could not be asked), and the ids of those that cannot be read."""


def wanted(site: LoadedSite, names: Sequence[str]) -> list[DataSet]:
    """The data sets of these names, HOST:PLAN; all of the site if none is given. Raises InputError."""
    if custody.vault_of(site) is None:
        raise InputError(site.path, "hosts", "this site has no vault, so nothing is saved", "see roles/vault/README.md")
    known = {str(data_set): data_set for data_set in custody.data_sets(site.fleet)}
    for name in names:
        if name not in known:
            raise InputError("DATA_SET", name, "no such data set", f"there are: {', '.join(known) or 'none'}")
    return [known[name] for name in names or known]


def collect(way: Reach, data_sets: Sequence[DataSet], say: Say) -> dict[DataSet, str]:
    """Brings the record up to date with what hosts' ledgers have grown by: itself, or by the control host.

    A host that does not answer is told, and is no reason to stop; nor is an answer that cannot be taken in. Returns of
    which data sets it could not, and why.
    """
    if record.is_copy(way.site) and record.fetch(way, say):
        return {}
    folder, anchor = record.folder(way.site), not record.is_copy(way.site)
    failed: dict[DataSet, str] = {}

    def one(data_set: DataSet) -> None:
        host, plan = data_set.host, data_set.plan
        try:
            had = collected.count(folder, host, plan)
            reported = ledger_lines(way, data_set, collected.ask_after(had))
            collected.collect(folder, host, plan, reported, datetime.now(UTC), had=had, anchor=anchor)
        except Unreachable as error:
            say(str(error))
        except Exception as error:
            failed[data_set] = said(error)
            say(f"{data_set}: what its host wrote down cannot be taken in: {said(error)}")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, data_sets))
    return failed


def look(
    way: Reach,
    stores: Mapping[str, Store],
    data_sets: Sequence[DataSet],
    say: Say,
    uncollected: Mapping[DataSet, str] | None = None,
) -> Iterator[Looked]:
    """All that is known of data sets, one after the other; whatever is wrong with one, of the others too.

    stores: those that could be reached, by name. uncollected: as `collect` returned it.
    """
    folder, has_copy = record.folder(way.site), COPY in way.declared()

    def listed(data_set: DataSet) -> dict[str, Listed]:
        return {name: _listed(stores.get(name), data_set, say) for name in (VAULT, COPY)}

    with ThreadPoolExecutor(AT_ONCE) as pool:
        there = list(pool.map(listed, data_sets))
    for data_set, found in zip(data_sets, there, strict=True):
        plan = _plan(data_set)
        try:
            one = looked(folder, plan, found, datetime.now(UTC), has_copy=has_copy)
        except Exception as error:
            say(f"{data_set}: cannot be looked at: {said(error)}")
            one = Looked(plan, (), (), None, None, unseen=said(error))
        yield replace(one, uncollected=(uncollected or {}).get(data_set, ""))


def _plan(data_set: DataSet) -> Plan:
    says = custody.recovery(data_set.plan)
    return Plan(data_set.host, data_set.plan, says.every, says.rpo_hours)


def looked(folder: Path, plan: Plan, listed: Mapping[str, Listed], now: datetime, *, has_copy: bool) -> Looked:
    """A data set by what is remembered of its history; by all of it, where that might tell more."""
    (vault, unreadable), (copy, copy_unreadable) = listed[VAULT], listed[COPY]

    def of(known: collected.Known) -> Looked:
        return Looked(
            plan=plan,
            ledger=known.ledger,
            control=known.control,
            heard=known.heard,
            vault=vault,
            copy=copy,
            has_copy=has_copy,
            unreadable=unreadable,
            copy_unreadable=copy_unreadable,
            disputed=known.disputed,
        )

    found = of(recall(folder, plan.host, plan.name, now))
    return of(collected.known(folder, plan.host, plan.name, whole=True)) if in_doubt(found) else found


def _listed(store: Store | None, data_set: DataSet, say: Say) -> Listed:
    if store is None:
        return None, ()
    try:
        return store.restic(data_set).readable()
    except NoRepository:
        return [], ()
    except Exception as error:
        say(f"{data_set} in {store.words}: {said(error)}")
        return None, ()


def is_to_be_begun(store: Store, data_set: DataSet) -> bool:
    """Whether it is the second copy, and nothing was copied there yet."""
    known = collected.known(record.folder(store.site), data_set.host, data_set.plan)
    return store.name == COPY and coverage.first_held(known.ledger, known.control, COPY) is None


def verify(store: Store, data_set: DataSet, whole: bool, say: Say) -> bool:
    """Reads the parts of a repository that are due (whole: all), and checks its structure; True if all is sound.

    What it finds is written down, and that it failed. Damage names the snapshots and files it hits. Raises ResticError.
    """
    folder = record.folder(store.site)
    known = collected.known(folder, data_set.host, data_set.plan)
    now = datetime.now(UTC)
    since = coverage.first_held(known.ledger, known.control, store.name)
    restic = store.restic(data_set)
    sound = True
    for part in [(1, 1)] if whole else coverage.due(known.control, store.name, since or now, now):
        note = partial(_note_check, store, data_set, datetime.now(UTC), part)
        try:
            found = checked(restic, part)
        except ResticError as error:
            if not (isinstance(error, NoRepository) and is_to_be_begun(store, data_set)):
                note("interrupted" if isinstance(error, Interrupted) else "failed", str(error))
            raise
        sound &= not found.errors
        note("damaged" if found.errors else "ok", "; ".join(found.errors))
        verdict = "sound" if not found.errors else "DAMAGED"
        say(f"{data_set} in {store.words}: part {part[0]} of {part[1]}: {verdict}")
        for line in damage(restic, found):
            say(f"  {line}")
    return sound


def _note_check(
    store: Store, data_set: DataSet, begun: datetime, part: tuple[int, int], outcome: str, error: str
) -> None:
    entry = Entry(
        host=data_set.host,
        plan=data_set.plan,
        kind="check",
        start=begun,
        end=datetime.now(UTC),
        outcome=outcome,
        store=store.name,
        part=part,
        error=error[:1000],
    )
    record.note(store.site, entry)


def accept(site: LoadedSite, data_set: DataSet, ids: Sequence[str], why: str, store: str = "") -> None:
    """Writes down that the admin who runs this vouches for snapshots as they are in a store, or in both."""
    now = datetime.now(UTC)
    entry = Entry(
        host=data_set.host,
        plan=data_set.plan,
        kind="accept",
        start=now,
        end=now,
        outcome="ok",
        store=store,
        ids=tuple(ids),
        who=site.ssh_user,
        why=why,
    )
    record.note(site, entry)


def forget(way: Reach, data_set: DataSet, names: Sequence[str], why: str, say: Say) -> None:
    """Removes named snapshots from all stores; before, it is on the record who did, when and why.

    Raises InputError, Unreachable and ResticError; run again, it goes on.
    """
    with way.repositories(data_set) as found:
        there = of_begun(found, lambda restic: restic.readable()[0])
        meant = removable(str(data_set), names, there)
        accept(way.site, data_set, sorted(meant.recorded), why)
        record.hand_over(way.site, say)
        for words, listed in there.items():
            if ids := meant.listed[words]:
                found[words].forget(ids)
            say(f"{data_set}: {words}: {len(ids)} removed, {len(listed) - len(ids)} left")


def plan_retention(store: Store, data_set: DataSet, max_share: float) -> Retention:
    """Which snapshots of a data set stay and which may go, and what forbids that. Raises ResticError."""
    known = collected.known(record.folder(store.site), data_set.host, data_set.plan, whole=True)
    keep = Keep(**custody.recovery(data_set.plan).keep.model_dump())
    return retention(
        data_set.host,
        data_set.plan,
        keep,
        known.ledger,
        known.control,
        store.restic(data_set).snapshots(),
        datetime.now(UTC),
        store=store.name,
        disputed=known.disputed,
        max_share=max_share,
    )


def retain(store: Store, data_set: DataSet, planned: Retention, say: Say) -> None:
    """Removes what was planned; before, what goes is on the record. Raises ResticError.

    A lock that a killed run of this machine left goes first, and no other's.
    """
    begun = datetime.now(UTC)
    recorded = tuple(one.recorded for one in planned.removals if one.recorded)

    entry = partial(Entry, host=data_set.host, plan=data_set.plan, kind="retain", store=store.name, ids=recorded)

    def note(outcome: str, error: str = "") -> None:
        end = None if outcome == "started" else datetime.now(UTC)
        record.note(store.site, entry(start=begun, end=end, outcome=outcome, error=error))

    note("started")
    record.hand_over(store.site, say)
    restic = store.restic(data_set)
    try:
        restic.unlock()
        if planned.removals:
            restic.forget([one.id for one in planned.removals])
        restic.prune()
    except ResticError as error:
        note("failed", str(error))
        raise
    note("ok")
