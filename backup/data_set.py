"""A data set as the control side knows it, and what can be wrong with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Literal

from backup.entry import Entry
from backup.restic_results import Snapshot


class Kind(Enum):
    """What can be found, the worst first: the word for it, the exit code, whether data or users are hit now."""

    DISPUTED = ("ledger disputed", 10, True)
    GONE = ("snapshot gone", 11, True)
    DAMAGED = ("damaged", 12, True)
    NEVER = ("never ran", 13, True)
    LATE = ("late", 14, True)
    FAILED = ("failed", 15, True)
    BACK_DATED = ("back-dated", 16, True)
    FUTURE = ("from the future", 17, True)
    UNLISTED = ("not to be listed", 18, True)
    DRILL_FAILED = ("drill failed", 30, True)
    NOT_DRILLED = ("not drilled", 31, True)
    CERTIFICATE = ("certificate", 32, True)
    RELEASE = ("release audit", 33, True)
    SOURCES = ("source audit", 35, True)
    INCOMPLETE = ("incomplete", 20, False)
    HALVED = ("size halved", 21, False)
    TOO_LONG = ("running too long", 22, False)
    MISSED = ("missed a run", 23, False)
    UNVERIFIED = ("verification overdue", 24, False)
    COPY_BEHIND = ("copy behind", 25, False)
    SILENT = ("host silent", 26, False)
    UNRETAINED = ("retention overdue", 27, False)
    MIRROR_BEHIND = ("mirror behind", 28, False)
    UNREAD = ("packages unread", 34, False)
    SOURCES_UNREAD = ("sources unread", 36, False)
    ROTATING = ("rotation unfinished", 29, False)

    def __init__(self, word: str, exit_code: int, critical: bool) -> None:
        self.word, self.exit_code = word, exit_code
        self.severity: Literal["critical", "warning"] = "critical" if critical else "warning"


@dataclass(frozen=True)
class Plan:
    """What the control side knows of a host's plan."""

    host: str
    name: str
    every: Literal["half-hourly", "hourly", "daily"]
    rpo_hours: int

    @property
    def data_set(self) -> str:
        """HOST:PLAN, as commands name it."""
        return f"{self.host}:{self.name}"


@dataclass(frozen=True)
class DataSet:
    """All that is known of a data set."""

    plan: Plan
    ledger: Sequence[Entry]
    """Collected from its host."""
    control: Sequence[Entry]
    """What the control side did to it."""
    heard: datetime | None
    """When its host last answered; None: never."""
    vault: Sequence[Snapshot] | None
    """What the vault lists; None: it could not be asked."""
    copy: Sequence[Snapshot] | None = None
    """What the second copy lists."""
    has_copy: bool = True
    """A second copy is declared."""
    unreadable: Sequence[str] = ()
    """Snapshots that the vault holds damaged, by their ids."""
    copy_unreadable: Sequence[str] = ()
    """Those that the second copy holds damaged."""
    disputed: str = ""
    """Why the ledger is not to be believed: the host contradicts what was collected, or a record is damaged."""
    uncollected: str = ""
    """Why what its host wrote down could not be taken into the record; empty if it was, or the host did not answer."""
    unseen: str = ""
    """Why nothing else is known of it: it could not be looked at."""


@dataclass(frozen=True)
class Subject:
    """What a finding is about, where a data set can have more than one of its kind."""

    place: str = ""
    """Where it is: what is found elsewhere begins and ends by itself."""
    each: tuple[str, ...] = ()
    """What was hit there, by names that stay the same: people are told again when there is more of it."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a data set: what happened, and what to do."""

    kind: Kind
    host: str
    plan: str
    what: str
    to_do: str
    subject: Subject = Subject()

    @property
    def data_set(self) -> str:
        """HOST:PLAN."""
        return f"{self.host}:{self.plan}"

    @property
    def key(self) -> str:
        """What it goes by among all findings, from one look to the next."""
        return key(self.data_set, self.kind, self.subject.place)


@dataclass(frozen=True)
class Certificate:
    """What a web server shows who asks for one of its names, whether that is believed or not."""

    name: str
    ends: datetime


def key(data_set: str, kind: Kind, place: str = "") -> str:
    """What a finding goes by."""
    return f"{data_set} {kind.word} {place}".rstrip()
