"""What the agent keeps of a plan on its host: ledger, restic's cache, locks, and what is still to be put back."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backup import ledger
from backup.entry import Entry

PATIENCE_S = 2
"""`status` looks at locks by taking them for a moment."""


class Busy(Exception):
    """Another run is at it."""


@dataclass(frozen=True)
class State:
    """The folder of one plan, /var/lib/mainstay/backup/PLAN."""

    folder: Path

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.jsonl"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def fresh(self) -> Path:
        """A repository's first files, from when they are made until the vault has them."""
        return self.folder / "fresh"

    @property
    def due(self) -> Path:
        """Is there from before a plan's `before` to the end of its `after`."""
        return self.folder / "after-due"

    @property
    def refs_seen(self) -> Path:
        """Of what the ref manifest was made that the plan's root has (ref_seen.py)."""
        return self.folder / "refs-seen"

    @property
    def running_mark(self) -> Path:
        """Is there while a backup runs; one that was killed, or whose restic was, leaves it."""
        return self.folder / "running"

    @contextmanager
    def locked(self, name: str = "lock", patience_s: float = PATIENCE_S) -> Iterator[None]:
        """Raises Busy when another process has the lock. The kernel frees it with its owner's end."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            give_up = time.monotonic() + patience_s
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= give_up:
                        raise Busy from None
                    time.sleep(0.05)
            yield
        finally:
            os.close(lock)

    def running(self) -> bool:
        """Whether a backup is at it now."""
        if not self.folder.is_dir():
            return False
        try:
            with self.locked(patience_s=0):
                return False
        except Busy:
            return True

    def entries(self) -> list[Entry]:
        """The ledger so far. Raises LedgerError."""
        return ledger.read(self.ledger)

    def newest(self) -> Entry | None:
        """The newest backup whose snapshot is there, complete or not. Raises LedgerError."""
        return next((one for one in reversed(self.entries()) if one.kind == "backup" and one.snapshot), None)
