"""What the last audit of the release servers found, as the control host's timer left it, as findings of data sets."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from backup import custody
from backup.data_set import Finding, Kind, Subject
from backup.drills import by_timer
from backup.rules import span
from backup.sizes import counted
from backup.trouble import said
from inventories.inventory import LoadedSite

FOLDER = Path("/srv/control/status")
FILE = "release.json"
"""As `mainstay release audit --status DIR` writes it."""
ROLE = "release"
SHOWN = 3
"""Findings of a place that people are told in full."""
TO_DO = "`mainstay release audit` says which files, and what to do: roles/release/README.md."

Told = dict[str, Any]


@dataclass(frozen=True)
class Timed:
    """An audit that a timer of the control host begins. unit: mainstay-control@UNIT; file: what it leaves; late: how
    old that may be; what: is audited."""

    unit: str
    file: str
    late: timedelta
    kind: Kind
    what: str

    def findings(self, site: LoadedSite, now: datetime, of: Callable[[Told], Iterable[Finding]]) -> Iterator[Finding]:
        """Those of what it told, and one of this host's when the audit itself is not as it should be."""
        unit = f"mainstay-control@{self.unit}.service"
        why, last = "", None
        try:
            told: Told = json.loads((FOLDER / self.file).read_text())
            last = datetime.fromisoformat(told["time"])
            yield from [*of(told)]
        except FileNotFoundError:
            pass  # none has ended yet
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            why = f"what the last one found cannot be read: {said(error)}"
        if by_timer.ask(unit).get("ActiveState") == "failed":
            why = f"{unit} failed"
        if why := why or self._late(last, now):
            own = custody.control_host(site), custody.CONTROL_ROLE
            to_do = f"On {own[0]}: `journalctl -u {unit}`; once mended, `systemctl start {unit}`."
            yield Finding(self.kind, *own, f"{self.what} are not audited: {why}", to_do, Subject(f"unit {self.unit}"))

    def _late(self, last: datetime | None, now: datetime) -> str:
        timer = f"mainstay-control@{self.unit}.timer"
        told = by_timer.ask(timer)
        if told.get("UnitFileState") == "enabled" and told.get("ActiveState") != "active":
            return f"{timer} is not running"
        on_since = told.get("ActiveEnterTimestamp", "").removeprefix("@")
        since = last or (datetime.fromtimestamp(int(on_since), UTC) if on_since.isdigit() else now)
        if now - since <= self.late:
            return ""
        return f"the last one was {span(now - since)} ago" if last else f"none has ended in {span(now - since)}"


AUDIT = Timed("audit", FILE, timedelta(hours=13), Kind.RELEASE, "release servers")
"""The timer has them audited every 4 hours."""


def findings(site: LoadedSite, now: datetime) -> Iterator[Finding]:
    """One for each server that is not as it should be, and one of this host's when the audit itself is not."""
    own = custody.control_host(site), custody.CONTROL_ROLE
    known = {str(one) for one in custody.data_sets(site.fleet)}
    yield from AUDIT.findings(site, now, lambda told: _servers(told, own, known))


def listed(lines: Sequence[str]) -> str:
    """The first of them, and how many more."""
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return f"{', '.join(lines[:SHOWN])}{more}"


def _servers(told: dict[str, Any], own: tuple[str, str], data_sets: set[str]) -> Iterator[Finding]:
    """What a repository has wrong is this host's, as it is no server's."""
    by_place: dict[tuple[tuple[str, str], str], list[dict[str, Any]]] = {}
    for one in told["findings"]:
        if one["fails"]:
            known = f"{one['server']}:{ROLE}" in data_sets
            place = ((one["server"], ROLE), "") if known else (own, one["server"])
            by_place.setdefault(place, []).append(one)
    for (whose, where), found in by_place.items():
        lines = [" ".join(filter(None, (one["kind"], one["path"]))) for one in found]
        what = f"{counted(len(found), 'finding')}{f' in the {where}' if where else ''}: {listed(lines)}"
        yield Finding(Kind.RELEASE, *whose, what, TO_DO, Subject(where, tuple(lines)))
    for server in told["servers"]:
        if server["read_overdue"]:
            what = f"a package was not read since {server['read_oldest'][:10]}, though each is to be within 30 days"
            to_do = (
                f"On {server['name']}: `systemctl status mainstay-release-read.timer mainstay-release-read.service`."
            )
            yield Finding(Kind.UNREAD, server["name"], ROLE, what, to_do)
