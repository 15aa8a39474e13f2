"""What an audit of sources found, as a file for the textfile collector of Prometheus' node exporter."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from backup.metrics import Sample, exposition
from inventories.files import replace
from roles.gerrit.tools.sources.findings import Kind
from roles.gerrit.tools.sources.told import Audited

HELP = {
    "mainstay_sources_audit_time_seconds": "When the sources of manifests were last audited (Unix time).",
    "mainstay_sources_audit_duration_seconds": "How long that took.",
    "mainstay_sources_audit_projects": "How many projects of the manifest were audited.",
    "mainstay_sources_audit_findings": "How many findings of a kind there are; critical ones fail the audit.",
    "mainstay_sources_audit_read_ratio": "Share of all, by bytes, that was read whole within 30 days.",
    "mainstay_sources_audit_oldest_unread_time_seconds": "Since when what waits longest was not read whole.",
}


def render(found: Sequence[Audited], now: datetime) -> str:
    """The file's text. What is not known has no sample, a finding that is not there is 0."""
    return exposition(HELP, _samples(found, now))


def write(path: Path, found: Sequence[Audited], now: datetime) -> None:
    """Puts the file where the node exporter reads it, whole or not at all."""
    replace(path, render(found, now), 0o644)


def _samples(found: Sequence[Audited], now: datetime) -> Iterator[Sample]:
    yield "mainstay_sources_audit_time_seconds", {}, now.timestamp()
    for one in found:
        verdict, labels = one.verdict, {"manifest": one.manifest}
        yield "mainstay_sources_audit_duration_seconds", labels, verdict.seconds
        yield "mainstay_sources_audit_projects", labels, verdict.projects
        counts = Counter(each.kind for each in verdict.findings)
        for kind in Kind:
            more = {"finding": kind.word, "severity": kind.severity}
            yield "mainstay_sources_audit_findings", labels | more, counts[kind]
        if read := verdict.coverage:
            yield "mainstay_sources_audit_read_ratio", labels, read.share
            if read.oldest:
                yield "mainstay_sources_audit_oldest_unread_time_seconds", labels, read.oldest.timestamp()
