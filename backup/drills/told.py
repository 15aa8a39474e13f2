"""A drill in words: for a terminal, for mail, and the figures that the page shows too. Pure."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from backup.drills.glance import Drilled
from backup.drills.overdue import word
from backup.drills.report import CheckRun, PhaseRun, Report
from backup.rules import ago
from backup.sizes import clean, counted, size
from backup.store import WORDS

SPARKS = "▁▂▃▄▅▆▇█"
UNITS = ((3600, "min", 60, "s", 1), (86400, "h", 3600, "min", 60))
"""Below so many seconds: a unit and its length, a smaller one and its length."""


def took(seconds: float) -> str:
    """A length of time in its two largest units: `42 s`, `12 min 05 s`, `3 h 04 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 or seconds == int(seconds) else f"{seconds:.1f} s"
    whole = round(seconds)
    for most, large, unit, small, part in UNITS:
        if whole < most:
            rest = whole % unit // part
            return f"{whole // unit} {large} {rest:02} {small}" if rest else f"{whole // unit} {large}"
    return counted(whole // 86400, "day")


def moment(time: datetime) -> str:
    """To the minute, in UTC."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def against(seconds: float | None, budget_s: float | None) -> str:
    """A length of time and what it may be: `12 min 05 s of 1 h`, with `, over` where it is more."""
    if seconds is None:
        return "-"
    if budget_s is None:
        return took(seconds)
    return f"{took(seconds)} of {took(budget_s)}{', over' if seconds > budget_s else ''}"


def rpo(report: Report | None) -> str:
    """How old what it restored was."""
    return against(report.rpo.seconds, report.rpo.budget_s) if report and report.rpo else "-"


def rto(report: Report | None) -> str:
    """How long the recovery took."""
    return against(report.rto_seconds, report.rto_budget_s) if report else "-"


def spark(times: Sequence[float]) -> str:
    """Times as a line of blocks, the longest the highest."""
    most = max(times, default=0)
    return "".join(SPARKS[round(max(one, 0) / most * (len(SPARKS) - 1)) if most > 0 else 0] for one in times)


def coverage(drilled: Drilled) -> str:
    """How much of the data the newest proof restored, and how many of its parts were restored of late."""
    source = drilled.proved.source if drilled.proved else None
    if not source:
        return "-"
    if source.parts == 1 and source.bytes == source.of_bytes:
        return f"all, {size(source.bytes)}"
    shown = f"{size(source.bytes)} of {size(source.of_bytes)}"
    if source.parts == 1:
        return shown
    sources = [one.source for one in drilled.own if one.proved and one.source]
    had = {one.part for one in sources[: source.parts] if one.parts == source.parts}
    return f"{shown}; {len(had)} of {source.parts} parts in the last {counted(source.parts, 'drill')}"


def looked_at(check: CheckRun) -> str:
    """How much a check looked at; "" where that is not counted."""
    if not check.of:
        return ""
    rest = f", all within {counted(check.within, 'drill')}" if check.within > 1 else ""
    return f"{check.covered:,} of {check.of:,}{rest}"


def phase_words(phase: PhaseRun) -> str:
    """How a phase went."""
    return "failed" if not phase.ok else "over budget" if phase.over else "done"


def source(report: Report) -> str:
    """What was restored, and from where."""
    one = report.source
    if not one:
        return "nothing was restored"
    part = f", part {one.part} of {one.parts}" if one.parts > 1 else ""
    copied = f" (a copy of {one.original[:8]})" if one.original != one.snapshot else ""
    behind = f", {counted(one.behind, 'complete backup')} newer" if one.behind else ""
    what = f"{counted(one.files, 'file')}, {size(one.bytes)}"
    if (one.files, one.bytes) != (one.of_files, one.of_bytes):
        what = f"{one.files:,} of {counted(one.of_files, 'file')}, {size(one.bytes)} of {size(one.of_bytes)}{part}"
    return f"snapshot {one.snapshot[:8]}{copied} of {WORDS[one.store]}, taken {moment(one.taken)}{behind}: {what}"


def facts(report: Report) -> list[tuple[str, str]]:
    """What is known of a drill beside its phases and checks, each with its name."""
    found = [
        ("data set", report.data_set),
        ("begun", f"{moment(report.begun)}, by {report.who}"),
        ("ended", moment(report.ended) if report.ended else "it has not"),
        ("restored", source(report)),
        ("recovery point (RPO)", rpo(report)),
        ("recovery time (RTO)", rto(report)),
    ]
    if report.fault:
        caught = {True: "caught", False: "not caught", None: "it did not come to that"}[report.caught]
        found.append(("fault planted", f"{report.fault}: {caught}"))
    if report.rehearsed:
        waits = (
            f"people wait {took(report.downtime_s)}" if report.downtime_s is not None else "it did not come to its end"
        )
        found.append(("rehearsed", f"{report.rehearsed}: {waits}"))
    if report.rpo and report.rpo.newest_restored:
        found.append(("newest change restored", moment(report.rpo.newest_restored)))
    if report.rpo and report.rpo.newest_saved:
        found.append(("newest change saved", moment(report.rpo.newest_saved)))
    if one := report.estimate:
        speed = f"{size(round(one.bytes_per_second))}/s"
        total = f"{took(one.total_seconds)} in all, of which {took(one.restore_seconds)} restore {size(one.bytes)}"
        found.append(("all of production (estimate)", f"{total} at {speed}"))
    if report.made:
        found.append(("made for it", "; ".join(_made(report))))
    if report.cost_usd:
        found.append(("cost", f"{report.cost_usd:.2f} USD"))
    if report.versions:
        found.append(("versions", ", ".join(f"{name} {version}" for name, version in report.versions.items())))
    return found


def _made(report: Report) -> Iterator[str]:
    for one in report.made:
        gb = f", {one.gb} GB" if one.gb else ""
        gone = (
            f"gone since {moment(one.gone)}" if one.gone else f"NOT GONE, may be removed from {moment(report.expires)}"
        )
        yield f"{one.kind} {one.name}{gb}: {gone}"


def as_text(report: Report, now: datetime) -> str:
    """All of a drill in plain words."""
    return "\n".join(clean(line) for line in _lines(report, now))


def _lines(report: Report, now: datetime) -> Iterator[str]:
    at = f" in its phase {report.phase}" if report.phase else ""
    yield f"drill {report.id}: {word(report, now)}{at}{f': {report.why}' if report.why else ''}"
    yield from (f"  reservation: {one}" for one in report.reservations)
    if report.next_step:
        yield f"  what to do: {report.next_step}"
    yield from ("", *(f"{name}: {value}" for name, value in facts(report)))
    if report.phases:
        yield from ("", "timeline, from its begin on")
    for phase in report.phases:
        offset = took(max(0, (phase.begun - report.begun).total_seconds()))
        yield f"  {phase.name:<9} +{offset:<12} {against(phase.seconds, phase.budget_s):<26} {phase_words(phase)}"
        yield from (f"            {told}" for told in phase.told)
    if report.checks:
        yield from ("", "checks")
    for check in report.checks:
        share = looked_at(check)
        yield f"  {check.name}: {check.outcome} in {took(check.seconds)}{f', {share}' if share else ''}"
        yield f"    proves that {check.proves}; compares with {check.compares}"
        yield from (f"    - {told}" for told in check.evidence)
    if report.log:
        yield from ("", f"log{at}")
        yield from (f"  {line}" for line in report.log.splitlines())


def verdict(all_: Sequence[Drilled]) -> str:
    """In a line."""
    found = [finding for one in all_ for finding in one.findings]
    if not all_:
        return "No data set is declared"
    if not found:
        return "Every backup is proved"
    critical = sum(finding.kind.severity == "critical" for finding in found)
    return f"{counted(len(found), 'finding')}, {critical or 'none'} critical"


def summary(all_: Sequence[Drilled], now: datetime) -> str:
    """All data sets in plain words, for mail: what is wrong first."""
    lines = [verdict(all_), ""]
    for one in all_:
        for finding in one.findings:
            lines += [f"{finding.kind.word}: {one.data_set}: {finding.what}", f"  {finding.to_do}", ""]
    for one in all_:
        lines += [one.data_set, f"  last proved: {ago(one.proved.begun, now) if one.proved else 'never'}"]
        if one.last:
            lines.append(f"  last drill: {word(one.last, now)}, {ago(one.last.begun, now)} ({one.last.id})")
        if one.measured:
            lines.append(
                f"  RPO {rpo(one.measured)}; RTO {rto(one.measured)}; last RTOs {', '.join(map(took, one.rtos))}"
            )
        lines.append(f"  next due: {next_due(one, now)}")
    return "\n".join(map(clean, lines)) + "\n"


def next_due(one: Drilled, now: datetime) -> str:
    """Until when it has to be proved again."""
    if not one.due:
        return "-"
    return ago(one.due, now) if one.due > now else f"{ago(one.due, now)}, overdue"


def as_json(one: Drilled) -> dict[str, object]:
    """A data set's drills for programs: times in ISO 8601, lengths of time in seconds."""
    measured, last, proved = one.measured, one.last, one.proved
    return {
        "data_set": one.data_set,
        "within_days": one.wanted.within_days,
        "last_proved": proved.begun.isoformat() if proved else None,
        "proved_by": proved.id if proved else None,
        "last": {"id": last.id, "begun": last.begun.isoformat(), "outcome": last.outcome} if last else None,
        "rpo_seconds": measured.rpo.seconds if measured and measured.rpo else None,
        "rpo_budget_s": measured.rpo.budget_s if measured and measured.rpo else None,
        "rto_seconds": measured.rto_seconds if measured else None,
        "rto_budget_s": measured.rto_budget_s if measured else None,
        "rtos": one.rtos,
        "next_due": one.due.isoformat() if one.due else None,
        "findings": [
            {"kind": finding.kind.word, "severity": finding.kind.severity, "what": finding.what, "to_do": finding.to_do}
            for finding in one.findings
        ],
    }
