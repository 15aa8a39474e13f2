"""All drills of a data set at a glance: when it was last proved, how old and how long, and what is wrong. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from backup.custody import data_sets, recovery
from backup.data_set import Finding
from backup.drills.overdue import Wanted, due, of, overdue
from backup.drills.report import SITE, Report, proof
from inventories.fleet import Fleet

TREND = 10
"""So many of the last recovery times are shown."""


@dataclass(frozen=True)
class Drilled:
    """A data set's drills, newest first, and what is wrong with them."""

    wanted: Wanted
    own: tuple[Report, ...]
    findings: tuple[Finding, ...]

    @property
    def data_set(self) -> str:
        return self.wanted.data_set

    @property
    def last(self) -> Report | None:
        """The newest, which may be running."""
        return self.own[0] if self.own else None

    @property
    def proved(self) -> Report | None:
        """The newest that counts as proof."""
        return proof(self.own)

    @property
    def measured(self) -> Report | None:
        """The newest in which the backup came back, in time or not."""
        return next((one for one in self.own if _came_back(one)), None)

    @property
    def due(self) -> datetime | None:
        """Until when it has to be proved again."""
        return due(self.wanted, self.own)

    @property
    def rtos(self) -> list[float]:
        """The last recovery times in seconds, oldest first."""
        times = [one.rto_seconds for one in self.own if one.rto_seconds is not None and _came_back(one)]
        return times[:TREND][::-1]


def _came_back(report: Report) -> bool:
    return report.proved or (report.outcome == "over budget" and not report.fault)


def wanted(fleet: Fleet, first_backups: Mapping[str, datetime | None]) -> list[Wanted]:
    """What the roles of a fleet's data sets say of drills. first_backups: when the first one of each began."""
    found = []
    for one in data_sets(fleet):
        drill, since = recovery(one.plan).drill, first_backups.get(str(one))
        if drill:
            faults = tuple(fault.name for fault in drill.faults)
            found.append(Wanted(str(one), drill.within_days, since, faults))
        else:
            found.append(Wanted(str(one), since=since))
    return found


def glance(asked: Sequence[Wanted], found: Sequence[Report], now: datetime) -> list[Drilled]:
    """Each data set, and the whole site if it was ever drilled. found: newest first."""
    whole = [Wanted(SITE, None)] if any(one.data_set == SITE for one in found) else []
    return [drilled(one, found, now) for one in (*asked, *whole)]


def drilled(one: Wanted, found: Sequence[Report], now: datetime) -> Drilled:
    """A data set. found: newest first, of others too."""
    host, _, plan = one.data_set.partition(":")
    told = tuple(
        Finding(kind, host, plan, what, to_do, *subject) for kind, what, to_do, *subject in overdue(one, found, now)
    )
    return Drilled(one, tuple(of(found, one.data_set, now)), told)
