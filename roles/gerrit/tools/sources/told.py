"""What an audit of sources found, for people and for programs. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from backup.rules import span
from backup.sizes import counted
from roles.gerrit.tools.sources.audit import Verdict, exit_code
from roles.gerrit.tools.sources.findings import Finding


@dataclass(frozen=True)
class Audited:
    """A manifest, as people know it, and what was found; remotes: of it, those that were audited."""

    manifest: str
    remotes: tuple[str, ...]
    verdict: Verdict


def wrong(found: Sequence[Audited]) -> list[Finding]:
    """All that fails."""
    return [finding for one in found for finding in one.verdict.wrong]


def asked(one: Audited, now: datetime) -> str:
    """What was looked at, in a line."""
    verdict = one.verdict
    of = f"{verdict.projects} of {verdict.of} projects, of {', '.join(one.remotes) or 'no remote'}"
    repositories = counted(verdict.repositories, "repository", "repositories")
    words = [of, f"{repositories}, {counted(verdict.pointers, 'file')} of LFS"]
    if read := verdict.coverage:
        waits = f", the oldest unread for {span(now - read.oldest)}" if read.oldest and read.share < 1 else ""
        late = " (overdue)" if read.overdue else ""
        words.append(f"{verdict.read} read now, {read.share:.0%} within 30 days{waits}{late}")
    return f"{'; '.join(words)}; {verdict.seconds:.0f} s"


def verdict_line(found: Sequence[Audited]) -> str:
    """All in one line."""
    failing = wrong(found)
    checked = counted(sum(one.verdict.projects for one in found), "project")
    of = f"{checked} of {counted(len(found), 'manifest')}"
    return f"{counted(len(failing), 'finding')}: {of}" if failing else f"clean: {of}"


def as_json(found: Sequence[Audited], now: datetime) -> dict[str, object]:
    """For programs. Times in ISO 8601."""
    failing = wrong(found)
    return {
        "time": now.isoformat(),
        "clean": not failing,
        "exit_code": exit_code(failing),
        "manifests": [_manifest(one) for one in found],
        "findings": [{"manifest": one.manifest, **each.as_json()} for one in found for each in one.verdict.findings],
    }


def _manifest(one: Audited) -> dict[str, object]:
    verdict, read = one.verdict, one.verdict.coverage
    return {
        "manifest": one.manifest,
        "remotes": list(one.remotes),
        "projects": verdict.projects,
        "projects_of_manifest": verdict.of,
        "repositories": verdict.repositories,
        "lfs_files": verdict.pointers,
        "seconds": round(verdict.seconds, 3),
        "read": verdict.read,
        "read_ratio": round(read.share, 4) if read else None,
        "read_oldest": read.oldest.isoformat() if read and read.oldest else None,
        "read_overdue": read.overdue if read else None,
    }
