"""What the control host looks for by itself: its last look at everything, and the last audits of releases and sources.

It leaves that in files, which are fetched here by one command.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from backup import audited, audited_sources, custody
from backup.data_set import Kind
from backup.reach import answer, reach
from backup.rules import ago
from backup.sizes import counted
from backup.trouble import said
from inventories.inventory import LoadedSite
from status.told import Cell, Finding, Row, Seen, Severity, Source, Table, critical, state, unseen

LOOK = "backup.json"
LOOKED_WITHIN = timedelta(hours=3)
"""It looks every hour."""
OWN = {one.word: one for one in (Kind.RELEASE, Kind.UNREAD, Kind.SOURCES, Kind.SOURCES_UNREAD, Kind.MIRROR_BEHIND)}
"""What it alone finds; and that its units failed."""
UNIT = "mainstay-control@"
TIMER = ("systemctl", "show", "--timestamp=unix", "--property=ActiveEnterTimestamp", "--value", f"{UNIT}watch.timer")
PROGRAM = f"""
import json, pathlib, subprocess, sys
folder, *names = map(pathlib.Path, sys.argv[1:])
texts = {{str(name): (folder / name).read_text() if (folder / name).exists() else None for name in names}}
print(json.dumps([texts, subprocess.run({TIMER!r}, capture_output=True, text=True, check=True).stdout.strip()]))
""".encode()
"""Its files, and since when its timer runs, as `@` and Unix seconds."""
ASK_S = 60
LABELS = ("look", "ended", "of", "state")
Told = Mapping[str, Any]


def applies(site: LoadedSite) -> bool:
    """Whether the site has a control host."""
    return bool(custody.control_host(site))


def look(site: LoadedSite, now: datetime) -> Seen:
    """Raises Unreachable, and ValueError for what is no answer."""
    name, files = custody.control_host(site), [LOOK]
    if site.fleet.with_role(audited.ROLE):
        files.append(audited.FILE)
    if audited_sources.declared(site):
        files.append(audited_sources.FILE)
    with reach(site) as way:
        words = ("sudo", "-n", "python3", "-I", "-", str(audited.FOLDER), *files)
        told, timer = json.loads(answer(way.admin(name, *words), name, ASK_S, PROGRAM).stdout)
    since = datetime.fromtimestamp(int(timer.removeprefix("@")), UTC) if timer else None
    return together(name, {one: told[one] for one in files}, now, since)


def together(name: str, texts: Mapping[str, str | None], now: datetime, since: datetime | None = None) -> Seen:
    """name: of the control host; texts: of files by name, None for one that is not there; since: when its timer began,
    None: it does not run."""
    findings, rows = [], []
    for file, text in texts.items():
        title, of = LOOKS[file]
        try:
            told = json.loads(text) if text else None
            found = [*_look(name, told, now, since)] if file == LOOK else []
            rows.append(_row(title, told, of(told) if told else "", found, now))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            what = f"{audited.FOLDER}/{file} is not to be understood: {said(error)}"
            found = [unseen(name, what, f"`mainstay ssh {name} sudo journalctl -u '{UNIT}*'`.")]
            rows.append(Row(title, [("-", ""), ("-", ""), state(found)], {"seen": False}))
        findings += found
    return Seen(findings, [Table("looks", "Last looks of the control host", LABELS, rows)])


def _look(name: str, told: Told | None, now: datetime, since: datetime | None) -> Iterator[Finding]:
    """What the last look at everything has found that nobody else can."""
    to_do = f"`mainstay ssh {name} sudo journalctl -u {UNIT}watch`; then `sudo systemctl start {UNIT}watch` there."
    if told is None:
        if since is None or now - since > LOOKED_WITHIN:
            yield critical(name, "look overdue", "it has not looked at anything yet, so it would tell nobody", to_do)
        return
    ended = datetime.fromisoformat(told["time"])
    if now - ended > LOOKED_WITHIN:
        yield critical(name, "look overdue", f"it looked last {ago(ended, now)}, and tells nobody of what began", to_do)
    for data_set in told["data_sets"]:
        for one in data_set["findings"]:
            if one["kind"] in OWN or one["what"].startswith(UNIT):
                yield _finding(f"{data_set['host']}:{data_set['plan']}", one)


def _finding(about: str, one: Told) -> Finding:
    kind = next(kind for kind in Kind if kind.word == one["kind"])
    return Finding(about, kind.word, Severity(kind.severity), str(one["what"]), str(one["to_do"]), kind.exit_code)


def _row(title: str, told: Told | None, of: str, found: list[Finding], now: datetime) -> Row:
    """What audits find stands with the findings of the look after them."""
    if told is None:
        return Row(title, [("never", ""), ("-", ""), state(found)], {"time": None, "findings": None})
    ended = datetime.fromisoformat(told["time"])
    wrong = sum(bool(one["fails"]) for one in told.get("findings", ()))
    last: Cell = (counted(wrong, "finding"), "critical") if wrong else state(found)
    return Row(title, [(ago(ended, now), ""), (of, ""), last], {"time": told["time"], "findings": wrong})


def _data_sets(told: Told) -> str:
    return counted(len(told["data_sets"]), "data set")


def _servers(told: Told) -> str:
    return f"{counted(len(told['servers']), 'server')}, {counted(told['requests'], 'request')}"


def _manifests(told: Told) -> str:
    projects = sum(one["projects"] for one in told["manifests"])
    return f"{counted(projects, 'project')} of {counted(len(told['manifests']), 'manifest')}"


LOOKS = {
    LOOK: ("all data sets", _data_sets),
    audited.FILE: ("audit of releases", _servers),
    audited_sources.FILE: ("audit of sources", _manifests),
}
SOURCE = Source("control", "Control host", "mainstay ssh CONTROL sudo mainstay backup status", applies, look)
