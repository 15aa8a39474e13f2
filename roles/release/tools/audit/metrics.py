"""What an audit found, as a file for the textfile collector of Prometheus' node exporter."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from backup.metrics import Sample, exposition
from inventories.files import replace
from roles.release.tools.audit.audit import Verdict
from roles.release.tools.audit.findings import Kind

HELP = {
    "mainstay_release_audit_time_seconds": "When release servers were last audited (Unix time).",
    "mainstay_release_audit_duration_seconds": "How long that took.",
    "mainstay_release_audit_answers": "1 when the server answered as its clients ask it.",
    "mainstay_release_audit_findings": "How many findings of a kind there are; critical ones fail the audit.",
    "mainstay_release_audit_free_bytes": "Room on the server's volume.",
    "mainstay_release_audit_read_ratio": "Share of the server's packages, by bytes, that were read within 30 days.",
    "mainstay_release_audit_oldest_unread_time_seconds": "Since when the package that waits longest was not read.",
}


def render(verdict: Verdict, now: datetime) -> str:
    """The file's text. What is not known has no sample, a finding that is not there is 0."""
    return exposition(HELP, _samples(verdict, now))


def write(path: Path, verdict: Verdict, now: datetime) -> None:
    """Puts the file where the node exporter reads it, whole or not at all."""
    replace(path, render(verdict, now), 0o644)


def _samples(verdict: Verdict, now: datetime) -> Iterator[Sample]:
    yield "mainstay_release_audit_time_seconds", {}, now.timestamp()
    yield "mainstay_release_audit_duration_seconds", {}, verdict.seconds
    counts = Counter((one.server, one.kind) for one in verdict.findings)
    names = [one.name for one in verdict.servers]
    for name in (*names, *sorted({one.server for one in verdict.findings} - {*names})):
        for kind in Kind:
            labels = {"server": name, "finding": kind.word, "severity": kind.severity}
            yield "mainstay_release_audit_findings", labels, counts[name, kind]
    for one in verdict.servers:
        labels = {"server": one.name}
        yield "mainstay_release_audit_answers", labels, one.answers
        if one.free is not None:
            yield "mainstay_release_audit_free_bytes", labels, one.free
        if one.coverage:
            yield "mainstay_release_audit_read_ratio", labels, one.coverage.share
            if one.coverage.oldest:
                stamp = one.coverage.oldest.timestamp()
                yield "mainstay_release_audit_oldest_unread_time_seconds", labels, stamp
