"""A whole site, put together: all its sources at the same time, and what needs a person first.

A source is added by its `SOURCE` in `SOURCES`, in the order in which things are equally bad.
"""

import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from backup.reach import Unreachable
from backup.sizes import clean, counted
from backup.trouble import said
from doctor.told import LateError, within
from inventories.errors import InputError
from inventories.inventory import LoadedSite
from roles.common.publishing.servers import Away
from status import backups, control, deploys, drift, hosts, people, releases, review, website
from status.told import Finding, Seen, Severity, Source, in_order, unseen

SOURCES: tuple[Source, ...] = (
    hosts.SOURCE,
    drift.SOURCE,
    deploys.SOURCE,
    backups.SOURCE,
    control.SOURCE,
    releases.SOURCE,
    website.SOURCE,
    review.SOURCE,
    people.SOURCE,
)
BOUND_S = 300
"""How long a source may take; what it has not shown then is told as not seen."""
RUNBOOK = re.compile(r"`?docs/runbooks/([a-z0-9-]+)\.md`?")


@dataclass(frozen=True)
class Looked:
    """A source, and what was seen there. why: it cannot be seen, empty if it can; late: it was not waited for."""

    source: Source
    seen: Seen
    why: str = ""
    late: bool = False


@dataclass(frozen=True)
class Whole:
    """All that was seen of a site at a time."""

    site: str
    time: datetime
    looked: Sequence[Looked]

    @property
    def findings(self) -> list[tuple[str, Finding]]:
        """All that needs a person, with the name of its source: the worst first."""
        found = [(one.source.name, finding) for one in self.looked for finding in one.seen.findings]
        order = in_order([finding for _, finding in found])
        names = {id(finding): name for name, finding in found}
        return [(names[id(finding)], finding) for finding in order]

    @property
    def exit_code(self) -> int:
        """The worst finding's; 0 when nothing needs a person."""
        return next((finding.exit_code for _, finding in self.findings), 0)

    @property
    def late(self) -> bool:
        """Whether something is still being asked that was not waited for."""
        return any(one.late for one in self.looked)

    @property
    def verdict(self) -> str:
        """All in one line."""
        found = [finding.severity for _, finding in self.findings]
        if not found:
            return "Nothing needs a person"
        needs = f"{counted(len(found), 'thing')} {'needs' if len(found) == 1 else 'need'} a person"
        words = {Severity.UNSEEN: "not seen", Severity.CRITICAL: "critical"}
        return f"{needs}: {', '.join(f'{found.count(one)} {word}' for one, word in words.items())}"


def look(site: LoadedSite, sources: Sequence[Source] = SOURCES, bound_s: float = BOUND_S) -> Whole:
    """What there is to be seen of a site now. Raises nothing that a source raises."""
    now = datetime.now(UTC)
    pool = ThreadPoolExecutor(len(sources))
    try:
        looked = list(pool.map(lambda one: _looked(one, site, now, bound_s), sources))
    finally:
        pool.shutdown(wait=False)  # Ctrl-C waits for nobody
    return Whole(site.name, now, [one for one in looked if one])


def _looked(source: Source, site: LoadedSite, now: datetime, bound_s: float) -> Looked | None:
    """None where the site has no such thing."""
    try:
        if not source.applies(site):
            return None
        return Looked(source, within(partial(source.look, site, now), bound_s))
    except Exception as error:
        why = said(error) if not isinstance(error, Unreachable | Away | LateError) else str(error)
        to_do = f"`{source.more}`"
        if isinstance(error, InputError):
            why = f"{error.file}: {f'{error.field}: ' if error.field else ''}{error.problem}"
            to_do = f"{' '.join(error.hint.split())}; {to_do}" if error.hint else to_do
        why = " ".join(why.split())
        found = unseen(source.title, f"it cannot be seen: {why}", to_do)
        return Looked(source, Seen([found]), why, isinstance(error, LateError))


def to_do(finding: Finding) -> str:
    """What to do, in one line, with runbooks as the command that shows them."""
    return clean(RUNBOOK.sub(r"`mainstay runbook show \1`", " ".join(finding.to_do.split())))


def as_json(whole: Whole) -> dict[str, Any]:
    """For programs; docs/status.md tells the fields."""
    return {
        "site": whole.site,
        "time": whole.time.isoformat(),
        "exit_code": whole.exit_code,
        "findings": [_finding(name, one) for name, one in whole.findings],
        "sources": {
            one.source.name: {
                "seen": not one.why,
                "why": one.why,
                "notes": list(one.seen.notes),
                "tables": {
                    table.name: [{"name": row.name, **row.data} for row in table.rows] for table in one.seen.tables
                },
            }
            for one in whole.looked
        },
    }


def _finding(source: str, one: Finding) -> dict[str, Any]:
    return {
        "source": source,
        "about": one.about,
        "kind": one.kind,
        "severity": one.severity,
        "exit_code": one.exit_code,
        "what": one.what,
        "to_do": to_do(one),
    }


def for_programs(whole: Whole) -> str:
    """The same as text."""
    return json.dumps(as_json(whole), indent=2)
