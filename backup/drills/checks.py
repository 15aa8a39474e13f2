"""What a role's recovery.py says of a drill: checks that a restored one works, and faults that prove them.

    def packages(copy: Restored) -> Evidence: ...

    CHECKS = (Check("packages", "every package that a phone is offered has the bytes that were released",
                    "the list of checksums, which is kept apart", packages),)

A check returns what it saw, raises CheckFailed when that is not right, and NotJudged when what it compares with cannot
be had. Anything else that it raises is its own fault, and counts as failed.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from backup.restic_results import File as File

CHECK_S = 600
"""How long a check may take, unless it says otherwise."""


class CheckFailed(Exception):
    """What came back is not what was saved. found: each thing that is not right, in words; the first ones are shown."""

    def __init__(self, *found: str) -> None:
        self.found = found
        super().__init__("; ".join(found))


class NotJudged(Exception):
    """What it compares with cannot be had; says what and why. The drill is then `degraded`."""


@dataclass(frozen=True)
class Evidence:
    """What a check saw. told: lines for people, such as `42 packages, 31 GB`.

    covered, of: how many of how many things it looked at; the rest is looked at within so many drills (1: no rest).
    """

    told: tuple[str, ...]
    covered: int = 0
    of: int = 0
    within: int = 1


@dataclass(frozen=True)
class Answer:
    """What a server said to one request. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")


class Client(Protocol):
    """Asks a service on the restored host as its users do: by TLS, and by a name of its own."""

    @property
    def address(self) -> str: ...

    @property
    def name(self) -> str: ...

    def certificate(self) -> str:
        """What a new connection is shown, in PEM. Raises CheckFailed where that is not the host's own."""
        ...

    def get(self, path: str, **headers: str) -> Answer:
        """GET; keywords are headers, `_` for `-`. Follows no redirect, offers gzip, body as it came over the wire."""
        ...

    def head(self, path: str, **headers: str) -> Answer: ...

    def send(self, method: str, path: str, body: bytes, **headers: str) -> Answer:
        """Another method, with a body; all else as `get`."""
        ...

    def sha256(self, path: str, *, first: int = 0) -> tuple[int, str]:
        """Length and SHA-256 (hexadecimal) of what `Range: bytes=FIRST-` answers, read in parts: packages are large.

        Raises CheckFailed for a status that is not 200 or 206.
        """
        ...


class Restored(Protocol):
    """The restored copy, as checks and faults see it."""

    @property
    def host(self) -> str:
        """Its name in the fleet, such as `release-1`."""
        ...

    @property
    def root(self) -> str:
        """Where the data lies on the host: the plan's root."""
        ...

    @property
    def settings(self) -> Any:
        """The role's settings."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """The DNS names of all hosts of the fleet, as users know them."""
        ...

    @property
    def saved(self) -> Sequence[File]:
        """All that the snapshot lists."""
        ...

    @property
    def wanted(self) -> Sequence[File]:
        """That part of it which was to be restored: all of it, unless the data is larger than a drill restores."""
        ...

    @property
    def snapshot_time(self) -> datetime:
        """When the backup began."""
        ...

    @property
    def client(self) -> Client: ...

    @property
    def record(self) -> Path:
        """The control side's own record of ledgers, on this machine: HOST/PLAN.jsonl and so on."""
        ...

    @property
    def turn(self) -> int:
        """How many drills in turn have proved this data set: what samples rotate by."""
        ...

    def sh(self, script: str, *arguments: str, timeout_s: float = 120) -> str:
        """Output of a shell script, run as root on the host. Raises CheckFailed with its words when it ends with
        another code than 0."""
        ...

    def read(self, *paths: str) -> list[bytes]:
        """Files of the snapshot, as the repository holds them: what came back can be compared with. Takes a second
        or so, however many, and is for small files. Raises NotJudged when one cannot be had."""
        ...

    def last(self, check: str) -> Sequence[str]:
        """What a check saw in the newest earlier drill of this data set in which it passed or failed, and no fault was
        planted; nothing where there was none."""
        ...

    def mirror(self, name: str) -> Path:
        """A bare git repository on this machine: the copy of one that `[settings.control.mirrors]` names.

        Raises NotJudged when it cannot be had.
        """
        ...


@dataclass(frozen=True)
class Check:
    """One proof. proves, compares: for people, read after `proves that` and `compares with`."""

    name: str
    proves: str
    compares: str
    run: Callable[[Restored], Evidence]
    limit_s: float = CHECK_S
    before: bool = True
    after: bool = True
    """Whether it is made before and after the change that a drill rehearses: what it changes itself, and what the
    change does, would be found."""


@dataclass(frozen=True)
class Fault:
    """What is done to a restored copy to see whether a check finds it. plant returns what it did, in words."""

    name: str
    caught_by: str
    """The check that has to fail."""
    plant: Callable[[Restored], str]


@dataclass(frozen=True)
class Rehearsed:
    """What a change that was rehearsed came to. downtime_s: how long people had to wait."""

    told: tuple[str, ...]
    downtime_s: float


@dataclass(frozen=True)
class Drill:
    """What a role says of drills. Times in seconds."""

    checks: tuple[Check, ...]
    faults: tuple[Fault, ...] = ()
    size_gb: int = 50
    """Up to so much is restored whole. Above it: what `needed` names, and a rotating part of the rest."""
    parts: int = 12
    """Of how many drills together all has been restored, where one restores a part."""
    needed: Callable[[Sequence[File], Callable[[str], bytes]], frozenset[str]] | None = None
    """From the files that a snapshot lists, and what reads one of them, to the paths that every drill restores."""
    budget_s: Mapping[str, int] = field(default_factory=dict)
    """How long each phase may take: host, packages, deploy, restore, start, checks. Others have BUDGET_S."""
    fresh: Callable[[Mapping[str, Any]], Iterable[str]] = lambda settings: ()
    """From the role's settings to the secrets that are made anew for a drill: random text, instead of production's."""
    quiet: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the role that keep a drilled service from acting on others, over those that it has."""
    rehearse: Callable[[Restored, str], Rehearsed] | None = None
    """Makes the change that is rehearsed on the restored copy, such as an upgrade to a version; raises CheckFailed."""
    within_days: int = 7
    """So old the last passed drill may be: they come weekly, and take their time."""


BUDGET_S = {"host": 900, "packages": 900, "deploy": 900, "restore": 4 * 3600, "start": 600, "checks": 3600}


def share(names: Iterable[str], turn: int, parts: int) -> list[str]:
    """The part of these names whose turn it is, sorted; over `parts` turns in a row each comes once."""
    return sorted(name for name in names if _place(name) % parts == turn % parts)


def _place(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
