"""The record of deploys that each host keeps: what it says of the last one. Pure.

A line of JSON for each event, and two for a deploy: `started`, with who, from where and what, and its end with the same
`id`: `finished`, `failed`, `stopped` (its run ended elsewhere: killed, interrupted, or another host failed) or `broken`
(its lock was). What has no end either runs still, or the host went down. An upgrade that reboots its host has
`rebooting` and `resumed` in between.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

RECORD = "/var/lib/mainstay/deploys.jsonl"
LOCK = "/run/mainstay-deploy.lock"
LOOK = f"flock -n -s {LOCK} true 2>/dev/null; echo $?; tail -n 50 {RECORD} 2>/dev/null; true"
"""Its first line is 1 while a deploy holds the lock: flock(1)."""
RUNNING, CUT_OFF = "running", "cut off"
ENDS = ("finished", "failed", "stopped", "broken")


@dataclass(frozen=True)
class Deployed:
    """Times in Unix seconds. git_user: as the clone names it; admin: who logged in. at: the operation that failed."""

    deploy: str
    result: str
    started: int
    ended: int | None
    admin: str
    git_user: str
    address: str
    machine: str
    commit: str
    dirty: bool
    changes: int | None
    at: str


def last(look: str) -> Deployed | None:
    """The last deploy by what LOOK said; None where there was none. A line that was cut off is passed over."""
    held, _, lines = look.partition("\n")
    entries = [*filter(None, map(_entry, lines.splitlines()))]
    started = next((one for one in reversed(entries) if one["event"] == "started"), None)
    if started is None:
        return None
    end = next((one for one in entries if one["id"] == started["id"] and one["event"] in ENDS), {})
    return Deployed(
        started["deploy"],
        end.get("event") or (RUNNING if held.strip() == "1" else CUT_OFF),
        started["time"],
        end.get("time"),
        started["admin"],
        started["git_user"],
        started["address"],
        started["machine"],
        started["commit"],
        started["dirty"],
        end.get("changes"),
        end.get("at", ""),
    )


def told(about: Mapping[str, Any]) -> str:
    """Who deploys what, from where and since when; `about` as the lock and `started` have it."""
    when = datetime.fromtimestamp(about["time"], UTC)
    person = f"{about['admin']} ({about['git_user']})" if about.get("git_user") else about["admin"]
    place = f"{about['address']} ({about['machine']})" if about.get("address") else about.get("machine", "its console")
    return f"{about['deploy']}, of {of(about)}, by {person} from {place}, since {when:%Y-%m-%d %H:%M:%S} UTC"


def of(about: Mapping[str, Any]) -> str:
    """The commit, for people."""
    if not about.get("commit"):
        return "no clone"
    return f"{about['commit']} and what was not committed" if about.get("dirty") else str(about["commit"])


def _entry(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and {"id", "event", "time"} <= found.keys() else None


def shown(found: Mapping[str, Deployed | None]) -> Sequence[tuple[str, ...]]:
    """A row for each host: host, when, deploy, result, changes, commit, by."""
    rows = []
    for name, one in sorted(found.items()):
        if one is None:
            rows.append((name, "never", "", "", "", "", ""))
            continue
        when = f"{datetime.fromtimestamp(one.started, UTC):%Y-%m-%d %H:%M}"
        result = f"{one.result} at {one.at}" if one.at else one.result
        by = f"{one.admin} ({one.git_user})" if one.git_user else one.admin
        changes = "" if one.changes is None else str(one.changes)
        rows.append((name, when, one.deploy, result, changes, of(vars(one)), f"{by}, {one.address or one.machine}"))
    return rows
