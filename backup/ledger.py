"""What happened to a data set, one JSON line an attempt, each with the hash of the line before.

Standard library of Python 3.11 only, as backup/entry.py. A host appends to its own ledger; the control side collects
the lines as they are (`merge`) and keeps a ledger of what it did itself. Line N has the sequence number N, so that a
line that went missing is seen, and lines can be asked for by number.
"""

import fcntl
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from backup.entry import UNREAD_AT_MOST, WHY_AT_MOST, Entry, digest, parse, render

LEDGER_AT_MOST = 256 << 20
"""Bytes that are collected of one: a host must not fill the control side's disk. Every half hour, it takes 15 years."""


class LedgerError(Exception):
    """A ledger that is not what was written to it; line counts from 1 (0: the ledger as a whole).

    Of a problem the first thousand characters are kept: what is wrong with a line may be as long as the line.
    """

    def __init__(self, where: Path | str, line: int, problem: str) -> None:
        problem = problem[:1000]
        self.line, self.problem = line, problem
        super().__init__(f"{where}: line {line}: {problem}" if line else f"{where}: {problem}")


def append(path: Path, entry: Entry, tell: Callable[[str], None] = lambda said: print(said, file=sys.stderr)) -> Entry:
    """Adds an entry, on disk when this returns, and returns it with its place. Makes the file (0600) and its folder.

    A last line that a killed writer left without its end is given its end if it is whole, else moved to PATH.torn;
    either is told. Raises LedgerError if the last line is damaged otherwise, or nobody could read the new one; OSError
    if nothing could be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, fcntl.LOCK_EX) as handle:
        _mend(path, handle, tell)
        size = os.fstat(handle).st_size
        last = _last_line(handle, size)
        try:
            seq = parse(last).seq if last else 0
        except ValueError as error:
            raise LedgerError(path, 0, f"its last line {error}: nothing can be added") from None
        unread = tuple((name, why[:WHY_AT_MOST]) for name, why in entry.unread[:UNREAD_AT_MOST])
        count = max(entry.unread_count, len(entry.unread))
        placed = replace(entry, seq=seq + 1, after=digest(last) if last else "", unread=unread, unread_count=count)
        line = render(placed)
        try:
            placed = parse(line)
        except ValueError as error:
            raise LedgerError(path, seq + 1, f"cannot be added: it {error}") from None
        _add(handle, size, line + b"\n")
        if not size:
            _sync_folder(path.parent)
    return placed


def content(path: Path) -> bytes:
    """The whole lines as they lie in the file; nothing if there is no ledger yet."""
    try:
        with _locked(path, os.O_RDONLY, fcntl.LOCK_SH) as handle:
            found = b"".join(_chunks(handle))
    except FileNotFoundError:
        return b""
    return found if found.endswith(b"\n") else found[: found.rfind(b"\n") + 1]


def lines(path: Path, after: int = 0) -> list[bytes]:
    """The whole lines beyond number `after`; none if there is no ledger yet."""
    return content(path).split(b"\n")[:-1][after:]


def read(path: Path, after: int = 0) -> list[Entry]:
    """The entries beyond number `after`, the chain not looked at. Raises LedgerError for a line that is none."""
    found = []
    for number, line in enumerate(lines(path, after), after + 1):
        try:
            found.append(parse(line))
        except ValueError as error:
            raise LedgerError(path, number, str(error)) from None
    return found


def check(path: Path) -> list[Entry]:
    """All entries, if each continues the one before. Raises LedgerError with the first line that does not."""
    return chain(path, lines(path))


def chain(where: Path | str, found: Sequence[bytes], last: bytes = b"") -> list[Entry]:
    """The entries of lines that follow on `last` (empty: they begin a ledger). LedgerError names the first bad one."""
    try:
        seq = parse(last).seq if last else 0
    except ValueError as error:
        raise LedgerError(where, 0, f"the line that is to be continued {error}") from None
    entries = []
    for line in found:
        seq += 1
        try:
            entry = parse(line)
        except ValueError as error:
            raise LedgerError(where, seq, str(error)) from None
        if entry.seq != seq:
            raise LedgerError(where, seq, f"has number {entry.seq}: lines are missing or out of order")
        if entry.after != (digest(last) if last else ""):
            raise LedgerError(where, seq, "does not continue the line before it: one of the two was changed")
        entries.append(entry)
        last = line
    return entries


def merge(copy: Path, reported: Sequence[bytes], host: str, plan: str, asked_with: int | None = None) -> list[Entry]:
    """Adds to the collected copy what a host reports of its ledger, and returns the new entries.

    Reported is to begin at the newest line collected, as proof that it is still there (so ask for those after the last
    but one), or before. asked_with: how many lines the copy had when the host was asked, which are to be there; another
    merge may have added some since. None: as many as now. Raises LedgerError, and adds nothing, if anything is missing,
    was changed, or speaks of another data set, or if there is more than a ledger can be.
    """
    copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(copy, os.O_RDWR | os.O_CREAT | os.O_APPEND, fcntl.LOCK_EX) as handle:
        content = b"".join(_chunks(handle))
        had = content.split(b"\n")[:-1]
        # A half line here is the trace of a killed merge: the host still has it.
        whole = sum(map(len, had)) + len(had)
        where = f"{host}:{plan}"
        due = len(had) if asked_with is None else asked_with
        if due and not reported:
            raise LedgerError(where, due, "is missing: the host's ledger has become shorter")
        first = 1
        if reported:
            try:
                first = parse(reported[0]).seq
            except ValueError as error:
                raise LedgerError(where, 0, f"the first line reported {error}") from None
        if first > max(len(had), 1):
            raise LedgerError(where, first - 1, "was not reported: it must be there for what follows to be believed")
        known = had[first - 1 :]
        for number, (ours, theirs) in enumerate(zip(known, reported, strict=False), first):
            if ours != theirs:
                raise LedgerError(where, number, "is not what was collected before: history was rewritten")
        if first + len(reported) <= due:
            raise LedgerError(where, first + len(reported), "is missing: the host's ledger has become shorter")
        fresh = list(reported[len(known) :])
        if whole + sum(map(len, fresh)) + len(fresh) > LEDGER_AT_MOST:
            problem = f"and those before it are more than a host's ledger can be, {LEDGER_AT_MOST} bytes"
            raise LedgerError(where, len(had) + len(fresh), problem)
        entries = chain(where, fresh, had[-1] if had else b"")
        for entry in entries:
            if (entry.host, entry.plan) != (host, plan):
                raise LedgerError(where, entry.seq, f"speaks of {entry.host}:{entry.plan}")
        os.ftruncate(handle, whole)
        if fresh:
            _add(handle, whole, b"\n".join(fresh) + b"\n")
            _sync_folder(copy.parent)
    return entries


@contextmanager
def _locked(path: Path, flags: int, lock: int) -> Iterator[int]:
    handle = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, lock)
        yield handle
    finally:
        os.close(handle)


def _chunks(handle: int) -> Iterator[bytes]:
    offset = 0
    while chunk := os.pread(handle, 1 << 20, offset):
        offset += len(chunk)
        yield chunk


def _last_line(handle: int, size: int, step: int = 8192) -> bytes:
    """The last line without its end, read from behind; empty if there is none."""
    tail = b""
    offset = size
    while offset:
        offset = max(0, offset - step)
        tail = os.pread(handle, min(step, size - offset - len(tail)), offset) + tail
        _, end, line = tail[:-1].rpartition(b"\n")
        if end:
            return line
    return tail[:-1]


def _mend(path: Path, handle: int, tell: Callable[[str], None]) -> None:
    """Takes care of a last line without its end."""
    size = os.fstat(handle).st_size
    if not size or os.pread(handle, 1, size - 1) == b"\n":
        return
    *whole, torn = b"".join(_chunks(handle)).split(b"\n")
    try:
        chain(path, [torn], whole[-1] if whole else b"")
    except LedgerError:
        aside = path.with_name(f"{path.name}.torn")
        with _locked(aside, os.O_RDWR | os.O_CREAT | os.O_APPEND, fcntl.LOCK_EX) as other:
            _add(other, os.fstat(other).st_size, torn + b"\n")
        os.ftruncate(handle, size - len(torn))
        os.fsync(handle)
        tell(f"{path}: a killed run left half a line; it was moved to {aside}")
    else:
        _add(handle, size, b"\n")
        tell(f"{path}: a killed run left its last line without an end; the line was whole and is kept")


def _add(handle: int, size: int, content: bytes) -> None:
    """Writes all of it to the end of the file and the disk, or leaves the file as it was."""
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(handle, left) :]
        os.fsync(handle)
    except OSError:
        os.ftruncate(handle, size)
        raise


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
