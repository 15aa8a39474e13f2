"""What a drill restores: which snapshot, from where, and how much of it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from backup import collected, control, custody, record
from backup.agent import ref_manifest, refs
from backup.custody import DataSet
from backup.drills.checks import Drill, share
from backup.expected import SKEW
from backup.reach import Reach
from backup.restic import Restic
from backup.restic_compare import literally
from backup.restic_process import ResticError
from backup.restic_results import File, Snapshot
from backup.restoring import Choice, by_ledger, choose
from backup.rules import COPIED_WITHIN
from backup.store import COPY, WORDS
from inventories.errors import InputError

SMALL = 1024
"""Bytes of a file that may be read to decide what is needed."""
SILENT_S = 30
"""So often, while restic says nothing, the store is asked whether it is there."""
AT_ONCE = 5000
"""Paths in one call of restic: Linux takes 2 MiB of arguments (execve(2))."""
MANIFESTS = (refs.MANIFEST, ref_manifest.FILE)
Say = Callable[[str], None]


class NothingToRestore(Exception):
    """The snapshot that should be there is not; says which, and where."""


@dataclass(frozen=True)
class Chosen:
    """A snapshot, with what of it is restored."""

    store: str
    snapshot: Snapshot
    behind: int
    """How many complete backups are newer, by the ledger."""
    should_be: str
    """The id of the newest complete backup by the ledger; "" where the ledger knows of none."""
    saved: tuple[File, ...]
    wanted: tuple[File, ...]
    part: int
    parts: int
    newest_saved: datetime | None
    """The newest change that the newest snapshot lists."""
    budget: timedelta
    """How old it may be."""

    @property
    def is_whole(self) -> bool:
        return len(self.wanted) == len(self.saved)

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.wanted)

    @property
    def named(self) -> tuple[str, ...]:
        """The paths that a restore of a part is told: of folders the empty ones alone, as one is all that is in it."""
        full = _folders(file.path for file in self.saved)
        return tuple(file.path for file in self.wanted if file.type != "dir" or file.path not in full)


@dataclass(frozen=True)
class Asked:
    """What the admin asked for. snapshot: the start of an id; turn: how many drills there were before."""

    data_set: DataSet
    store: str
    snapshot: str = ""
    full: bool = False
    fallback: bool = False
    """Whether an older backup will do where the newest is not there."""
    turn: int = 0


@contextmanager
def chosen(way: Reach, asked: Asked, drill: Drill, say: Say) -> Iterator[Chosen]:
    """Looks into the store, while it can be reached.

    Raises NothingToRestore; Unreachable, ResticError and InputError as the store does.
    """
    if asked.store == COPY and COPY not in way.declared():
        raise InputError(way.site.path, "backup.copy", "this site has no second copy", "see roles/vault/README.md")
    data_set, now = asked.data_set, datetime.now(UTC)
    control.collect(way, [data_set], say)
    known = collected.known(record.folder(way.site), data_set.host, data_set.plan, whole=True)
    order = by_ledger(known, now)
    with way.store(asked.store) as store:
        restic = replace(store.restic(data_set), idle=_patience(store.greet))
        try:
            listed, unreadable = restic.readable()
            if unreadable:
                say(f"{WORDS[asked.store]}: {len(unreadable)} snapshots cannot be read")
            choice, saved = _read(restic, listed, order, asked, say, store.greet)
            found = _chosen(restic, asked, drill, choice, saved, listed)
        except ResticError:
            store.greet()  # one that does not answer any more says nothing of the backup
            raise
        if choice.snapshot.time > now + SKEW:
            raise NothingToRestore(
                f"snapshot {choice.snapshot.id[:8]} is of {choice.snapshot.time:%Y-%m-%d %H:%M} UTC, which is yet to "
                "come: a clock is wrong, here or on the host"
            )
        yield replace(found, should_be=order[0] if order else "")


def _patience(greet: Callable[[], None]) -> Callable[[], None]:
    """For each second in which restic says nothing: it would try a store that is gone for a quarter of an hour."""
    silent = count(1)

    def idle() -> None:
        if next(silent) % SILENT_S == 0:
            greet()

    return idle


def _read(
    restic: Restic,
    listed: Sequence[Snapshot],
    order: Sequence[str],
    asked: Asked,
    say: Say,
    greet: Callable[[], None],
) -> tuple[Choice, tuple[File, ...]]:
    """The snapshot to restore, and what it lists. Where an older one will do, the newest that can be read.

    Raises NothingToRestore; what greet does when the store does not answer any more.
    """
    there = list(listed)
    while True:
        choice = choose(there, order, asked.snapshot)
        if choice is None:
            raise NothingToRestore(f"{WORDS[asked.store]} holds no complete backup of {asked.data_set}")
        if choice.behind and asked.store != COPY and not asked.fallback:
            raise NothingToRestore(
                f"{WORDS[asked.store]} lacks the newest complete backup, {order[0][:8]}: --fallback takes an older one"
            )
        try:
            return choice, tuple(restic.files(choice.snapshot.id))
        except ResticError as error:
            greet()
            problem = f"snapshot {choice.snapshot.original[:8]} in {WORDS[asked.store]} cannot be read: {error}"
            if asked.snapshot or not asked.fallback:
                raise NothingToRestore(problem) from None
            say(problem)
            there.remove(choice.snapshot)


def _chosen(
    restic: Restic, asked: Asked, drill: Drill, choice: Choice, saved: tuple[File, ...], listed: Sequence[Snapshot]
) -> Chosen:
    part = asked.turn % drill.parts + 1
    wanted = saved if asked.full else _wanted(restic, choice.snapshot.id, saved, drill, asked.turn)
    whole = len(wanted) == len(saved)
    rpo = timedelta(hours=custody.recovery(asked.data_set.plan).rpo_hours)
    return Chosen(
        store=asked.store,
        snapshot=choice.snapshot,
        behind=choice.behind,
        should_be="",
        saved=saved,
        wanted=wanted,
        part=1 if whole else part,
        parts=1 if whole else drill.parts,
        newest_saved=_newest_saved(restic, choice, saved, listed),
        budget=rpo + (COPIED_WITHIN if asked.store == COPY else timedelta()),
    )


def _newest_saved(restic: Restic, choice: Choice, saved: Sequence[File], listed: Sequence[Snapshot]) -> datetime | None:
    newest = max(listed, key=lambda one: one.time)
    if newest.id == choice.snapshot.id:
        return newest_change(saved)
    try:
        return newest_change(restic.files(newest.id))
    except ResticError:
        return None  # a figure for people; what it means that it cannot be read, verification tells


def newest_change(files: Sequence[File]) -> datetime | None:
    """The newest time of a file's content; folders change when anything in them comes or goes, and manifests of refs
    are made by the backup."""
    known = (file for file in files if file.type == "file" and file.path not in MANIFESTS)
    return max((file.mtime for file in known if file.mtime), default=None)


def _wanted(restic: Restic, snapshot: str, saved: tuple[File, ...], drill: Drill, turn: int) -> tuple[File, ...]:
    """All of it, or what is needed and the part of the rest whose turn it is, with the folders above it; empty ones
    always come along."""
    if sum(file.size for file in saved) <= drill.size_gb * 1_000_000_000:
        return saved
    with TemporaryDirectory(prefix="mainstay-") as folder:
        read = _reader(restic, snapshot, saved, Path(folder))
        needed = drill.needed(saved, read) if drill.needed else frozenset()
    rest = [file.path for file in saved if file.type != "dir" and file.path not in needed]
    wanted = needed | {*share(rest, turn, drill.parts)}
    above, full = _folders(wanted), _folders(file.path for file in saved)
    return tuple(
        file
        for file in saved
        if (file.path in above or file.path not in full if file.type == "dir" else file.path in wanted)
    )


def _folders(paths: Iterable[str]) -> set[str]:
    """All that these paths lie in."""
    found: set[str] = set()
    for path in paths:
        while path := path.rpartition("/")[0]:
            if path in found:
                break
            found.add(path)
    return found


def _reader(restic: Restic, snapshot: str, saved: Sequence[File], folder: Path) -> Callable[[str], bytes]:
    """Reads small files of a snapshot, which all are fetched when the first is asked for."""
    small = [file.path for file in saved if file.type == "file" and file.size <= SMALL]
    fetched = False

    def read(path: str) -> bytes:
        nonlocal fetched
        if not fetched:
            for start in range(0, len(small), AT_ONCE):
                include = [f"/{literally(path)}" for path in small[start : start + AT_ONCE]]
                restic.restore(snapshot, folder, include=include)
            fetched = True
        return (folder / path).read_bytes()

    return read
