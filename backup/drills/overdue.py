"""Which data sets are not drilled as they should be: no new enough proof, or a last drill that went wrong. Pure.

A drill that went wrong is told until a newer one goes well: of a planted fault that was not caught, one in which that
fault is caught. One that proved nothing, as it could not start or was given up, is over with any newer good one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backup.data_set import Kind, Subject
from backup.drills.report import Outcome, Report, outcome, proof
from backup.expected import SKEW
from backup.rules import Told, ago, span

GRACE = timedelta(hours=12)
"""What a weekly timer and the length of a drill may add to its limit."""
BAD = {
    Outcome.FAILED: Kind.DRILL_FAILED,
    Outcome.OVER_BUDGET: Kind.DRILL_FAILED,
    Outcome.COULD_NOT_START: Kind.NOT_DRILLED,
    Outcome.ABANDONED: Kind.NOT_DRILLED,
}
CAUGHT, UNCAUGHT, RUNNING = "fault caught", "fault not caught", "running"
WORDS = (*(one.word for one in Outcome), CAUGHT, UNCAUGHT, RUNNING)
"""All that `word` says."""


@dataclass(frozen=True)
class Wanted:
    """What is asked of a data set's drills."""

    data_set: str
    """HOST:PLAN."""
    within_days: int | None = 7
    """So old the last one that proved it may be; None: there is no limit."""
    since: datetime | None = None
    """When its first complete backup began; None: there is nothing to prove yet."""
    faults: tuple[str, ...] = ()
    """Those that are still planted in drills of it."""


def of(found: Sequence[Report], data_set: str, now: datetime) -> list[Report]:
    """A data set's drills, newest first, but for those that are dated in the future."""
    return [one for one in found if one.data_set == data_set and one.begun <= now + SKEW]


def word(report: Report, now: datetime) -> str:
    """How a drill ended: its outcome's word, or that a planted fault was (not) caught; `running` before that."""
    if report.fault and report.caught is not None:
        return CAUGHT if report.caught else UNCAUGHT
    if report.outcome is None and report.ended is None and now < report.expires:
        return RUNNING
    return report.outcome or Outcome.ABANDONED.word


def trouble(report: Report, now: datetime) -> Kind | None:
    """What it means that a drill ended so; None: nothing, or it runs."""
    shown = word(report, now)
    if shown == UNCAUGHT:
        return Kind.DRILL_FAILED
    return None if shown in (CAUGHT, RUNNING) else BAD.get(outcome(shown))


def due(wanted: Wanted, own: Sequence[Report]) -> datetime | None:
    """Until when it has to be proved again. own: its drills, newest first."""
    last = newest.begun if (newest := proof(own)) else wanted.since
    return last + timedelta(days=wanted.within_days) if last and wanted.within_days else None


def overdue(wanted: Wanted, found: Sequence[Report], now: datetime) -> Told:
    """What is wrong with a data set's drills. found: newest first, of others too."""
    own = of(found, wanted.data_set, now)
    for one, kind in _bad(wanted, own, now):
        planted = f" with the fault {one.fault!r}" if one.fault else ""
        shown = word(one, now)
        meaning = "the checks do not see what they are there for" if shown == UNCAUGHT else outcome(shown).meaning
        at = f" in its phase {one.phase}" if one.phase else ""
        why = f": {one.why}" if one.why else ""
        what = f"the drill{planted} of {ago(one.begun, now)} ended as `{shown}`{at}{why} ({meaning})"
        next_step = one.next_step or f"mend that, then `mainstay drill run {one.data_set}`."
        yield kind, what, f"`mainstay drill show {one.id}` has all of it; {next_step}", Subject(one.fault or "last")
    limit = due(wanted, own)
    if limit is None or now <= limit + GRACE:
        return
    last = proof(own)
    had = f"the last drill that did is of {ago(last.begun, now)}" if last else "no drill ever did"
    since = "" if last else f", and its first backup is of {ago(wanted.since or now, now)}"
    what = f"it was not proved that its backup can be restored: {had}{since}; allowed are {wanted.within_days} days"
    yield Kind.NOT_DRILLED, what, f"`mainstay drill run {wanted.data_set}`; {span(now - limit)} overdue."


def _bad(wanted: Wanted, own: Sequence[Report], now: datetime) -> Iterator[tuple[Report, Kind]]:
    """The newest drill of the backup itself and of each fault, where it went wrong and that is not over."""
    seen: set[str] = set()
    good = False
    for one in own:
        if word(one, now) == RUNNING or (one.rehearsed and not one.proved):
            continue  # a change that was rehearsed and went wrong says nothing of the backup
        kind = trouble(one, now)
        over = one.fault in seen or (good and kind == Kind.NOT_DRILLED)
        if kind and not over and one.fault in ("", *wanted.faults):
            yield one, kind
        seen.add(one.fault)
        good = good or kind is None
