"""One attempt at a backup, a verification or a restore: how it ended, in the ledger and as an exit code."""

import platform
import subprocess
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backup import ledger
from backup.agent import interrupts
from backup.agent.btrfs import SnapshotError
from backup.agent.consistency import StepFailed
from backup.agent.plan import Plan
from backup.agent.refs import RefsError
from backup.agent.state import State
from backup.agent.store import Store, StoreError, Turned
from backup.entry import Entry
from backup.ledger import LedgerError
from backup.restic import Restic
from backup.restic_process import Repository, ResticError
from backup.restic_s3 import s3_credentials, s3_environment

OK, FAILED, BAD_INPUT, INCOMPLETE, BUSY, INTERRUPTED = 0, 1, 2, 3, 4, 130
CODES = {"ok": OK, "incomplete": INCOMPLETE, "failed": FAILED, "interrupted": INTERRUPTED}
LOCK_WAIT_S = 900
"""For the lock of somebody who removes data, which takes its time."""
ERROR_AT_MOST = 2000
"""Characters of an error that the ledger keeps."""


class BadInput(Exception):
    """What was asked for cannot be meant."""


class Refused(Exception):
    """What was found forbids to go on, or is not what was saved."""


EXPECTED = (ResticError, Refused, SnapshotError, StepFailed, RefsError, LedgerError, StoreError, OSError)
Found = dict[str, Any]
"""Fields of the entry, as far as they are known: filled while the work is done, and kept when it fails."""


@dataclass(frozen=True)
class Job:
    """A plan with what it takes to work on it."""

    plan: Plan
    state: State
    restic: Restic
    agent: str
    """This program's own version."""

    @classmethod
    def of(cls, plan: Plan, state: State, agent: str) -> "Job":
        ca = Path(plan.ca) if plan.ca else None
        in_s3 = bool(plan.s3_access_key)
        repository = Repository(
            plan.url,
            plan.password,
            state.cache,
            environment=s3_environment(plan.s3_region),
            credentials=s3_credentials(plan.s3_access_key, plan.s3_secret_key) if in_s3 else {},
            ca=ca,
        )
        return cls(plan, state, Restic(repository, lock_wait_s=LOCK_WAIT_S), agent)

    @property
    def store(self) -> Store:
        """The repository, without restic."""
        return Store(self.plan.url, self.plan.ca)

    def greet(self) -> bool | None:
        """Whether the repository is there; None if it does not answer: restic tries again, and the link may come back.

        Raises Turned, where restic would go on trying for a quarter of an hour in vain.
        """
        try:
            return self.store.is_there()
        except Turned:
            raise
        except StoreError:
            return None

    def attempt(self, kind: str, work: Callable[[Found], None]) -> Entry:
        """Does the work and writes down how it ended, whatever the work raises.

        A ledger that cannot be written stops no backup: it makes of it one that failed.
        """
        start = datetime.now(UTC)
        entry = Entry(
            host=self.plan.host,
            plan=self.plan.name,
            kind=kind,
            start=start,
            outcome="started",
            versions=self._versions(),
        )
        unwritten = ""
        found: Found = {"outcome": "ok"}
        try:
            with interrupts.held():
                unwritten = self._write(entry)[1] if kind == "backup" else ""
            work(found)
            interrupts.ignore()
        except KeyboardInterrupt as error:
            interrupts.ignore()
            found |= {"outcome": "interrupted", "error": _words(error)}
        except Exception as error:
            interrupts.ignore()
            if not isinstance(error, EXPECTED):
                traceback.print_exc()
            found |= {"outcome": "failed", "error": _words(error)}
        ended, unwritten_end = self._write(replace(entry, end=datetime.now(UTC), **found))
        if problem := unwritten or unwritten_end:
            both = filter(None, (ended.error, f"the ledger cannot be written: {problem}"))
            return replace(ended, outcome="failed", error="; ".join(both))
        return ended

    def _write(self, entry: Entry) -> tuple[Entry, str]:
        try:
            return ledger.append(self.state.ledger, entry), ""
        except (LedgerError, OSError) as error:
            return entry, str(error)

    def _versions(self) -> dict[str, str]:
        try:
            restic = ".".join(map(str, self.restic.version))
        except (OSError, ValueError, IndexError, subprocess.CalledProcessError):
            restic = ""
        return {"agent": self.agent, "restic": restic, "python": platform.python_version()}


def _words(error: BaseException) -> str:
    """Of an error, after that of the one that it came on top of: an `after` that fails because `before` did."""
    if isinstance(error, ResticError) and error.code < 0:
        return f"restic {error.command} was killed by signal {-error.code}: is there too little memory?"
    if isinstance(error, KeyboardInterrupt):
        text = "interrupted"
    else:
        text = str(error) if isinstance(error, EXPECTED) else repr(error)
    if isinstance(error.__context__, EXPECTED) and not error.__suppress_context__:
        text = f"{_words(error.__context__)}; {text}"
    return text if len(text) <= ERROR_AT_MOST else f"{text[:ERROR_AT_MOST]}..."
