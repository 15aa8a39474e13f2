"""What a source tells of a site: findings, each with what to do, and tables of how all is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from backup.data_set import Finding as OfBackup
from inventories.inventory import LoadedSite

UNREACHABLE, WRONG = 3, 1
"""Exit codes of findings that have none of their own."""
Cell = tuple[str, str]
"""Its words, and the class that says how they look (backup/page_style.py); empty: plainly."""


class Severity(StrEnum):
    """How soon a person is needed, the soonest first. unseen: it is not known how that is."""

    UNSEEN = "unseen"
    CRITICAL = "critical"
    WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """Something that needs a person.

    about: a host, data set, server or person; kind: a word that stays the same; to_do: a command or a runbook.
    """

    about: str
    kind: str
    severity: Severity
    what: str
    to_do: str
    exit_code: int = WRONG


@dataclass(frozen=True)
class Row:
    """name: of what it is about; cells: for people, one for each further label; data: the same for programs."""

    name: str
    cells: Sequence[Cell]
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """name: as programs know it, and stays; labels: of its columns, the first of what rows are about."""

    name: str
    title: str
    labels: Sequence[str]
    rows: Sequence[Row]


@dataclass(frozen=True)
class Seen:
    """What a source saw. notes: what was said on the way."""

    findings: Sequence[Finding] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Source:
    """A part of a site that can be looked at.

    name: as programs know it, and stays; more: the command that tells more of it; applies: whether the site has it;
    look: what is seen there now. It may raise whatever it likes: then it is told that it cannot be seen, and why.
    """

    name: str
    title: str
    more: str
    applies: Callable[[LoadedSite], bool]
    look: Callable[[LoadedSite, datetime], Seen]


@dataclass
class Notes:
    """Hears what is said on the way."""

    said: list[str] = field(default_factory=list)

    def __call__(self, text: str) -> None:
        self.said.append(text)


def unseen(about: str, what: str, to_do: str) -> Finding:
    """It did not answer, or may not be asked by me."""
    return Finding(about, "not seen", Severity.UNSEEN, what, to_do, UNREACHABLE)


def critical(about: str, kind: str, what: str, to_do: str) -> Finding:
    """Users or data are hit."""
    return Finding(about, kind, Severity.CRITICAL, what, to_do)


def warning(about: str, kind: str, what: str, to_do: str) -> Finding:
    """Somebody has to do something, not this instant."""
    return Finding(about, kind, Severity.WARNING, what, to_do)


def of_backup(one: OfBackup) -> Finding:
    """A finding of a data set, with its own exit code."""
    kind = one.kind
    return Finding(one.data_set, kind.word, Severity(kind.severity), one.what, one.to_do, kind.exit_code)


def state(kinds: Sequence[Finding]) -> Cell:
    """The last cell of a row: the kinds of what was found about it, the worst first."""
    if not kinds:
        return "ok", "ok"
    found = in_order(kinds)
    worst = "warning" if found[0].severity is Severity.WARNING else "critical"
    return ", ".join(dict.fromkeys(one.kind for one in found)), worst


def in_order(found: Sequence[Finding]) -> list[Finding]:
    """The worst first, and in the order given where none is worse."""
    order = list(Severity)
    return sorted(found, key=lambda one: order.index(one.severity))


def iso(time: datetime | None) -> str | None:
    """A time for programs."""
    return time.isoformat() if time else None
