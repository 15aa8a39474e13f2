"""Backups and drills, as `mainstay backup status` and `mainstay drill list` find them, and where backups lie."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509

from backup import control, custody, page
from backup.certificate import RENEW_DAYS, TLS_KEY
from backup.data_set import Kind, key
from backup.drills import book, glance, told
from backup.drills.overdue import word
from backup.drills.report import SITE
from backup.rules import ago
from backup.sizes import clean
from backup.status import Row as DataSet
from backup.status import as_json
from backup.store import COPY, VAULT, WORDS
from backup.watch import survey
from inventories.inventory import LoadedSite
from status.told import Cell, Finding, Notes, Row, Seen, Source, Table, iso, of_backup, state, unseen, warning

DRILLED = ("data set", "last proved", "last drill", "RPO", "RTO", "next due", "state")
STORED = ("store", "snapshots", "newest", "certificate", "state")


def applies(site: LoadedSite) -> bool:
    """Whether there is anything to be saved."""
    return bool(custody.data_sets(site.fleet))


def look(site: LoadedSite, now: datetime) -> Seen:
    """Raises InputError, OSError."""
    notes = Notes()
    rows = survey(site, control.wanted(site, []), notes)
    drills = _drills(site, rows, now, notes) if site.fleet.drill else []
    ends = x509.load_pem_x509_certificate(custody.certificate(site).encode()).not_valid_after_utc
    names = (VAULT, COPY) if site.fleet.backup.copy_ else (VAULT,)
    return together(site, rows, drills, names, ends, now, notes.said)


def together(
    site: LoadedSite,
    rows: Sequence[DataSet],
    drills: Sequence[glance.Drilled],
    stores: Sequence[str],
    ends: datetime,
    now: datetime,
    notes: Sequence[str],
) -> Seen:
    """Findings and tables. ends: when the vault's certificate does."""
    lying = [_stored(name, rows, ends, now, notes) for name in stores]
    tables = [Table("data_sets", "Data sets", page.LABELS, _data_sets(rows, now))]
    if drills:
        tables.append(Table("drills", "Drills", DRILLED, [_drilled(one, now) for one in drills]))
    tables.append(Table("stores", "Where backups lie", STORED, [row for row, _ in lying]))
    findings = [finding for _, found in lying for finding in found]
    findings += [of_backup(one) for row in rows for one in row.findings]
    findings += [of_backup(one) for drill in drills if drill.data_set == SITE for one in drill.findings]
    return Seen(findings, tables, notes)


def _drills(site: LoadedSite, rows: Sequence[DataSet], now: datetime, notes: Notes) -> list[glance.Drilled]:
    """By the reports that the survey has brought."""
    asked = glance.wanted(site.fleet, {row.plan.data_set: row.since for row in rows})
    return glance.glance(asked, book.reports(book.folder(site), notes), now)


def _data_sets(rows: Sequence[DataSet], now: datetime) -> list[Row]:
    of: list[dict[str, Any]] = as_json(rows, now)["data_sets"]
    return [Row(clean(row.plan.data_set), page.cells(row, now), _data(one)) for row, one in zip(rows, of, strict=True)]


def _data(one: dict[str, Any]) -> dict[str, Any]:
    """Findings stand with all others."""
    return {name: value for name, value in one.items() if name != "findings"}


def _drilled(one: glance.Drilled, now: datetime) -> Row:
    last = f"{word(one.last, now)} {ago(one.last.begun, now)}" if one.last else "-"
    proved = ago(one.proved.begun, now) if one.proved else "never"
    words = (proved, last, told.rpo(one.measured), told.rto(one.measured), told.next_due(one, now))
    cells: list[Cell] = [(each, "") for each in words]
    return Row(clean(one.data_set), [*cells, state([*map(of_backup, one.findings)])], _data(told.as_json(one)))


def _stored(
    name: str, rows: Sequence[DataSet], ends: datetime, now: datetime, notes: Sequence[str]
) -> tuple[Row, list[Finding]]:
    """The vault, or the second copy. notes: of why it was not asked."""
    words, found = WORDS[name], []
    reached = any(key(row.plan.data_set, Kind.GONE, name) not in row.unseen for row in rows)
    if not reached:
        found.append(unseen(words, _why(words, notes), "`mainstay doctor`; is it lost: `mainstay runbook list`."))
    if name == VAULT and ends < now + timedelta(days=RENEW_DAYS):
        to_do = f"`mainstay secrets rotate {TLS_KEY}`, then deploy the vault and all that it saves."
        found.append(warning(words, "certificate", f"its certificate ends {ago(ends, now)}", to_do))
    newest = max(filter(None, (_newest(name, row) for row in rows)), default=None)
    snapshots = sum(row.snapshots or 0 for row in rows) if name == VAULT and reached else None
    shown = (
        "-" if snapshots is None else f"{snapshots:,}",
        ago(newest, now) if newest else "-",
        ago(ends, now) if name == VAULT else "-",
    )
    data = {"store": name, "seen": reached, "snapshots": snapshots, "newest": iso(newest)}
    data["certificate_ends"] = iso(ends.astimezone(UTC)) if name == VAULT else None
    return Row(words, [*((one, "") for one in shown), state(found)], data), found


def _why(words: str, notes: Sequence[str]) -> str:
    """Why a store shows nothing: it cannot be used, or what is there cannot be listed, as without restic here."""
    for one in notes:
        _, there, rest = one.partition(f" in {words}: ")
        if one.startswith(words) or there:
            return " ".join((f"{words} cannot be looked at: {rest}" if there else one).split())
    return f"{words} did not answer"


def _newest(name: str, row: DataSet) -> datetime | None:
    if name == COPY:
        return row.newest_copy
    return row.last_good.start if row.last_good else None


SOURCE = Source("backups", "Backups", "mainstay backup status", applies, look)
