"""From what a host's roles say of their data (recovery.py) to the plans of its backup agent, and its timers. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from backup import custody
from backup.custody import APPEND, PORTS
from backup.recovery import Recovery
from backup.zipapp import INSTALLED
from inventories.errors import InputError
from inventories.inventory import LoadedSite

FOLDER = "/etc/mainstay/backup"
CERTIFICATE = f"{FOLDER}/vault.pem"
UNITS = "/etc/systemd/system"
SCHEDULES = {
    "half-hourly": ("*:00/30", "15min"),
    "hourly": ("hourly", "30min"),
    "daily": ("*-*-* 00:00:00", "4h"),
}
"""OnCalendar and RandomizedDelaySec: each host keeps its own minute (systemd.timer(5), FixedRandomDelay)."""
VERIFY_SCHEDULE = ("Sat *-*-* 00:00:00", "24h")
RESERVED = frozenset({"config", "data", "index", "keys", "locks", "snapshots"})
"""What rest-server takes for a part of a repository, wherever it stands in a path: it answers 405 (0.13)."""
WRITES = ("btrfs", "refs")
"""The consistencies for which something is put into the data's root while it is saved; a plan's commands may, too."""
CAPABILITIES = {
    "btrfs": ("CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"),
    "refs": ("CAP_DAC_OVERRIDE",),
    "commands": ("CAP_SETUID", "CAP_SETGID", "CAP_DAC_OVERRIDE", "CAP_KILL"),
}
"""What they need besides reading everything. commands: the plan's own, which become other users."""
SETTLE = f"ExecStopPost=/usr/bin/python3 -I {INSTALLED} settle %i\n"
"""Puts back what a killed run left: a snapshot, or commands that are to run after it. Others leave nothing."""


@dataclass(frozen=True)
class Planned:
    """One data set of a host."""

    name: str
    host: str
    url: SecretStr
    password: SecretStr
    ca: str
    recovery: Recovery


def vault(site: LoadedSite) -> str:
    """The name by which hosts reach the vault; empty if the fleet has none. Raises InputError."""
    found = custody.vault_of(site)
    return found[1].dns[0] if found else ""


def planned(site: LoadedSite, host: str) -> list[Planned]:
    """The plans of a host, with their secrets. Raises InputError naming what is missing and how it is made."""
    found = []
    place = f"{vault(site)}:{PORTS[APPEND]}"
    for data_set in custody.of_host(host, site.fleet.hosts[host]):
        for name in {host, data_set.plan} & RESERVED:
            raise InputError(site.path, f"hosts.{host}", f"{name!r} cannot be the name of a host or role that is saved")
        login = custody.secret(site, custody.host_secret(host)).get_secret_value()
        url = f"rest:https://{host}:{quote(login, safe='')}@{place}/{host}/{data_set.plan}/"
        password = custody.secret(site, data_set.secret)
        recovery = custody.recovery(data_set.plan)
        found.append(Planned(data_set.plan, host, SecretStr(url), password, CERTIFICATE, recovery))
    return found


def plan_file(planned: Planned) -> str:
    """/etc/mainstay/backup/PLAN.json, as backup/agent/plan.py reads it."""
    recovery = planned.recovery
    content: Mapping[str, Any] = {
        "name": planned.name,
        "host": planned.host,
        "url": planned.url.get_secret_value(),
        "password": planned.password.get_secret_value(),
        "ca": planned.ca,
        "root": recovery.root,
        "paths": recovery.paths,
        "exclude": recovery.exclude,
        "consistency": recovery.consistency,
        "command": recovery.command,
        "before": recovery.before,
        "after": recovery.after,
        "rpo_hours": recovery.rpo_hours,
    }
    return json.dumps(content, indent=2) + "\n"


def unit_files(planned: Planned) -> dict[str, str]:
    """What units of a plan have of their own: when they run, and what else they may do."""
    recovery = planned.recovery
    kinds: list[str] = [recovery.consistency] if recovery.consistency in WRITES else []
    if recovery.command or recovery.before or recovery.after:
        kinds.append("commands")
    own = f"[Unit]\nRequiresMountsFor={recovery.root}\n\n[Service]\n"
    if kinds:
        # Where it is not there the agent is to say so: without the dash systemd starts nothing, and no ledger tells.
        own += f"ReadWritePaths=-{recovery.root}\n"
    if capabilities := sorted({capability for kind in kinds for capability in CAPABILITIES[kind]}):
        own += f"CapabilityBoundingSet={' '.join(capabilities)}\n"
    if {"btrfs", "commands"} & {*kinds}:
        own += SETTLE
    read_only = f"[Unit]\nRequiresMountsFor={recovery.root}\n"
    backup, verify = f"mainstay-backup@{planned.name}", f"mainstay-backup-verify@{planned.name}"
    return {
        f"{UNITS}/{backup}.service.d/plan.conf": own,
        f"{UNITS}/{verify}.service.d/plan.conf": read_only,
        f"{UNITS}/{backup}.timer": _timer(f"Backup of {planned.name}", *SCHEDULES[recovery.every]),
        f"{UNITS}/{verify}.timer": _timer(f"Verification of the backup of {planned.name}", *VERIFY_SCHEDULE),
    }


def _timer(what: str, calendar: str, jitter: str) -> str:
    return (
        f"[Unit]\nDescription={what}\n\n"
        f"[Timer]\nOnCalendar={calendar}\nRandomizedDelaySec={jitter}\nFixedRandomDelay=yes\nPersistent=yes\n\n"
        "[Install]\nWantedBy=timers.target\n"
    )
