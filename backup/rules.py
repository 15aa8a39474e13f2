"""What makes a data set be not as it should be, each with words on what happened and what to do. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from backup.coverage import WITHIN, Coverage, Part, as_of, classes
from backup.data_set import DataSet, Kind, Plan, Subject
from backup.entry import Entry
from backup.expected import (
    SKEW,
    Comparison,
    Dated,
    Odd,
    accepted_ids,
    compared,
    has_found,
    holds_copies,
    last_compared,
    settled_ids,
)
from backup.sizes import be, counted
from backup.store import WORDS

INTERVALS = {"half-hourly": timedelta(minutes=30), "hourly": timedelta(hours=1), "daily": timedelta(days=1)}
GRACE = timedelta(hours=1)
"""What jitter, a reboot or a deploy may add to an interval."""
SILENT_AFTER = timedelta(hours=3)
"""Hosts are asked for their ledger every hour."""
COMPARED_WITHIN = timedelta(days=8)
"""The source is compared with its newest snapshot every week."""
RETAINED_WITHIN = timedelta(days=35)
"""Retention is run by an admin every month."""
COPIED_WITHIN = timedelta(hours=26)
"""Backups are copied every six hours; a day without the second copy may pass."""
HALVED_WITHIN = timedelta(days=7)
"""A size is compared with the largest of that time before."""

Told = Iterator[tuple[Kind, str, str, *tuple[Subject, ...]]]
"""What is wrong, what happened, what to do; and about what, where there can be several of a kind."""


def of_the_host(one: DataSet, runs: Sequence[Entry], good: Sequence[Dated], now: datetime) -> Told:
    """Whether its backups ran, in time and to their end."""
    plan = one.plan
    look = f"On {plan.host}: `journalctl -u mainstay-backup@{plan.name}`."
    again = f"`mainstay backup run {plan.data_set}`"
    if one.disputed:
        yield (
            Kind.DISPUTED,
            f"the ledger is not to be believed: {one.disputed}",
            "If the host was installed anew, give it its collected ledger back; if not, treat it as compromised: "
            "docs/runbooks/host-compromised.md.",
        )
    if one.uncollected:
        yield (
            Kind.DISPUTED,
            f"what its host wrote down cannot be taken into the record: {one.uncollected}",
            "On the machine that keeps the record: is its disk full or read-only, are its files as they were?",
            Subject("record"),
        )
    if one.heard is None:
        yield Kind.SILENT, "never answered", "Deploy its role; see whether it is up and reachable by SSH."
    elif now - one.heard > SILENT_AFTER:
        yield Kind.SILENT, f"last answered {ago(one.heard, now)}", "See whether it is up and reachable by SSH."
    if not runs:
        yield Kind.NEVER, "no backup was ever begun", f"Deploy its role, then {again}."
        return
    if not good and now - runs[0].start > timedelta(hours=plan.rpo_hours):
        yield (
            Kind.LATE,
            f"no complete backup, {ago(runs[0].start, now)} after the first attempt",
            f"{look} Then {again}.",
        )
    elif good and now - good[-1].time > timedelta(hours=plan.rpo_hours):
        what = f"the newest complete backup is of {ago(good[-1].time, now)}, allowed are {plan.rpo_hours} h"
        yield Kind.LATE, what, f"{look} Then {again}."
    elif now - runs[-1].start > 2 * INTERVALS[plan.every] + GRACE:
        what = f"runs {plan.every}, and the last began {ago(runs[-1].start, now)}"
        yield Kind.MISSED, what, f"On {plan.host}: `systemctl status mainstay-backup@{plan.name}.timer`."
    yield from _of_the_last_run(one, runs, good, now, look, again)


def _of_the_last_run(
    one: DataSet, runs: Sequence[Entry], good: Sequence[Dated], now: datetime, look: str, again: str
) -> Told:
    last = runs[-1]
    if last.outcome == "started":
        longest = max((run.entry.written - run.entry.start for run in good[-5:]), default=None)
        limit = timedelta(hours=one.plan.rpo_hours)
        if longest is not None:
            limit = min(limit, GRACE + 5 * longest)
        if now - last.start > limit:
            usually = f", the longest of late took {span(longest)}" if longest is not None else ""
            yield Kind.TOO_LONG, f"began {ago(last.start, now)} and has not ended{usually}", f"{look} Was it killed?"
        if len(runs) == 1:
            return
        last = runs[-2]
    if last.outcome == "started":
        yield Kind.FAILED, f"the run of {ago(last.start, now)} was killed: it left no end", f"{look} Then {again}."
    elif last.outcome in ("failed", "interrupted"):
        why = f": {last.error}" if last.error else ""
        yield Kind.FAILED, f"the run of {ago(last.start, now)} {_outcome(last)}{why}", f"{look} Then {again}."
    elif last.outcome == "incomplete":
        shown = "; ".join(f"{path}: {why}" for path, why in last.unread[:3]) or last.error
        yield (
            Kind.INCOMPLETE,
            f"{counted(last.unread_count, 'file')} could not be read: {shown}",
            "Make them readable or exclude them in the role's recovery.py. The rest is saved.",
        )


def of_the_vault(one: DataSet, found: Comparison | None) -> Told:
    """Whether the vault lists what it must, and nothing else."""
    if found is None:
        yield (
            Kind.UNLISTED,
            "the vault could not be asked for its snapshots",
            "`mainstay backup status` says why. See whether it is up, its disk and its certificate; if it is lost: "
            "docs/runbooks/vault-lost.md.",
        )
        return
    restore = "`mainstay backup restore` finds what the second copy has of them."
    yield from _of_a_listing(one, "vault", found, one.unreadable, found.odd, restore)


def _of_a_listing(
    one: DataSet, store: str, found: Comparison, unreadable: Sequence[str], odd: Sequence[Odd], to_do: str
) -> Told:
    """What is damaged, gone or strange. unreadable: by the store's own ids. to_do: about what is damaged or gone."""
    where, recorded = WORDS[store], {entry.snapshot for entry in one.ledger}
    gone = [entry.snapshot for entry in found.gone if entry.snapshot not in unreadable]
    if unreadable:
        many = f"{counted(len(unreadable), 'snapshot')} {be(unreadable)}"
        what = f"{many} in {where}, and cannot be read: {named(unreadable)}"
        hit = list(unreadable)
        # A copy has an id of its own, and a damaged one no longer says of what it is one.
        if gone and holds_copies(one.control, store) and len(gone) <= len(set(unreadable) - recorded):
            what, hit, gone = f"{what}; as it seems the copies of {named(gone)}", [*hit, *gone], []
        yield (
            Kind.DAMAGED,
            what,
            f"docs/runbooks/verification-failed.md. {to_do}",
            Subject(f"{store} snapshots", tuple(hit)),
        )
    if gone:
        yield (
            Kind.GONE,
            f"{counted(len(gone), 'snapshot')} {be(gone)} no longer in {where}: {named(gone)}",
            f"Find out who could delete there. {to_do} {accepting(one.plan)}",
            Subject(store, tuple(gone)),
        )
    for kind, future in ((Kind.BACK_DATED, False), (Kind.FUTURE, True)):
        if those := [snapshot for snapshot in odd if snapshot.future is future]:
            yield (
                kind,
                f"in {where}: {named([snapshot.id for snapshot in those])}: {those[0].why}",
                f"Look at the clock of {one.plan.host} (`timedatectl`) and who was on it. {accepting(one.plan)}",
                # Of a clock that is wrong the ledger tells more with each run: that is no news.
                Subject(store, tuple(snapshot.id for snapshot in those if snapshot.id not in recorded)),
            )


def of_sizes(plan: Plan, good: Sequence[Dated]) -> Told:
    """Whether the newest complete backup suddenly holds less than half."""
    if not good:
        return
    newest = good[-1].entry
    before = [one.entry for one in good[:-1] if good[-1].time - one.time <= HALVED_WITHIN or one is good[-2]]
    for word, now_is, was in (
        ("byte", newest.bytes, max((run.bytes for run in before), default=0)),
        ("file", newest.files, max((run.files for run in before), default=0)),
    ):
        if now_is * 2 < was:
            yield (
                Kind.HALVED,
                f"{counted(now_is, word)}, after {was:,} within {HALVED_WITHIN.days} days before",
                f"See what is missing on {plan.host}. If it was meant, this ends by itself.",
            )
            return


def of_checks(
    one: DataSet, since: datetime, lines: Sequence[Dated], reads: Mapping[str, Coverage], now: datetime
) -> Told:
    """Whether it was read back, compared and thinned out in time. reads: of each store that has had data."""
    verify = f"`mainstay backup verify {one.plan.data_set}`"
    for store, read in reads.items():
        where = WORDS[store]
        if read.damage:
            to_do = f"docs/runbooks/verification-failed.md, then {verify}."
            yield Kind.DAMAGED, f"{where}: {read.damage}", to_do, Subject(store, _hit(read.damaged))
        tried = _last(one.control, "check", store, now)
        if tried and tried.outcome == "failed" and tried.start >= read.since:
            what = f"{where}: the check of {ago(tried.start, now)} failed: {tried.error}"
            yield Kind.UNVERIFIED, what, f"{verify} tries again.", Subject(f"{store} check")
        if read.overdue:
            what = f"{where}: part {read.part[0]}/{read.part[1]} was not read for {span(now - read.oldest)}"
            yield (
                Kind.UNVERIFIED,
                f"{what}, allowed are {WITHIN.days} days",
                f"{verify}; is the control host's timer on?",
                Subject(store),
            )
    done = compared(one.ledger)
    found = [entry for entry in done if has_found(entry)]
    look = f"On {one.plan.host}: `journalctl -u mainstay-backup-verify@{one.plan.name}`"
    if found and found[-1].outcome not in ("ok", "started"):
        what = f"the source is not as in its newest snapshot: {found[-1].error or found[-1].outcome}"
        yield Kind.DAMAGED, what, f"{look}, then {verify}.", Subject("source")
    if done and not has_found(done[-1]):
        what = f"the source could not be compared with its snapshot {ago(done[-1].start, now)}: {done[-1].error}"
        again = f"Then there: `systemctl start mainstay-backup-verify@{one.plan.name}`."
        yield Kind.UNVERIFIED, what, f"{look}. {again}", Subject("source check")
    newest = last_compared(lines)
    if now - (newest.time if newest else since) > COMPARED_WITHIN:
        last = f"last {ago(newest.time, now)}" if newest else "never"
        yield (
            Kind.UNVERIFIED,
            f"the source was compared with its snapshot {last}, allowed are {COMPARED_WITHIN.days} days",
            f"On {one.plan.host}: `systemctl status mainstay-backup-verify@{one.plan.name}.timer`.",
            Subject("source"),
        )
    retained = [
        entry.start
        for entry in one.control
        if (entry.kind, entry.store, entry.outcome) == ("retain", "vault", "ok") and entry.start <= now + SKEW
    ]
    if now - max(retained, default=since) > RETAINED_WITHIN:
        last = f"last run {ago(max(retained), now)}" if retained else "never run"
        yield (
            Kind.UNRETAINED,
            f"retention was {last}, allowed are {RETAINED_WITHIN.days} days",
            f"An admin: `mainstay backup retain {one.plan.data_set} --dry`, then without.",
        )


def of_the_copy(
    one: DataSet, good: Sequence[Dated], held: Comparison | None, copied: Comparison | None, now: datetime
) -> Told:
    """Whether the second copy has what it must, and nothing else. held: what the vault has."""
    again = f"`mainstay backup copy {one.plan.data_set}`"
    if copied is None:
        if good:
            what = "the second copy could not be asked for its snapshots"
            yield Kind.COPY_BEHIND, what, f"{again} says why.", Subject("unasked")
        return
    # What no clock can have made is told of the vault, by the ledger.
    told = {odd.id for odd in held.odd} if held else set()
    told |= {dated.entry.snapshot for dated in copied.backups if dated.wrong}
    odd = [odd for odd in copied.odd if odd.id not in told]
    to_do = f"{again} brings what the vault has of them."
    yield from _of_a_listing(one, "copy", copied, one.copy_unreadable, odd, to_do)
    settled = settled_ids(one.control, "copy", "copy") | settled_ids(one.control, "retain", "copy")
    settled |= copied.there.keys() | accepted_ids(one.control, "copy")
    have = [dated.time for dated in good if dated.entry.snapshot in copied.there]
    lacking = [dated for dated in good if dated.entry.snapshot not in settled]
    tried = _last(one.control, "copy", "copy", now)
    if lacking and tried and tried.outcome == "failed":
        what = f"the copy of {ago(tried.start, now)} failed: {tried.error}"
        yield Kind.COPY_BEHIND, what, f"{again} tries again.", Subject("failed")
    if missing := [dated for dated in lacking if now - dated.time > COPIED_WITHIN]:
        last = f"the newest there is of {ago(max(have), now)}" if have else "it has none"
        yield (
            Kind.COPY_BEHIND,
            f"{len(missing)} of the complete backups {be(missing)} not in the second copy; {last}",
            f"{again}.",
        )


def _last(done: Sequence[Entry], kind: str, store: str, now: datetime) -> Entry | None:
    """The newest attempt that came to its end or failed, by its time: an older one may be written down later."""
    found = [one for one in done if (one.kind, one.store) == (kind, store) and one.start <= now]
    ended = [one for one in found if one.outcome in ("ok", "damaged", "failed")]
    return max(reversed(ended), key=as_of, default=None)


def accepting(plan: Plan) -> str:
    """How an admin says that snapshots are as they are for a reason."""
    return f"If all is explained: `mainstay backup accept {plan.data_set} ID... --why TEXT`."


def named(ids: Iterator[str] | Sequence[str]) -> str:
    """Snapshots in short, the first five."""
    all_of_them = list(ids)
    more = f" and {len(all_of_them) - 5} more" if len(all_of_them) > 5 else ""
    return ", ".join(one[:8] for one in all_of_them[:5]) + more


def ago(time: datetime, now: datetime) -> str:
    """How long ago, as people say it."""
    return f"{span(now - time)} ago" if time <= now else f"in {span(time - now)}"


def span(length: timedelta) -> str:
    """A length of time in its largest fitting unit."""
    seconds = length.total_seconds()
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _hit(parts: Sequence[Part]) -> tuple[str, ...]:
    """The classes of packs in these parts: they stay the same, into however many parts a repository is divided."""
    return tuple(map(str, sorted({one for part in parts for one in classes(part)})))


def _outcome(entry: Entry) -> str:
    return "was interrupted" if entry.outcome == "interrupted" else "failed"
