"""Asks Alertmanager, on the monitor host's loopback, by amtool there: what fires, and to be silent for a while."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from backup.reach import Reach, Unreachable, answer
from inventories import monitoring
from inventories.errors import InputError
from inventories.typed import NAME
from roles.monitor.rules import WATCHDOG

TIMEOUT_S = 60
JOURNALS = "/var/log/journal/remote"
"""On the monitor host, a folder for each."""
SEVERITIES = ("critical", "warning", "info")


@dataclass(frozen=True)
class Alert:
    """One that fires."""

    name: str
    severity: str
    host: str
    summary: str
    to_do: str
    since: str
    silenced: bool


def alerts(way: Reach) -> list[Alert]:
    """All that fire but the one that always does, the worst first. Raises Unreachable, InputError."""
    said = _amtool(way, "alert", "query", "--silenced", "--active", "--output=json")
    try:
        return parsed(said)
    except (ValueError, KeyError, TypeError) as error:
        raise Unreachable(f"what amtool says is not understood: {type(error).__name__}") from None


def parsed(said: str) -> list[Alert]:
    """What amtool (0.28) prints as JSON."""
    found = [_alert(one) for one in json.loads(said) if one["labels"]["alertname"] != WATCHDOG]
    return sorted(found, key=lambda one: (one.silenced, _rank(one.severity), one.name, one.host, one.summary))


def silence(way: Reach, host: str | None, minutes: int, why: str) -> str:
    """Tells nobody of a host, or of any, for so long; the id of the silence. Raises Unreachable, InputError."""
    which = f"instance={host}" if host else f"alertname!={WATCHDOG}"
    words = ("silence", "add", f"--duration={minutes}m", f"--author={way.site.ssh_user}", f"--comment={why}")
    return _amtool(way, *words, which).strip()


def journal(way: Reach, host: str, words: Sequence[str]) -> list[str]:
    """The words that read a host's journal on the monitor host, by journalctl there. Raises InputError."""
    if not NAME.fullmatch(host):
        raise InputError("HOST", "", f"{host!r} is no host's name", "as the inventory calls it")
    there = shlex.join(("sudo", "journalctl", f"--directory={JOURNALS}/{host}", *words))
    return way.admin(_monitor(way), there)


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


def _alert(one: dict[str, dict[str, str]]) -> Alert:
    labels, annotations, status = one["labels"], one["annotations"], one["status"]
    to_do = (annotations.get("description", ""), annotations.get("runbook", ""))
    return Alert(
        name=labels["alertname"],
        severity=labels.get("severity", ""),
        host=labels.get("instance", ""),
        summary=annotations.get("summary", ""),
        to_do="  ".join(filter(None, to_do)),
        since=str(one["startsAt"]),
        silenced=bool(status["silencedBy"]),
    )


def _amtool(way: Reach, *words: str) -> str:
    host = _monitor(way)
    return answer(_words(way, host, words), host, TIMEOUT_S).stdout.decode(errors="replace")


def _monitor(way: Reach) -> str:
    host = monitoring.monitor_host(way.site)
    if not host:
        hint = f"declare a host with role = {monitoring.ROLE!r}: see roles/{monitoring.ROLE}/README.md"
        raise InputError(way.site.path, "hosts", "this site has no monitor host", hint)
    return host


def _words(way: Reach, host: str, words: Sequence[str]) -> list[str]:
    """One word for the shell there: a reason may have any characters."""
    return way.admin(host, shlex.join(("amtool", *words)))
