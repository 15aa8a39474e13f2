"""Which snapshots to keep, why, and when nothing may be removed at all. Pure: it removes nothing itself.

The clock has no part in the choice: days, weeks and months are counted by the backups that there are. A plan that keeps
seven daily ones keeps seven, however long ago the last was made.

What stands in for what goes must have been verified. So a plan is applied to what the last sound check of the store can
have seen, as if there were no more: what came after it had begun stays, and pushes nothing out. Needed is a check that
ended within 18 hours, and that saw a complete backup.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backup.coverage import damage, of_this_repository
from backup.entry import Entry
from backup.expected import Comparison, Dated, compare
from backup.restic_results import Snapshot
from backup.rules import ago, named, span
from backup.sizes import be, counted

MAX_SHARE = 0.98
"""Of all snapshots of a data set, the most that one run may remove, unless an admin says otherwise. Thinned out every
month, a half-hourly plan loses 96 % of them."""
VERIFIED_WITHIN = timedelta(hours=18)
"""Since the end of the check that is gone by: one of the night does for the day after it."""


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
        lines = [f"{self.data_set}: {does} {keeps} of {counted(len(self.verdicts), 'snapshot')}"]
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
    check, came = _last_check(control, store, now), _came(found, control, store, now)
    there = [one for one in found.backups if one.entry.snapshot in found.there]
    seen = [one for one in there if check is None or came[one.entry.snapshot] <= check.start]
    verdicts = _verdicts(found, seen, chosen(seen, keep), listed)
    refused = _refusals(f"{host}:{plan}", found, came, check, now)
    if found_damage := damage(control, store, now):
        refused.append(
            f"{found_damage}, and that is not yet mended. "
            f"Follow docs/runbooks/verification-failed.md, then run `mainstay backup verify {host}:{plan}`."
        )
    if disputed:
        refused.insert(0, f"the host's ledger is disputed: {disputed}. Settle that first; see the findings of status.")
    removals = sum(not one.keep for one in verdicts)
    if removals > max_share * len(verdicts):
        refused.append(
            f"{removals} of {counted(len(verdicts), 'snapshot')} would go, more than {max_share:.0%}. "
            "Look at each with --dry; if it is right, allow it for this run: --max-share 1."
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


def _last_check(control: Sequence[Entry], store: str, now: datetime) -> Entry | None:
    """The sound check to go by: the one begun last, of late if any is. One from the future proves nothing."""
    checks = [
        entry
        for entry in of_this_repository(control, store, now)
        if (entry.kind, entry.store, entry.outcome) == ("check", store, "ok") and entry.start <= now
    ]
    return max(checks, key=lambda entry: (_of_late(entry, now), entry.start), default=None)


def _of_late(check: Entry, now: datetime) -> bool:
    return now - check.written <= VERIFIED_WITHIN


def _came(found: Comparison, control: Sequence[Entry], store: str, now: datetime) -> dict[str, datetime]:
    """By when each backup that is there surely was, by the ledger's ids: copied ones by the end of their last copy."""
    copied: dict[str, datetime] = {}
    for entry in control:
        if (entry.kind, entry.store) == ("copy", store):
            copied |= {one: max(entry.written, copied.get(one, entry.written)) for one in entry.ids}
    came = {}
    for one in found.backups:
        made = one.time if one.wrong else one.entry.written
        came[one.entry.snapshot] = max(made, copied.get(one.entry.snapshot, now if store == "copy" else made))
    return came


def _sound(one: Dated) -> bool:
    return one.entry.outcome == "ok" and not one.wrong


def _day(time: datetime) -> str:
    return f"{time:%Y-%m-%d}"


def _week(time: datetime) -> str:
    return f"{time:%G-%V}"


def _month(time: datetime) -> str:
    return f"{time:%Y-%m}"


def _verdicts(
    found: Comparison, seen: Sequence[Dated], reasons: dict[str, list[str]], listed: Sequence[Snapshot]
) -> list[Verdict]:
    recorded = found.doubles | {snapshot.id: identity for identity, snapshot in found.there.items()}
    times = {one.entry.snapshot: one.time for one in found.backups}
    unfinished = {one.id for one in found.unfinished}
    old = {one.entry.snapshot for one in seen}
    newest = max((one.time for one in seen if _sound(one)), default=None)
    verdicts = []
    for one in listed:
        known = recorded.get(one.id, "")
        time = times.get(known, one.time)
        if why := reasons.get(known):
            keep, words = True, ", ".join(why)
        elif known in old:
            keep, words = False, "none of those that the plan keeps"
        elif known in times:
            keep, words = True, "came after the last check"
        elif one.id in unfinished and newest and one.time < newest:
            keep, words = False, "made by a run that was killed; a later backup is complete"
        elif one.id in unfinished:
            keep, words = True, "made by a run that was killed, and no complete and verified one is newer"
        else:
            keep, words = True, "not in the ledger"
        if one.id in found.doubles:
            words = f"the same as {found.there[known].id[:8]}: {words}"
        verdicts.append(Verdict(one.id, known, time, keep, words))
    return sorted(verdicts, key=lambda verdict: (verdict.time, verdict.id))


def _refusals(
    data_set: str, found: Comparison, came: Mapping[str, datetime], check: Entry | None, now: datetime
) -> list[str]:
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
    verify = f"Run `mainstay backup verify {data_set}`."
    words = f"the newest, {good[-1].entry.snapshot[:8]}"
    times = [came[one.entry.snapshot] for one in good]
    late = check is None or not _of_late(check, now)
    if check is None or check.start < (times[-1] if late else min(times)):
        refused.append(f"{words}, is not verified. {verify}")
    elif late:
        refused.append(
            f"{words}, was verified {ago(check.written, now)}, allowed are {span(VERIFIED_WITHIN)}. {verify}"
        )
    return refused
