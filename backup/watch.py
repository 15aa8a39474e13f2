"""The control side's look at all backups: what it found becomes a page and metrics, and people are told.

A channel that fails stops nothing else, and is told to whoever runs this, and to the dead man's switch.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backup import control, custody, metrics, page
from backup.custody import DataSet
from backup.notify import Channels, NotTold, tell, watched
from backup.reach import reach, state
from backup.status import Row, as_json, findings, status
from inventories.files import replace
from inventories.inventory import LoadedSite

WEBHOOK, PING = "notify_webhook", "notify_ping"
"""Secrets, both addresses; without one its channel is off."""
TOLD = "told.json"
"""What the channels were told, in the folder of what is collected."""


@dataclass(frozen=True)
class Places:
    """Where findings are put; None: nowhere."""

    pages: Path | None = None
    """A folder, for backup.html and backup.json."""
    prometheus: Path | None = None
    """A file, for the node exporter."""


def survey(site: LoadedSite, data_sets: Sequence[DataSet], say: control.Say) -> list[Row]:
    """Collects ledgers, lists repositories and compares. What cannot be reached is told, and is a finding."""
    with reach(site) as way, way.stores(say) as stores:
        control.collect(way, data_sets, say)
        return status(control.look(way, stores, data_sets, say), datetime.now(UTC))


def watch(site: LoadedSite, places: Places, say: control.Say) -> bool:
    """One look, told to everybody; True if everybody could be told. The dead man's switch watches it."""
    problems: list[str] = []
    try:
        with watched(_address(site, PING), problems.append):
            rows = survey(site, control.wanted(site, ()), say)
            now = datetime.now(UTC)
            problems += put(rows, places, now, site.name)
            problems += tell(findings(rows), channels(site), state(site) / TOLD, now)
            if problems:
                raise NotTold("; ".join(problems))
    except NotTold:
        pass
    for problem in problems:
        say(problem)
    return not problems


def put(rows: Sequence[Row], places: Places, now: datetime, site: str) -> Iterator[str]:
    """Writes the files, each whole or not at all; yields what could not be written, and why."""
    shown = json.dumps(as_json(rows, now), indent=2) + "\n"
    if places.pages:
        yield from _problem(lambda folder: page.write(folder / "backup.html", rows, now, site), places.pages)
        yield from _problem(lambda folder: replace(folder / "backup.json", shown, 0o644), places.pages)
    if places.prometheus:
        yield from _problem(lambda file: metrics.write(file, rows, now), places.prometheus)


def channels(site: LoadedSite) -> Channels:
    """The webhook among the secrets, and the administrators' mail address of the control host, or of all hosts."""
    name = custody.control_host(site) or next(iter(site.fleet.hosts))
    mail: Any = getattr(site.settings(name)["base"], "mail", None)
    return Channels(_address(site, WEBHOOK), mail.admin if mail else "", site.name)


def _address(site: LoadedSite, secret: str) -> str:
    return site.secrets[secret].get_secret_value().strip() if secret in site.secrets else ""


def _problem(write: Any, place: Path) -> Iterator[str]:
    try:
        write(place)
    except OSError as error:
        yield f"{place}: {error.strerror}"
