"""What status found, as a file for the textfile collector of Prometheus' node exporter; backup/alerts has the rules."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from backup.data_set import Kind
from backup.drills.glance import Drilled
from backup.drills.overdue import WORDS, word
from backup.status import Row
from inventories.files import replace

Sample = tuple[str, dict[str, str], float]
"""Name, labels, value."""
HELP = {
    "mainstay_backup_status_time_seconds": "When the control side last looked at all data sets (Unix time).",
    "mainstay_backup_last_good_time_seconds": "When the newest complete backup in the vault began (0: there is none).",
    "mainstay_backup_rpo_seconds": "How old the newest complete backup may be.",
    "mainstay_backup_size_bytes": "How much the newest complete backup holds.",
    "mainstay_backup_files": "How many files the newest complete backup holds.",
    "mainstay_backup_snapshots": "How many snapshots the vault lists.",
    "mainstay_backup_read_ratio": "Share of the vault's packs that were read back within 30 days.",
    "mainstay_backup_oldest_unread_time_seconds": "Since when the pack that waits longest was not read back.",
    "mainstay_backup_copies": "In how many places there are complete backups: the vault, the second copy.",
    "mainstay_backup_copy_time_seconds": "When the newest backup in the second copy was made.",
    "mainstay_backup_finding": "1 while a data set has this finding.",
    "mainstay_certificate_not_after_time_seconds": "When the certificate ends that a web server shows by this name.",
    "mainstay_drill_last_proved_time_seconds": "When the newest drill that proved the backup began (0: there is none).",
    "mainstay_drill_within_seconds": "How old the newest drill that proved the backup may be.",
    "mainstay_drill_last_outcome": "1 for how the last drill ended.",
    "mainstay_drill_rpo_seconds": "How old what was restored was, in the newest drill that measured it.",
    "mainstay_drill_rpo_budget_seconds": "How old that may be.",
    "mainstay_drill_rto_seconds": "How long the recovery took, in the newest drill that measured it.",
    "mainstay_drill_rto_budget_seconds": "How long that may take.",
}


def render(rows: Sequence[Row], now: datetime) -> str:
    """The file's text. What is not known has no sample, a finding that is not there is 0."""
    return exposition(HELP, _samples(rows, now))


def exposition(help_: Mapping[str, str], found: Iterable[Sample]) -> str:
    """Gauges in Prometheus' text format, by name; help_: what each of them is."""
    samples: dict[str, list[str]] = {name: [] for name in help_}
    for name, labels, value in found:
        shown = ",".join(f'{label}="{_escaped(word)}"' for label, word in labels.items())
        samples[name].append(f"{name}{{{shown}}} {value:.15g}" if shown else f"{name} {value:.15g}")
    lines = []
    for name, said in help_.items():
        lines += [f"# HELP {name} {said}", f"# TYPE {name} gauge", *samples[name]]
    return "\n".join(lines) + "\n"


def write(path: Path, rows: Sequence[Row], now: datetime) -> None:
    """Puts the file where the node exporter reads it, whole or not at all."""
    replace(path, render(rows, now), 0o644)


def _samples(rows: Sequence[Row], now: datetime) -> Iterator[Sample]:
    yield "mainstay_backup_status_time_seconds", {}, now.timestamp()
    for row in rows:
        labels = {"host": row.plan.host, "plan": row.plan.name}
        last = row.last_good
        yield "mainstay_backup_last_good_time_seconds", labels, last.start.timestamp() if last else 0
        yield "mainstay_backup_rpo_seconds", labels, row.plan.rpo_hours * 3600
        if last:
            yield "mainstay_backup_size_bytes", labels, last.bytes
            yield "mainstay_backup_files", labels, last.files
        if row.snapshots is not None:
            yield "mainstay_backup_snapshots", labels, row.snapshots
        if row.coverage:
            yield "mainstay_backup_read_ratio", labels, row.coverage.share
            yield "mainstay_backup_oldest_unread_time_seconds", labels, row.coverage.oldest.timestamp()
        yield "mainstay_backup_copies", labels, bool(row.snapshots) + bool(row.newest_copy)
        if row.newest_copy:
            yield "mainstay_backup_copy_time_seconds", labels, row.newest_copy.timestamp()
        found = {one.kind for one in row.findings}
        for kind in Kind:
            yield "mainstay_backup_finding", labels | {"finding": kind.word, "severity": kind.severity}, kind in found
        for one in row.certificates:
            yield "mainstay_certificate_not_after_time_seconds", labels | {"name": one.name}, one.ends.timestamp()
        if row.drilled:
            yield from _drilled(row.drilled, labels, now)


def _drilled(drilled: Drilled, labels: dict[str, str], now: datetime) -> Iterator[Sample]:
    proved, last, measured = drilled.proved, drilled.last, drilled.measured
    yield "mainstay_drill_last_proved_time_seconds", labels, proved.begun.timestamp() if proved else 0
    if drilled.wanted.within_days:
        yield "mainstay_drill_within_seconds", labels, drilled.wanted.within_days * 86400
    if last:
        shown = word(last, now)
        for one in WORDS:
            yield "mainstay_drill_last_outcome", labels | {"outcome": one}, one == shown
    if measured and measured.rpo:
        yield "mainstay_drill_rpo_seconds", labels, measured.rpo.seconds
        yield "mainstay_drill_rpo_budget_seconds", labels, measured.rpo.budget_s
    if measured and measured.rto_seconds is not None:
        yield "mainstay_drill_rto_seconds", labels, measured.rto_seconds
        if measured.rto_budget_s is not None:
            yield "mainstay_drill_rto_budget_seconds", labels, measured.rto_budget_s


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
