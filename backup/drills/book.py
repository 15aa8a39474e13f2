"""Where reports of drills are kept: a folder a drill, ID/report.json, written whole or not at all.

The control host keeps its own, a laptop too; a laptop of a fleet with a control host fetches that one's into its own.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from shutil import rmtree

from pydantic import ValidationError

from backup import custody, record
from backup.drills.report import Report
from backup.reach import LEDGERS, Reach, Unreachable, answer, state
from inventories.errors import InputError
from inventories.files import replace
from inventories.inventory import LoadedSite

DRILLS = LEDGERS.with_name("drills")
"""On the control host."""
REPORT = "report.json"
FETCHED = ".fetched"
"""In a laptop's folder: the control host's reports as they came."""
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
REPORT_AT_MOST = 4 << 20
"""Bytes."""
KEEP_DAYS, KEEP_LAST = 400, 100
"""Kept are reports that are not older, and so many of each data set."""
FETCH_S = 300
Say = Callable[[str], None]


def folder(site: LoadedSite) -> Path:
    """This machine's reports of a site; of a lab's they go with the lab."""
    if site.control:
        return DRILLS
    if Path(site.fleet.site.files).is_absolute():
        return site.files / "drills"
    return state(site).with_name(f"{site.name}.drills")


def write(site: LoadedSite, report: Report) -> Path:
    """Puts a report in the place of what there is of that drill; returns its file. Raises InputError, OSError."""
    if not ID.fullmatch(report.id):
        raise InputError("report", "id", f"{report.id!r} is no name of a folder", "letters, digits, dots and dashes")
    return _put(folder(site), report.id, report.model_dump_json(indent=1) + "\n")


def reports(there: Path, say: Say) -> list[Report]:
    """All reports in a folder, newest first. What cannot be read, or is of a newer version, is told and left out."""
    found = [report for path in there.glob(f"*/{REPORT}") if (report := _read(path, say))]
    return sorted(found, key=lambda one: (one.begun, one.id), reverse=True)


def find(there: Path, id_start: str, say: Say) -> Report:
    """The one report whose id begins so. Raises InputError."""
    names = sorted(path.parent.name for path in there.glob(f"*/{REPORT}") if path.parent.name.startswith(id_start))
    if id_start in names:
        names = [id_start]
    if len(names) != 1:
        problem = f"several begin so: {', '.join(names[:5])}" if names else "there is no such drill"
        raise InputError("DRILL", id_start, problem, "`mainstay drill list` shows the last one of each data set")
    if found := _read(there / names[0] / REPORT, say):
        return found
    raise InputError(there / names[0] / REPORT, "", "cannot be read", "restore it from a backup of the control host")


def turn(found: Sequence[Report], data_set: str) -> int:
    """What samples and parts of the next drill rotate by: those of one that proved nothing have their turn again."""
    return max((one.turn + 1 for one in found if one.data_set == data_set and one.proved), default=0)


def tidy(there: Path, now: datetime, say: Say) -> list[str]:
    """Removes old reports of drills that have ended and left nothing behind; returns their ids."""
    seen: Counter[str] = Counter()
    removed = []
    for one in reports(there, say):
        seen[one.data_set] += 1
        if seen[one.data_set] > KEEP_LAST and now - one.begun > timedelta(days=KEEP_DAYS) and not one.left:
            rmtree(there / one.id)
            removed.append(one.id)
    return removed


def bring(way: Reach, say: Say) -> bool:
    """Fetches the control host's reports, where another machine is that; False if it does not answer, which is said.

    What lies here stays as it is, but for a report of a drill that was still running when it was fetched.
    """
    if not record.is_copy(way.site):
        return True
    mine = folder(way.site)
    try:
        theirs = _rsync(way, mine / FETCHED)
    except Unreachable as error:
        say(f"{error}\n  going on with the reports of drills that are here")
        return False
    take(mine, theirs, say)
    return True


def take(mine: Path, theirs: Path, say: Say) -> None:
    """Adds reports that are not here, and the end of those whose end is not."""
    for path in theirs.glob(f"*/{REPORT}"):
        here = mine / path.parent.name / REPORT
        if here.exists() and ((had := _read(here, say)) is None or had.ended):
            continue
        if fresh := _read(path, say):
            _put(mine, fresh.id, path.read_bytes())


def _rsync(way: Reach, target: Path) -> Path:
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    options = ["--recursive", "--times", "--delete", f"--max-size={REPORT_AT_MOST}", "--rsync-path", "sudo -n rsync"]
    names = ["--include=/*/", f"--include=/*/{REPORT}", "--exclude=*"]
    words = ["rsync", *options, *names, "--rsh", " ".join(way.ssh)]
    there = f"{custody.control_host(way.site)}:{DRILLS}/"
    answer([*words, there, f"{target}/"], record.THERE, FETCH_S)
    return target


def _put(there: Path, name: str, content: str | bytes) -> Path:
    own = there / name
    own.mkdir(mode=0o750, parents=True, exist_ok=True)
    own.chmod(0o750)
    replace(own / REPORT, content, 0o640)
    return own / REPORT


def _read(path: Path, say: Say) -> Report | None:
    try:
        report = Report.model_validate_json(path.read_bytes())
    except OSError as error:
        say(f"{path}: cannot be read: {error.strerror}")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        at = ".".join(map(str, first["loc"]))
        newer = at == "schema_version" and isinstance(first["input"], int)
        why = f"is of schema {first['input']}: update this clone" if newer else f"is damaged: {at} {first['msg']}"
        say(f"{path}: {why}")
    else:
        if report.id == path.parent.name:
            return report
        say(f"{path}: is damaged: it is the report of another drill, {report.id!r}")
    return None
