"""The control side's look at all backups: what it found becomes a page and metrics, and people are told.

A channel that fails stops nothing else, and is told to whoever runs this, and to the dead man's switch.
"""

import json
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Timer
from typing import Any

from backup import audited, audited_sources, control, custody, metrics, mirror, page, rotation, seen
from backup.custody import DataSet
from backup.data_set import Finding, Kind, Subject, key
from backup.drills import book, by_timer, glance
from backup.drills import page as drill_page
from backup.notify import Channels, NotTold, tell, watched
from backup.reach import reach, state
from backup.sizes import be
from backup.status import Row, as_json, findings, in_order, status
from backup.trouble import said
from inventories import files
from inventories.inventory import LoadedSite

WEBHOOK, PING = "notify_webhook", "notify_ping"
"""Secrets, both addresses; without one its channel is off."""
TOLD = "told.json"
"""What the channels were told, in the folder of what is collected."""
LOOK_S = 2 * 3600
"""How long a look may take before people are told that it does not end."""


@dataclass(frozen=True)
class Places:
    """Where findings are put; None: nowhere."""

    pages: Path | None = None
    """A folder, for backup.html and backup.json, and drills.html where the site has drills."""
    prometheus: Path | None = None
    """A file, for the node exporter."""


def survey(site: LoadedSite, data_sets: Sequence[DataSet], say: control.Say) -> list[Row]:
    """Collects ledgers, lists repositories and compares. What cannot be reached is told, and is a finding."""
    with reach(site) as way, way.stores(say) as stores:
        uncollected = control.collect(way, data_sets, say)
        rows = status(control.look(way, stores, data_sets, say, uncollected), now := datetime.now(UTC))
        if site.fleet.drill:
            rows = _with_drills(site, rows, now, say, fetched=book.bring(way, say))
    rows = [_with_rotation(site, row) for row in rows]
    if not site.control:
        return rows
    units = by_timer.failed(site) if site.fleet.drill else ()
    looks = seen.looks(site)
    audits = audited.findings(site, now) if site.fleet.with_role(audited.ROLE) else ()
    own = [*_mirrors(site, now), *units, *seen.findings(looks), *audits, *audited_sources.findings(site, now)]
    rows = _with_own(rows, own)
    return [replace(row, certificates=seen.shown(looks, row.plan.data_set)) for row in rows]


def _with_rotation(site: LoadedSite, row: Row) -> Row:
    """With a rotation that was broken off, which only admins can see: the control host holds no secrets of it."""
    left = rotation.unfinished(site, DataSet(row.plan.host, row.plan.name))
    if not left:
        return row
    what = f"the rotation of its password was broken off: {' and '.join(left)} {be(left)} in {site.secrets.path.name}"
    to_do = f"`mainstay backup rotate {row.plan.data_set}` goes on where it stopped."
    return replace(row, findings=(*row.findings, Finding(Kind.ROTATING, row.plan.host, row.plan.name, what, to_do)))


def _with_drills(site: LoadedSite, rows: Sequence[Row], now: datetime, say: control.Say, *, fetched: bool) -> list[Row]:
    """With what is wrong with the drills of each, by the reports that are here; fetched: these are all there are."""
    found = book.reports(book.folder(site), say)
    if not (found or fetched):
        kinds = (Kind.DRILL_FAILED, Kind.NOT_DRILLED)
        return [replace(row, unseen=(*row.unseen, *(key(row.plan.data_set, kind) for kind in kinds))) for row in rows]
    first = {row.plan.data_set: row.since for row in rows}
    asked = {one.data_set: one for one in glance.wanted(site.fleet, first)}
    told = []
    for row in rows:
        one = glance.drilled(asked[row.plan.data_set], found, now)
        told.append(replace(row, drilled=one, findings=in_order((*row.findings, *one.findings))))
    return told


def _with_own(rows: Sequence[Row], own: Sequence[Finding]) -> list[Row]:
    """With what only the control host looks for, each at its data set."""
    found = {row.plan.data_set: [one for one in own if one.data_set == row.plan.data_set] for row in rows}
    return [
        replace(row, findings=in_order((*row.findings, *more))) if (more := found[row.plan.data_set]) else row
        for row in rows
    ]


def _mirrors(site: LoadedSite, now: datetime) -> Iterator[Finding]:
    """What is wrong with the mirrors."""
    try:
        late = mirror.behind(mirror.declared(site), mirror.FOLDER, now)
        what = f"not fetched: {', '.join(late)}"
    except Exception as error:
        late, what = ["all"], f"they cannot be looked at: {said(error)}"
    if not late:
        return
    name = custody.control_host(site)
    to_do = f"On {name}: `journalctl -u mainstay-control@mirror`."
    subject = Subject(each=tuple(one.split()[0] for one in late))
    yield Finding(Kind.MIRROR_BEHIND, name, custody.CONTROL_ROLE, what, to_do, subject)


def watch(site: LoadedSite, places: Places, say: control.Say) -> bool:
    """One look, told to everybody; True if it went well and everybody could be told. A look that fails is told too.

    The dead man's switch watches it.
    """
    problems: list[str] = []
    try:
        with watched(_address(site, PING), problems.append):
            try:
                with _told_if_it_hangs(site, say):
                    rows = survey(site, control.wanted(site, ()), say)
            except Exception as error:
                say(traceback.format_exc())
                problems.append(f"the look failed: {said(error)}")
                found, unseen = [_failed(site, said(error))], _all(site)
            else:
                problems += put(rows, places, datetime.now(UTC), site.name)
                if site.fleet.drill and places.pages:
                    problems += _problem(lambda folder: drills(site, rows, folder / "drills.html", say), places.pages)
                found, unseen = findings(rows), [one for row in rows for one in row.unseen]
            problems += tell(found, channels(site), state(site) / TOLD, datetime.now(UTC), unseen)
            if problems:
                raise NotTold("; ".join(problems))
    except NotTold:
        pass
    for problem in problems:
        say(problem)
    return not problems


@contextmanager
def _told_if_it_hangs(site: LoadedSite, say: control.Say) -> Iterator[None]:
    """Tells people of a look that does not come to its end, as when a store answers and goes on answering for ever."""

    def tell_it() -> None:
        why = f"it has not come to its end within {LOOK_S / 3600:g} h"
        for problem in tell([_failed(site, why)], channels(site), state(site) / TOLD, datetime.now(UTC), _all(site)):
            say(problem)

    late = Timer(LOOK_S, tell_it)
    late.daemon = True
    late.start()
    try:
        yield
    finally:
        late.cancel()


def _all(site: LoadedSite) -> list[str]:
    return [str(one) for one in custody.data_sets(site.fleet)]


def _failed(site: LoadedSite, why: str) -> Finding:
    """That nothing could be looked at, as a finding of the record's own data set."""
    name = custody.control_host(site) or next(iter(site.fleet.hosts))
    what = f"the look at all backups failed, and nothing else is known: {why}"
    to_do = f"On {name}: `journalctl -u mainstay-control@watch`, then `mainstay backup status`."
    return Finding(Kind.UNLISTED, name, custody.CONTROL_ROLE, what, to_do, Subject("look"))


def put(rows: Sequence[Row], places: Places, now: datetime, site: str) -> Iterator[str]:
    """Writes the files, each whole or not at all; yields what could not be written, and why."""
    shown = json.dumps(as_json(rows, now), indent=2) + "\n"
    if places.pages:
        yield from _problem(lambda folder: page.write(folder / "backup.html", rows, now, site), places.pages)
        yield from _problem(lambda folder: files.replace(folder / "backup.json", shown, 0o644), places.pages)
    if places.prometheus:
        yield from _problem(lambda file: metrics.write(file, rows, now), places.prometheus)


def drills(site: LoadedSite, rows: Sequence[Row], path: Path, say: control.Say) -> None:
    """Writes the page of all drills that are known here."""
    now = datetime.now(UTC)
    found = book.reports(book.folder(site), say)
    asked = glance.wanted(site.fleet, {row.plan.data_set: row.since for row in rows})
    drill_page.write(path, glance.glance(asked, found, now), now, site.name)


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
    except Exception as error:
        yield f"{place}: {said(error)}"
