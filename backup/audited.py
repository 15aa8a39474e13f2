"""What the last audit of the release servers found, as the control host's timer left it, as findings of data sets."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
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
LATE = timedelta(hours=13)
"""The timer has them audited every 4 hours."""
UNIT = "mainstay-control@audit.service"
SHOWN = 3
"""Findings of a server that people are told in full."""
TO_DO = "`mainstay release audit` says which files, and what to do: roles/release/README.md."


def findings(site: LoadedSite, now: datetime) -> Iterator[Finding]:
    """One for each server that is not as it should be, and one of this host's when the audit itself is not."""
    own = custody.control_host(site), custody.CONTROL_ROLE
    why = f"{UNIT} failed" if by_timer.ask(UNIT).get("ActiveState") == "failed" else ""
    try:
        told: dict[str, Any] = json.loads((FOLDER / FILE).read_text())
        age = now - datetime.fromisoformat(told["time"])
        yield from [*_servers(told, own, {str(one) for one in custody.data_sets(site.fleet)})]
        if age > LATE:
            why = why or f"the last one was {span(age)} ago"
    except FileNotFoundError:
        pass  # none has ended yet
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"what the last one found cannot be read: {said(error)}"
    if why:
        to_do = f"On {own[0]}: `journalctl -u {UNIT}`; once mended, `systemctl start {UNIT}`."
        yield Finding(Kind.RELEASE, *own, f"release servers are not audited: {why}", to_do, Subject("unit audit"))


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
        more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
        what = (
            f"{counted(len(found), 'finding')}{f' in the {where}' if where else ''}: {', '.join(lines[:SHOWN])}{more}"
        )
        yield Finding(Kind.RELEASE, *whose, what, TO_DO, Subject(where, tuple(lines)))
    for server in told["servers"]:
        if server["read_overdue"]:
            what = f"a package was not read since {server['read_oldest'][:10]}, though each is to be within 30 days"
            to_do = (
                f"On {server['name']}: `systemctl status mainstay-release-read.timer mainstay-release-read.service`."
            )
            yield Finding(Kind.UNREAD, server["name"], ROLE, what, to_do)
