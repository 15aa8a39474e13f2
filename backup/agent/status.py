"""`status`: every plan of this host, from its ledger and systemd's timers. Asks no repository."""

import json
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backup.agent import plan as plans
from backup.agent.plan import RESTORE, PlanError
from backup.agent.state import State
from backup.entry import Entry
from backup.ledger import LedgerError

TIMER = "mainstay-backup@{}.timer"


def status(plan_folder: Path, state_folder: Path, now: datetime) -> list[dict[str, Any]]:
    """What is known of each plan, ready for JSON; `error` says why of one nothing can be said. Times are UTC."""
    timers = next_runs()
    found = []
    for name in plans.names(plan_folder):
        state = State(state_folder / name)
        try:
            plan = plans.load(plan_folder, name)
            told = judged(state.entries(), plan.rpo_hours, now) | {"host": plan.host, "rpo_hours": plan.rpo_hours}
            told |= {"may": plan.may} | ({"late": False} if plan.may == RESTORE else {})
        except (PlanError, LedgerError, OSError) as error:
            told = {"error": str(error)}
        next_run = timers.get(TIMER.format(name))
        found.append({"plan": name, "running": state.running(), "next": next_run and _said(next_run)} | told)
    return found


def judged(entries: Iterable[Entry], rpo_hours: int, now: datetime) -> dict[str, Any]:
    """The last entry of each kind, the last good backup, and whether it is older than promised."""
    last: dict[str, dict[str, Any]] = {}
    good: Entry | None = None
    for entry in entries:
        last[entry.kind] = {
            "outcome": entry.outcome,
            "start": _said(entry.start),
            "end": entry.end and _said(entry.end),
            "snapshot": entry.snapshot,
            "files": entry.files,
            "bytes": entry.bytes,
            "unread_count": entry.unread_count,
            "error": entry.error,
        }
        if entry.kind == "backup" and entry.outcome == "ok":
            good = entry
    age_h = (now - good.start).total_seconds() / 3600 if good else None
    return {
        "last": last,
        "good": good and {"start": _said(good.start), "snapshot": good.snapshot},
        "age_hours": age_h if age_h is None else round(age_h, 2),
        "late": age_h is None or age_h > rpo_hours,
    }


def next_runs() -> dict[str, datetime]:
    """When each timer elapses next, as systemd says; none where there is no systemd."""
    words = ["systemctl", "list-timers", "--all", "--output=json", TIMER.format("*")]
    try:
        said = subprocess.run(words, capture_output=True, check=True, timeout=10).stdout
        timers = json.loads(said)
    except (OSError, ValueError, subprocess.SubprocessError):
        return {}
    return {timer["unit"]: datetime.fromtimestamp(timer["next"] / 1e6, UTC) for timer in timers if timer.get("next")}


def lines(told: Iterable[dict[str, Any]]) -> Iterable[str]:
    """The same for people: a line a plan, and one for what is wrong with it."""
    for one in told:
        if "error" in one:
            yield f"{one['plan']}: {one['error']}"
            continue
        yield from _restoring(one) if one["may"] == RESTORE else _saving(one)
        for kind, entry in one["last"].items():
            if entry["error"]:
                yield f"  {kind} of {entry['start']}: {entry['error']}"


def _restoring(one: dict[str, Any]) -> Iterable[str]:
    last = one["last"].get("restore")
    yield f"{one['plan']}: restores only, saves nothing; last restore {last['outcome'] if last else 'none'}"


def _saving(one: dict[str, Any]) -> Iterable[str]:
    last = one["last"].get("backup")
    good = f"last good {one['good']['start']} ({one['age_hours']:.1f} h ago)" if one["good"] else "no good backup yet"
    now = "running now" if one["running"] else f"next {one['next'] or 'never: no timer'}"
    ended = last["outcome"] if last else "none"
    yield f"{one['plan']}: {good}{', LATE' if one['late'] else ''}; last run {ended}; {now}"


def _said(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
