"""How all data sets are: plans, ledgers, repositories and the clock compared; as a table and as JSON.

A finding lasts as long as what it tells of: it is there again at each look until it is mended.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.markup import escape
from rich.table import Table

from backup.coverage import Coverage, coverage, first_good, first_held
from backup.data_set import Certificate, DataSet, Finding, Kind, Plan, Subject, key
from backup.drills.glance import Drilled
from backup.entry import Entry
from backup.expected import backups_of, compare, dated, settled_ids
from backup.rules import INTERVALS, ago, of_checks, of_sizes, of_the_copy, of_the_host, of_the_vault
from backup.sizes import clean, size
from backup.trouble import said


@dataclass(frozen=True)
class Row:
    """A data set at a glance. Sizes in bytes; None: there is none, or it is not known."""

    plan: Plan
    last_good: Entry | None
    """The newest complete backup that is in the vault (or, if that could not be asked, should be)."""
    next_due: datetime | None
    running_since: datetime | None
    coverage: Coverage | None
    snapshots: int | None
    newest_copy: datetime | None
    """When the newest backup that is in the second copy was made."""
    findings: tuple[Finding, ...]
    """The worst first."""
    unseen: tuple[str, ...] = ()
    """What of it could not be looked at, by what the keys of such findings begin with: it is not known to be over."""
    since: datetime | None = None
    """When its first backup began."""
    drilled: Drilled | None = None
    """Its drills; None: there are none at this site, or they are not known here."""
    certificates: tuple[Certificate, ...] = ()
    """Of its web server, where this is the control host."""


def status(data_sets: Iterable[DataSet], now: datetime) -> list[Row]:
    """All data sets, in the order given. One that cannot be judged is a finding, and the others are judged."""
    return [_judged(one, now) for one in data_sets]


def findings(rows: Sequence[Row]) -> list[Finding]:
    """All that is wrong, the worst first."""
    return list(in_order(one for row in rows for one in row.findings))


def in_order(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """The worst first."""
    order = list(Kind)
    return tuple(sorted(found, key=lambda one: order.index(one.kind)))


def exit_code(rows: Sequence[Row]) -> int:
    """The worst finding's; 0 if there is none."""
    return next((one.kind.exit_code for one in findings(rows)), 0)


def _judged(one: DataSet, now: datetime) -> Row:
    try:
        return _unseen(one.plan, one.unseen) if one.unseen else _row(one, now)
    except Exception as error:
        return _unseen(one.plan, said(error))


def _unseen(plan: Plan, why: str) -> Row:
    what = f"it could not be looked at, and nothing else is known of it: {why}"
    to_do = (
        "On the machine that keeps the record: is its disk full or read-only, are its files as they were? If it is by "
        f"what {plan.host} wrote, treat that as compromised: docs/runbooks/host-compromised.md."
    )
    finding = Finding(Kind.DISPUTED, plan.host, plan.name, what, to_do, Subject("look"))
    return Row(plan, None, None, None, None, None, None, (finding,), unseen=(plan.data_set,))


def _row(one: DataSet, now: datetime) -> Row:
    runs = [entry for entry in one.ledger if entry.kind == "backup"]
    since = first_good(runs)
    lines = dated(one.ledger, one.control, now)
    reads = {
        store: coverage(one.control, store, held, now)
        for store in (("vault", "copy") if one.has_copy else ("vault",))
        if (held := first_held(runs, one.control, store))
    }
    found = compare(one.ledger, one.control, one.vault, now, lines=lines) if one.vault is not None else None
    if found:
        good = found.good()
    else:
        removed = settled_ids(one.control, "retain", "vault")
        recorded = [dated for dated in backups_of(lines) if dated.entry.outcome == "ok"]
        good = sorted(
            (dated for dated in recorded if dated.entry.snapshot not in removed), key=lambda dated: dated.time
        )
    copied = compare(one.ledger, one.control, one.copy, now, "copy", lines) if one.copy is not None else None
    newest_copy = max((dated.time for dated in copied.good()), default=None) if copied else None
    told = [
        *of_the_host(one, runs, good, now),
        *of_the_vault(one, found),
        *of_sizes(one.plan, good),
        *(of_checks(one, since, lines, reads, now) if since else ()),
        *(of_the_copy(one, good, found, copied, now) if one.has_copy else ()),
    ]
    order = list(Kind)
    return Row(
        plan=one.plan,
        last_good=good[-1].entry if good else None,
        next_due=runs[-1].start + INTERVALS[one.plan.every] if runs else None,
        running_since=runs[-1].start if runs and runs[-1].outcome == "started" else None,
        coverage=reads.get("vault"),
        snapshots=len(one.vault) if one.vault is not None else None,
        newest_copy=newest_copy,
        findings=tuple(
            Finding(kind, one.plan.host, one.plan.name, what, to_do, *subject)
            for kind, what, to_do, *subject in sorted(told, key=lambda finding: order.index(finding[0]))
        ),
        unseen=tuple(key(one.plan.data_set, kind, place) for kind, place in _not_looked_for(one)),
        since=since,
    )


def _not_looked_for(one: DataSet) -> Iterator[tuple[Kind, str]]:
    """What can be wrong with a data set, and where, that is not known now: a store could not be asked."""
    for store, unasked in (("vault", one.vault is None), ("copy", one.has_copy and one.copy is None)):
        if unasked:
            yield from ((kind, store) for kind in (Kind.GONE, Kind.DAMAGED, Kind.BACK_DATED, Kind.FUTURE))
            yield from ((kind, "") for kind in (Kind.LATE, Kind.HALVED) if store == "vault")
            yield from ((kind, "") for kind in (Kind.COPY_BEHIND,) if store == "copy")


def as_table(rows: Sequence[Row], now: datetime) -> Table:
    """For people: a line a data set, its worst finding beside it."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("data set", "last good", "next", "size", "read back", "copy", "state"):
        table.add_column(name, overflow="fold")
    for row in rows:
        worst = row.findings[0] if row.findings else None
        state = "[green]ok[/]"
        if worst:
            colour = "red" if worst.kind.severity == "critical" else "yellow"
            words = ", ".join(dict.fromkeys(one.kind.word for one in row.findings))
            state = f"[{colour}]{words}[/]"
        table.add_row(
            escape(clean(row.plan.data_set)),
            ago(row.last_good.start, now) if row.last_good else "never",
            "running" if row.running_since else ago(row.next_due, now) if row.next_due else "-",
            size(row.last_good.bytes) if row.last_good else "-",
            f"{row.coverage.share:.0%}" if row.coverage else "-",
            ago(row.newest_copy, now) if row.newest_copy else "-",
            state,
        )
    return table


def as_text(rows: Sequence[Row]) -> str:
    """The findings in plain words (no markup), the worst first, each with what to do."""
    return "\n".join(
        f"{one.kind.word}: {clean(one.data_set)}: {clean(one.what)}\n  {clean(one.to_do)}" for one in findings(rows)
    )


def as_json(rows: Sequence[Row], now: datetime) -> dict[str, Any]:
    """For programs: all that the table shows, exact; times in ISO 8601, sizes in bytes."""
    return {
        "time": now.isoformat(),
        "exit_code": exit_code(rows),
        "data_sets": [
            {
                "host": row.plan.host,
                "plan": row.plan.name,
                "every": row.plan.every,
                "rpo_hours": row.plan.rpo_hours,
                "last_good": _iso(row.last_good.start) if row.last_good else None,
                "snapshot": row.last_good.snapshot if row.last_good else None,
                "bytes": row.last_good.bytes if row.last_good else None,
                "files": row.last_good.files if row.last_good else None,
                "next_due": _iso(row.next_due),
                "running_since": _iso(row.running_since),
                "snapshots": row.snapshots,
                "read_back": row.coverage.share if row.coverage else None,
                "oldest_unread": _iso(row.coverage.oldest) if row.coverage else None,
                "newest_copy": _iso(row.newest_copy),
                "last_proved": _iso(row.drilled.proved.begun) if row.drilled and row.drilled.proved else None,
                "certificates": [{"name": one.name, "ends": _iso(one.ends)} for one in row.certificates],
                "findings": [
                    {
                        "kind": one.kind.word,
                        "severity": one.kind.severity,
                        "exit_code": one.kind.exit_code,
                        "what": one.what,
                        "to_do": one.to_do,
                    }
                    for one in row.findings
                ],
            }
            for row in rows
        ],
    }


def _iso(time: datetime | None) -> str | None:
    return time.isoformat() if time else None
