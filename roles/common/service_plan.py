"""Which units are not what they should be, from one look at the host. Pure.

A record, kept on the host for each unit, is a digest of its definition (unit file and drop-ins in /etc/systemd/system)
and one of its other files. Both cover the time of the last change of the inode too: a file that was edited by hand,
taken up by the service and then put back has its old content, but the service has not. So do directories, for files
that came and went.
"""

import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

RECORDS = "/var/lib/mainstay/units"
PROPERTIES = (
    *("LoadState", "ActiveState", "UnitFileState", "NeedDaemonReload"),
    *("ConditionResult", "ConditionTimestampMonotonic"),
)
LOOK = r"%C@\t%p\n"
ENABLED = {"enabled", "static", "alias", "indirect", "generated", "linked"}
NAME = re.compile(r"[\w@.:\\-]+\.(service|socket|timer|path|mount|target|slice|automount|swap)")


@dataclass(frozen=True)
class Unit:
    """A systemd unit and the files it was started with.

    `files` are shell patterns (`*` stays within one directory) of files, or of directories with all that is in them.
    The unit's own file and drop-ins in /etc/systemd/system always count, and lead to a restart even with `reload`.
    """

    name: str
    """With its suffix: `nginx.service`."""
    files: tuple[str, ...] = ()
    reload: bool = False
    """A change of `files` is taken up by a reload."""
    enabled: bool = True
    running: bool = True
    probe: str = ""
    """A command that fails when a unit that is active does not do its work; it is then reloaded or restarted."""
    conditional: bool = False
    """Its own conditions may keep it from running, as in a container, which has no USB and no audit of its own. It has
    been tried then, with what is on disk; of any other unit that is a failure."""

    @property
    def definition(self) -> tuple[str, ...]:
        return (f"/etc/systemd/system/{self.name}", f"/etc/systemd/system/{self.name}.d")


@dataclass(frozen=True)
class Look:
    """What a host says of one unit."""

    properties: Mapping[str, str]
    record: str
    probed: bool = True
    """The unit's probe, if it has one, went well."""


@dataclass(frozen=True)
class Action:
    """What to do with one unit: systemctl's verbs, and the record to keep when all went well (empty: none)."""

    unit: str
    verbs: tuple[str, ...]
    record: str
    why: str
    conditional: bool = False


@dataclass(frozen=True)
class Plan:
    """What is to be done. daemon_reload: systemd is to read its units anew even if there is nothing else."""

    actions: tuple[Action, ...]
    daemon_reload: bool


def patterns(units: Sequence[Unit]) -> list[str]:
    """All patterns whose files a look must hash."""
    return list(dict.fromkeys(pattern for unit in units for pattern in (*unit.definition, *unit.files)))


def probes(units: Sequence[Unit]) -> list[str]:
    """All probes that a look must run."""
    return [unit.probe for unit in units if unit.probe]


def unquoted(pattern: str) -> str:
    """For a shell that is to expand the pattern and nothing else."""
    return "".join(part if part in "*?[]" else shlex.quote(part) for part in re.split(r"([*?\[\]])", pattern) if part)


def parse(units: Sequence[Unit], lines: Sequence[str]) -> tuple[list[Look], dict[str, str]]:
    """What a look says: a Look for each unit in order, and a stamp of content and change time for each file.

    A directory's stamp is its change time: it tells of files that came and went.
    """
    rest = iter(lines)
    states = []
    for _ in units:
        properties = {}
        for line in rest:
            if not line:
                break
            key, _, value = line.partition("=")
            properties[key] = value
        states.append(properties)
    records = [next(rest, "") for _ in units]
    probed = [not unit.probe or next(rest, "") == "0" for unit in units]
    looks = [Look(*look) for look in zip(states, records, probed, strict=True)]
    changed: dict[str, str] = {}
    stamps: dict[str, str] = {}
    for line in rest:
        if "\t" in line:
            time, path = line.split("\t", 1)
            changed[path] = time
        elif len(line) > 66:
            stamps[line[66:]] = line[:64]
    return looks, {path: f"{stamps.get(path, '')} {time}" for path, time in changed.items()}


def plan(units: Sequence[Unit], looks: Sequence[Look], files: Mapping[str, str]) -> Plan:
    """Compares; an action for each unit that is not as wanted or does not run what is on disk."""
    actions = []
    daemon_reload = False
    for unit, look in zip(units, looks, strict=True):
        stale = look.properties.get("NeedDaemonReload") == "yes"
        record = f"{_digest(unit.definition, files)} {_digest(unit.files, files)}" if unit.running else ""
        verbs, whys = _enabling(unit, look.properties.get("UnitFileState", ""))
        verb, why = _running(unit, look, record, stale)
        daemon_reload |= stale
        if verb or why:
            verbs.append(verb)
            whys.append(why)
        if verbs:
            actions.append(Action(unit.name, tuple(verbs), record, ", ".join(whys), unit.conditional))
    return Plan(tuple(actions), daemon_reload)


def _enabling(unit: Unit, state: str) -> tuple[list[str], list[str]]:
    if unit.enabled and state in ("masked", "masked-runtime"):
        return ["unmask", "unmask --runtime", "enable"], ["masked"]
    if unit.enabled and state not in ENABLED:
        return ["enable"], ["not enabled"]
    if not unit.enabled and state in ("enabled", "enabled-runtime", "linked", "linked-runtime"):
        return ["disable"], ["enabled"]
    return [], []


def _running(unit: Unit, look: Look, record: str, stale: bool) -> tuple[str, str]:
    """The verb that makes a unit run, or not run, and why."""
    state = look.properties.get("ActiveState", "")
    active = state in ("active", "reloading", "activating", "refreshing")
    if not unit.running:
        return ("stop", "running") if active else ("reset-failed", "failed") if state == "failed" else ("", "")
    if not active and unit.conditional and _kept_from_running(look) and look.record == record and not stale:
        return "", ""
    if not active:
        return "restart", f"not running ({look.properties.get('LoadState', '')}, {state})"
    definition, _, config = record.partition(" ")
    was_definition, _, was_config = look.record.partition(" ")
    if not look.record:
        return "restart", "nothing is known of what it was started with"
    if stale or definition != was_definition:
        return "restart", "its unit file changed since it was started"
    if config != was_config:
        return ("reload" if unit.reload else "restart"), "its files changed since it was started"
    if not look.probed:
        return ("reload" if unit.reload else "restart"), "its probe fails"
    return "", ""


def _kept_from_running(look: Look) -> bool:
    """Whether it was tried since the host booted, and its conditions did not hold."""
    tried = look.properties.get("ConditionTimestampMonotonic", "0") != "0"
    return tried and look.properties.get("ConditionResult") == "no"


def _digest(patterns: Sequence[str], files: Mapping[str, str]) -> str:
    match = re.compile("|".join(f"(?:{_regex(pattern)})(?:/.*)?" for pattern in patterns) or r"(?!)").fullmatch
    total = hashlib.sha256()
    for path in sorted(filter(match, files)):
        total.update(f"{path}\0{files[path]}\0".encode())
    return total.hexdigest()[:32]


def _regex(pattern: str) -> str:
    """A shell pattern: `*` and `?` do not match a slash, nor a leading dot."""
    found = ""
    for part in re.split(r"(\*|\?|\[[^\]]+\])", pattern):
        if part in ("*", "?"):
            dot = r"(?!\.)" if found.endswith("/") else ""
            found += f"{dot}[^/]{'*' if part == '*' else ''}"
        elif part.startswith("[") and part.endswith("]"):
            found += f"[{part[1:-1].replace('!', '^', 1) if part[1] == '!' else part[1:-1]}]"
        else:
            found += re.escape(part)
    return found


def orders(plan: Plan) -> list[list[object]]:
    """What on_host/services.py is told."""
    return [[action.unit, list(action.verbs), action.record, action.conditional] for action in plan.actions]
