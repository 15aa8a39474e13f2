"""What a host said of itself (status/on_host.py), and what of it needs a person. Pure.

Security updates and reboots happen by themselves, daily and at night: what is told is that they did not.
"""

import re
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from backup.audited import listed
from backup.expected import SKEW
from backup.rules import ago, span
from backup.sizes import counted, size
from doctor.hosts import Clock
from status.told import Cell, Finding, critical, unseen, warning

WITHIN = timedelta(hours=36)
"""A day, with what jitter and the length of a run add: so long what happens daily may take."""
FEW, FULL = 0.10, 0.03
"""Shares of a disk that are left: below the first somebody has to look, below the second writes fail soon."""

PARTS = ("debian", "kernel", "updates", "units", "disks", "people")
STRANGERS = "strangers"
"""Kind of the finding that somebody has an account who should have none."""

Word = Annotated[str, Field(max_length=1000)]
Words = Annotated[tuple[Word, ...], Field(max_length=10_000)]
Time = Annotated[float, Field(ge=0, lt=1e11, allow_inf_nan=False)]
"""Unix seconds."""
Bytes = Annotated[int, Field(ge=0, lt=1 << 63)]


class _Said(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Kernel(_Said):
    """installed: releases, by when each came. own: whether it is the host's, which a container's is not."""

    running: Word
    installed: Annotated[dict[Word, Time], Field(max_length=1000)]
    own: bool

    @property
    def newest(self) -> str:
        """Of those that are installed; empty: there is none."""
        return max(self.installed, key=_version, default="")

    @property
    def replaced(self) -> bool:
        """Whether another one will run after the next boot."""
        return self.own and bool(self.installed) and self.newest != self.running


class Updates(_Said):
    """security: packages that wait. as_of: when the lists are of; ran: when updates were installed last."""

    security: Words
    as_of: Time | None
    ran: Time | None


class Units(_Said):
    failed: Words
    stopped: Words


class Disk(_Said):
    mount: Word
    size: Bytes
    free: Bytes
    inodes: Bytes
    inodes_free: Bytes

    @property
    def left(self) -> float:
        return self.free / self.size if self.size else 1.0

    @property
    def inodes_left(self) -> float:
        """1 where the filesystem does not count them."""
        return self.inodes_free / self.inodes if self.inodes else 1.0


class Drifted(_Said):
    """A thing that is not as the last deploy left it. since: by its own trace, 0 where there is none; noticed: when a
    look found it first."""

    kind: Word
    what: Word
    why: Word
    since: Time
    noticed: Time


class Drift(_Said):
    """The host's last look at itself. remembered: when it was as deployed."""

    remembered: Time
    looked: Time
    findings: Annotated[tuple[Drifted, ...], Field(max_length=1000)]


class Said(_Said):
    """None: the host could not tell. Times in Unix seconds. deploys: as roles/base/deployed.py reads it."""

    time: Time
    booted: Time | None
    debian: Word | None
    reboot_required: Time | None
    kernel: Kernel | None
    updates: Updates | None
    units: Units | None
    disks: Annotated[tuple[Disk, ...], Field(max_length=1000)] | None
    people: Words | None
    """Accounts of people that can be logged in to."""
    drift: Drift | None = None
    deploys: Annotated[str, Field(max_length=1_000_000)] | None = None

    @property
    def reboot_since(self) -> datetime | None:
        """Since when a reboot is due; None: none is."""
        times = [] if self.reboot_required is None else [self.reboot_required]
        if self.kernel and self.kernel.replaced:
            times.append(self.kernel.installed[self.kernel.newest])
        return _at(min(times)) if times else None


def judge(name: str, said: Said, clock: Clock, *, reboots: bool, admins: Collection[str], base: str) -> list[Finding]:
    """What about a host needs somebody.

    reboots: whether it does so by itself when it has to; admins: who is to have an account there; base: the command
    that deploys who may log in.
    """
    now = _at(said.time)
    missing = [part for part in PARTS if getattr(said, part) is None]
    found = [
        *_people(name, [one for one in said.people or () if one not in admins], base),
        *(_units(name, said.units) if said.units else ()),
        *(finding for disk in said.disks or () for finding in _disk(name, disk)),
        *_clock(name, clock),
        *(_updates(name, said.updates, _at(said.booted) if said.booted else None, now) if said.updates else ()),
        *_reboot(name, said, now, reboots=reboots),
    ]
    if missing:
        what = f"it could not tell: {', '.join(missing)}"
        found.append(unseen(name, what, f"`mainstay ssh {name}`: does the command work there, is its disk full?"))
    return found


def _people(name: str, strangers: list[str], base: str) -> Iterator[Finding]:
    if strangers:
        what = f"can log in there, and should not: {listed(strangers)}"
        yield critical(name, STRANGERS, what, f"`{base}` locks them out; `mainstay runbook show admin-leaves`.")


def _units(name: str, units: Units) -> Iterator[Finding]:
    look = f"`mainstay ssh {name} sudo systemctl status {{}}`; `journalctl -u {{}}` there says why."
    if units.failed:
        what = f"{counted(len(units.failed), 'unit')} failed: {listed(units.failed)}"
        yield critical(name, "failed units", what, look.format(units.failed[0], units.failed[0]))
    if units.stopped:
        what = f"to run from boot on, and stopped: {listed(units.stopped)}"
        to_do = f"{look.format(units.stopped[0], units.stopped[0])} A deploy starts it."
        yield critical(name, "stopped units", what, to_do)


def _disk(name: str, disk: Disk) -> Iterator[Finding]:
    free = f"{size(disk.free)} of {size(disk.size)} are free on {disk.mount}"
    inodes = f"{disk.inodes_free:,} of {disk.inodes:,} inodes are free on {disk.mount}"
    to_do = f"`mainstay ssh {name} sudo du -xh -d 2 {disk.mount}`; the vault's: `mainstay runbook show disk-full`."
    for left, kind, what in ((disk.left, "disk full", free), (disk.inodes_left, "inodes used up", inodes)):
        if left < FEW:
            yield (critical if left < FULL else warning)(name, kind, what, to_do)


def _clock(name: str, clock: Clock) -> Iterator[Finding]:
    if abs(clock.apart) > SKEW.total_seconds():
        how = f"{span(timedelta(seconds=abs(clock.apart)))} {'ahead' if clock.apart > 0 else 'behind'}"
        to_do = f"`mainstay ssh {name} sudo chronyc -N sources` says why; of all hosts: this machine's is wrong."
        yield warning(name, "clock", f"its clock is {how}, seen from this machine", to_do)


def _updates(name: str, updates: Updates, booted: datetime | None, now: datetime) -> Iterator[Finding]:
    """A host that has just booted has not had its turn yet."""
    to_do = f"`mainstay ssh {name} sudo unattended-upgrade --verbose`; `systemctl list-timers 'apt-*'` there."
    as_of, ran = (_at(time) if time is not None else None for time in (updates.as_of, updates.ran))
    rested = booted is None or now - booted > WITHIN
    if rested and (as_of is None or now - as_of > WITHIN):
        what = f"it has asked for updates {ago(as_of, now)}" if as_of else "it has never asked for updates"
        yield warning(name, "updates unknown", what, to_do)
    missed = ran is None or now - ran > WITHIN
    if updates.security and (rested if missed else bool(ran and as_of and ran > as_of)):
        many = counted(len(updates.security), "security update")
        since = f"the last run was {ago(ran, now)}" if ran else "none ever ran"
        yield warning(name, "updates wait", f"{many}, {since}: {listed(updates.security)}", to_do)


def _reboot(name: str, said: Said, now: datetime, *, reboots: bool) -> Iterator[Finding]:
    since = said.reboot_since
    if since and (not reboots or now - since > WITHIN):
        why = "settings.base.reboot is off there" if not reboots else "it should have rebooted by itself at night"
        to_do = f"`mainstay ssh {name} sudo systemctl reboot`, when nobody needs it."
        yield warning(name, "reboot due", f"since {ago(since, now)}; {why}", to_do)


def cells(said: Said, clock: Clock) -> list[Cell]:
    """Debian, kernel, updates, reboot, units, disk, inodes, clock."""
    now, units = _at(said.time), said.units
    fullest = min(said.disks or (), key=lambda one: one.left, default=None)
    fewest = min(said.disks or (), key=lambda one: one.inodes_left, default=None)
    words = (
        said.debian or "?",
        _kernel(said.kernel),
        str(len(said.updates.security) or "none") if said.updates else "?",
        f"due {ago(said.reboot_since, now)}" if said.reboot_since else "no",
        _unit_words(units) if units else "?",
        f"{1 - fullest.left:.0%} of {fullest.mount}" if fullest else "?",
        f"{1 - fewest.inodes_left:.0%}" if fewest else "?",
        f"{clock.apart:+.0f} s" if abs(clock.apart) >= 1 else "right",
    )
    return [(word, "") for word in words]


def _kernel(kernel: Kernel | None) -> str:
    if kernel is None:
        return "?"
    if not kernel.own:
        return "its machine's"
    return f"{kernel.running}, next {kernel.newest}" if kernel.replaced else kernel.running


def _unit_words(units: Units) -> str:
    words = [f"{len(names)} {how}" for how, names in (("failed", units.failed), ("stopped", units.stopped)) if names]
    return ", ".join(words) or "all run"


def _version(release: str) -> list[tuple[int, str]]:
    """Numbers as such: 6.12.9 comes before 6.12.10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|\D+", release)]


def _at(time: float) -> datetime:
    return datetime.fromtimestamp(time, UTC)
