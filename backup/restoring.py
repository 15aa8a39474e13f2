"""What to restore, and from where: the newest complete backup by the ledger; the vault, or else the second copy."""

import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from backup import collected, custody, record
from backup.agent import restoring as agent
from backup.agent.attempt import Refused
from backup.agent.refs import RefsError
from backup.collected import Known
from backup.custody import DataSet
from backup.expected import backups_of, content, dated
from backup.reach import Reach, Unreachable
from backup.restic_process import NoRepository, ResticError
from backup.restic_results import Progress, Snapshot
from backup.sizes import be, counted
from backup.store import WORDS, Store
from backup.trouble import said
from inventories.errors import InputError

Say = Callable[[str], None]
NEWER_NAMED = 3


class NotRestored(Exception):
    """No store could give back what was asked for; what was wrong with each was told before."""


@dataclass(frozen=True)
class Choice:
    """A snapshot of a store. behind: how many complete backups are newer, by the ledger."""

    snapshot: Snapshot
    behind: int = 0


@dataclass(frozen=True)
class Wish:
    """What is to be restored: paths as in the snapshot (none: all), of one snapshot ("": the newest), into a folder."""

    data_set: DataSet
    target: Path
    snapshot: str = ""
    include: tuple[str, ...] = ()
    store: str = ""
    """The only one that is asked; "": all, the vault first."""


@dataclass(frozen=True)
class Done:
    """What was restored, in words. source: the snapshot, and where it was."""

    what: str
    source: str

    def __str__(self) -> str:
        return f"{self.what}, {self.source}"


def restore(way: Reach, wish: Wish, say: Say, progress: Callable[[Progress], None]) -> Done:
    """Restores. say: hears why it is not the vault's newest, if so.

    Raises NotRestored, Refused, RefsError; Unreachable when no store could be reached at all.
    """
    known = collected.known(record.folder(way.site), wish.data_set.host, wish.data_set.plan, whole=True)
    order = by_ledger(known, datetime.now(UTC))
    if not order and not wish.snapshot:
        say("no complete backup is in a ledger here: taking the newest that is listed")
    later: list[tuple[Store, Choice]] = []
    silent = 0
    stores = [wish.store] if wish.store else way.declared()
    with ExitStack() as stack:
        for name in stores:
            try:
                store = stack.enter_context(way.store(name))
                listed, _ = store.restic(wish.data_set).readable()
                choice = choose(listed, order, wish.snapshot)
                if choice is None:
                    raise NotRestored(f"lacks {wish.snapshot or 'any complete backup'}")
                if not wish.snapshot and (newer := unknown(known, listed)):
                    say(_newer(newer))
                if choice.behind:
                    say(f"{store.words} lacks the newest complete backup, {order[0][:8]}")
                    later.append((store, choice))
                else:
                    return _put(store, wish, choice, say, progress)
            except NoRepository:
                say(f"{WORDS[name]} has no repository of {wish.data_set}")
            except (Unreachable, InputError, NotRestored, ResticError) as error:
                say(f"{WORDS[name]}: {error}")
                silent += isinstance(error, Unreachable)
            except (Refused, RefsError):
                raise
            except Exception as error:  # a store that is past all understanding is no reason not to ask the other
                say(f"{WORDS[name]}: {said(error)}")
        for store, choice in sorted(later, key=lambda one: one[1].behind):
            try:
                return _put(store, wish, choice, say, progress)
            except ResticError as error:
                say(f"{store.words}: {error}")
    if silent == len(stores):
        raise Unreachable(f"{wish.data_set} could not be restored: nothing that holds it answers")
    raise NotRestored(f"{wish.data_set} could not be restored: what was tried is above")


def by_ledger(known: Known, now: datetime) -> list[str]:
    """The ids of complete backups, the newest first; those with dates that cannot be true after all others."""
    good = [one for one in backups_of(dated(known.ledger, known.control, now)) if one.entry.outcome == "ok"]
    good.sort(key=lambda one: (not one.wrong, one.time, one.entry.seq), reverse=True)
    return [one.entry.snapshot for one in good]


def choose(listed: Sequence[Snapshot], order: Sequence[str], asked: str) -> Choice | None:
    """The snapshot to restore, of those that a store lists (oldest first); None: it has no such.

    asked: the start of an id, also of the one that it was copied from. Raises Refused when several begin so, but for
    one that was copied twice.
    """
    if asked:
        found = [one for one in listed if one.id.startswith(asked) or one.original.startswith(asked)]
        itself = [one for one in found if one.id.startswith(asked) and one.id == one.original]
        if len({one.original for one in found}) > 1 or len(set(map(content, itself or found))) > 1:
            raise Refused(f"{len(found)} snapshots are {asked}: give more of one's own id")
        return Choice((itself or found)[0]) if found else None
    if not order:
        return Choice(listed[-1]) if listed else None
    contents: dict[str, set[object]] = {}
    for one in listed:
        contents.setdefault(one.original, set()).add(content(one))
    # Of two that say they are copies of the same and differ, one was made up.
    there = {one.original: one for one in listed if len(contents[one.original]) == 1}
    there |= {one.id: one for one in listed}
    return next((Choice(there[one], behind) for behind, one in enumerate(order) if one in there), None)


def unknown(known: Known, listed: Sequence[Snapshot]) -> list[Snapshot]:
    """What is listed and newer than all that the ledger knows here, which is of when the host last answered."""
    ids = {one.snapshot for one in known.ledger if one.snapshot}
    times = [one.time for one in listed if ids & {one.id, one.original}]
    if not times:
        return []
    return [one for one in listed if not ids & {one.id, one.original} and one.time > max(times)]


def _newer(found: Sequence[Snapshot]) -> str:
    names = ", ".join(f"{one.id[:8]} of {one.time:%Y-%m-%d %H:%M} UTC" for one in found[-NEWER_NAMED:])
    many = f"{counted(len(found), 'newer snapshot')} {be(found)}"
    return f"{many} in no ledger here, and may not be complete; --snapshot takes one: {names}"


def _put(store: Store, wish: Wish, choice: Choice, say: Say, progress: Callable[[Progress], None]) -> Done:
    snapshot = choice.snapshot
    name = f"snapshot {snapshot.original[:8]} of {snapshot.time:%Y-%m-%d %H:%M} UTC from {store.words}"
    say(f"restoring {name}")
    with_refs = custody.recovery(wish.data_set.plan).consistency == "refs"
    try:
        summary, notes = agent.put(
            store.restic(wish.data_set), snapshot.id, wish.target, wish.include, with_refs, progress
        )
    except (ResticError, RefsError):
        _empty(wish.target)
        raise
    for note in notes:
        say(note)
    held = counted(summary.get("files_restored", 0), "file or folder", "files and folders")
    return Done(f"{wish.target} holds {held} of {wish.data_set}", name)


def _empty(folder: Path) -> None:
    """Of what a restore that failed left in it: it was empty before."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
