"""Which snapshots to keep, why, and when nothing may be removed at all. Pure: it removes nothing itself.

The clock has no part in the choice: days, weeks and months are counted by the backups that there are. A plan that keeps
seven daily ones keeps seven, however long ago the last was made.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from backup.coverage import damage, of_this_repository
from backup.entry import Entry
from backup.expected import Comparison, Dated, compare
from backup.restic_results import Snapshot
from backup.rules import be, named

MAX_SHARE = 0.9
"""Of all snapshots of a data set, the most that one run may remove, unless an admin says otherwise."""


@dataclass(frozen=True)
class Keep:
    """How many snapshots a plan declares to be kept: the last ones, and the last of each of so many days and so on."""

    last: int
    daily: int = 0
    weekly: int = 0
    monthly: int = 0

    def __post_init__(self) -> None:
        if self.last < 1 or min(self.daily, self.weekly, self.monthly) < 0:
            raise ValueError("keep: last must be 1 or more, the others 0 or more")


@dataclass(frozen=True)
class Verdict:
    """A listed snapshot, and what is to become of it."""

    id: str
    """As the repository lists it."""
    recorded: str
    """As the ledger knows it; empty if it does not."""
    time: datetime
    keep: bool
    why: str


@dataclass(frozen=True)
class Retention:
    """What a run would do. It may only be done if nothing is refused."""

    data_set: str
    verdicts: tuple[Verdict, ...]
    """Every listed snapshot, oldest first."""
    refused: tuple[str, ...]
    """Why nothing may be removed, each with what to do."""

    @property
    def removals(self) -> list[Verdict]:
        """The snapshots to remove; none if the run is refused."""
        return [] if self.refused else [one for one in self.verdicts if not one.keep]

    def dry(self) -> str:
        """What would be done and why, a line a snapshot."""
        keeps = sum(one.keep for one in self.verdicts)
        does = "would keep" if self.refused else "keeps"
        lines = [f"{self.data_set}: {does} {keeps} of {len(self.verdicts)} snapshots"]
        for one in self.verdicts:
            lines.append(f"  {'keep  ' if one.keep else 'remove'}  {one.id[:8]}  {one.time:%Y-%m-%d %H:%M}  {one.why}")
        lines += [f"  refused: {why}" for why in self.refused]
        return "\n".join(lines)


def retention(
    host: str,
    plan: str,
    keep: Keep,
    ledger: Sequence[Entry],
    control: Sequence[Entry],
    listed: Sequence[Snapshot],
    now: datetime,
    *,
    store: str = "vault",
    disputed: str = "",
    max_share: float = MAX_SHARE,
) -> Retention:
    """What retention does to a data set in one store. disputed: why its ledger is not to be believed, if so."""
    found = compare(ledger, control, listed, now, store)
    reasons = chosen([one for one in found.backups if one.entry.snapshot in found.there], keep)
    verdicts = _verdicts(found, reasons, listed)
    refused = _refusals(f"{host}:{plan}", found, control, now, store)
    if disputed:
        refused.insert(0, f"the host's ledger is disputed: {disputed}. Settle that first; see the findings of status.")
    removals = sum(not one.keep for one in verdicts)
    if removals > max_share * len(verdicts):
        refused.append(
            f"{removals} of {len(verdicts)} snapshots would go, more than {max_share:.0%}. "
            "Look at each with --dry; if it is right, allow a larger share for this run."
        )
    return Retention(f"{host}:{plan}", tuple(verdicts), tuple(refused))


def chosen(backups: Sequence[Dated], keep: Keep) -> dict[str, list[str]]:
    """The backups to keep, by the ledger's ids, each with its reasons.

    Only sound ones count, which are complete and have a date that can be true; others stay while no sound one is newer.
    """
    order = sorted(backups, key=lambda one: (one.time, one.entry.seq), reverse=True)
    sound = list(filter(_sound, order))
    reasons: dict[str, list[str]] = {}
    for number, one in enumerate(sound[: keep.last], 1):
        reasons.setdefault(one.entry.snapshot, []).append("the last" if number == 1 else f"last {number}")
    for word, count, period in (
        ("daily", keep.daily, _day),
        ("weekly", keep.weekly, _week),
        ("monthly", keep.monthly, _month),
    ):
        newest: dict[str, Dated] = {}
        for one in sound:
            newest.setdefault(period(one.time), one)
        for number, one in enumerate(list(newest.values())[:count], 1):
            reasons.setdefault(one.entry.snapshot, []).append(f"{word} {number}")
    for one in itertools.takewhile(lambda one: not _sound(one), order):
        word = "of a date that cannot be true" if one.wrong else "incomplete"
        reasons[one.entry.snapshot] = [f"{word}, and no sound one is newer"]
    return reasons


def _sound(one: Dated) -> bool:
    return one.entry.outcome == "ok" and not one.wrong


def _day(time: datetime) -> str:
    return f"{time:%Y-%m-%d}"


def _week(time: datetime) -> str:
    return f"{time:%G-%V}"


def _month(time: datetime) -> str:
    return f"{time:%Y-%m}"


def _verdicts(found: Comparison, reasons: dict[str, list[str]], listed: Sequence[Snapshot]) -> list[Verdict]:
    recorded = found.doubles | {snapshot.id: identity for identity, snapshot in found.there.items()}
    times = {one.entry.snapshot: one.time for one in found.backups}
    unfinished = {one.id for one in found.unfinished}
    good = found.good()
    newest = max((one.time for one in good), default=None)
    verdicts = []
    for one in listed:
        known = recorded.get(one.id, "")
        time = times.get(known, one.time)
        if why := reasons.get(known):
            keep, words = True, ", ".join(why)
        elif known in times:
            keep, words = False, "none of those that the plan keeps"
        elif one.id in unfinished and newest and one.time < newest:
            keep, words = False, "made by a run that was killed; a later backup is complete"
        elif one.id in unfinished:
            keep, words = True, "made by a run that was killed, and no complete one is newer"
        else:
            keep, words = True, "not in the ledger"
        if one.id in found.doubles:
            words = f"the same as {found.there[known].id[:8]}: {words}"
        verdicts.append(Verdict(one.id, known, time, keep, words))
    return sorted(verdicts, key=lambda verdict: (verdict.time, verdict.id))


def _refusals(data_set: str, found: Comparison, control: Sequence[Entry], now: datetime, store: str) -> list[str]:
    refused = []
    if found.gone:
        refused.append(
            f"{named([one.snapshot for one in found.gone])} must be there and {be(found.gone)} not. "
            f"Find out who removed what (`mainstay backup status`), then `mainstay backup accept {data_set} ID...`."
        )
    for future, word in ((False, "back-dated"), (True, "from the future")):
        if odd := [one for one in found.odd if one.future is future]:
            refused.append(
                f"{named([one.id for one in odd])} {be(odd)} {word}: {odd[0].why}. "
                f"Look at the host's clock and who was on it, then `mainstay backup accept {data_set} ID...`."
            )
    good = found.good()
    if not good:
        refused.append(f"no complete backup is there. Run `mainstay backup run {data_set}`.")
        return refused
    newest = good[-1].entry
    ended = good[-1].time if good[-1].wrong else newest.written
    done = of_this_repository(control, store)
    checks = [entry for entry in done if entry.kind == "check" and entry.store == store and entry.start <= now]
    if not any(entry.outcome == "ok" and entry.start >= ended for entry in checks):
        refused.append(f"the newest, {newest.snapshot[:8]}, is not verified. Run `mainstay backup verify {data_set}`.")
    if found_damage := damage(control, store, now):
        refused.append(
            f"{found_damage}, and that is not yet mended. "
            f"Follow docs/runbooks/verification-failed.md, then run `mainstay backup verify {data_set}`."
        )
    return refused
