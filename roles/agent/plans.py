"""From what a host's roles say of their data (recovery.py) to the plans of its backup agent, and its timers. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from backup import custody
from backup.agent.plan import RESTORE, SAVE
from backup.custody import APPEND, CONTROL, PORTS, DataSet
from backup.recovery import Recovery
from backup.store import AUTHORITY, COPY_KEYS
from backup.zipapp import INSTALLED
from inventories.errors import InputError
from inventories.fleet import SecondCopy
from inventories.inventory import LoadedSite

FOLDER = "/etc/mainstay/backup"
CERTIFICATE = f"{FOLDER}/vault.pem"
COPY_CERTIFICATE = f"{FOLDER}/copy.pem"
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

NO_KEY = SecretStr("")


@dataclass(frozen=True)
class Planned:
    """One data set of a host."""

    name: str
    host: str
    url: SecretStr
    password: SecretStr
    ca: str
    recovery: Recovery
    may: str = SAVE
    s3_region: str = ""
    s3_keys: tuple[SecretStr, SecretStr] = (NO_KEY, NO_KEY)
    """Access and secret key, of a repository in storage that speaks S3."""


def vault(site: LoadedSite) -> str:
    """The name by which hosts reach the vault, or the one they restore from; empty if there is none.

    Raises InputError.
    """
    if source := site.fleet.backup.restore_from:
        return source.vault or ""
    found = custody.vault_of(site)
    return found[1].dns[0] if found else ""


def has_repositories(site: LoadedSite) -> bool:
    """Whether the fleet's hosts save to somewhere, or restore from somewhere. Raises InputError."""
    return site.fleet.backup.restore_from is not None or vault(site) != ""


def planned(site: LoadedSite, host: str) -> list[Planned]:
    """The plans of a host, with their secrets. Raises InputError naming what is missing and how it is made."""
    source = site.fleet.backup.restore_from
    found = []
    for data_set in custody.of_host(host, site.fleet.hosts[host]):
        for name in {host, data_set.plan} & RESERVED:
            raise InputError(site.path, f"hosts.{host}", f"{name!r} cannot be the name of a host or role that is saved")
        if source and source.copy_:
            found.append(_in_copy(site, data_set, source.copy_))
        else:
            found.append(_in_vault(site, data_set))
    return found


def _in_vault(site: LoadedSite, data_set: DataSet) -> Planned:
    host, plan = data_set.host, data_set.plan
    login = custody.secret(site, custody.host_secret(host)).get_secret_value()
    url = f"rest:https://{host}:{quote(login, safe='')}@{vault(site)}:{PORTS[APPEND]}/{host}/{plan}/"
    password = custody.secret(site, data_set.secret)
    may = RESTORE if site.fleet.backup.restore_from else SAVE
    return Planned(plan, host, SecretStr(url), password, CERTIFICATE, custody.recovery(plan), may)


def _in_copy(site: LoadedSite, data_set: DataSet, copy: SecondCopy) -> Planned:
    access, secret = (custody.secret(site, name) for name in COPY_KEYS[CONTROL])
    return Planned(
        data_set.plan,
        data_set.host,
        SecretStr(f"s3:{copy.endpoint.rstrip('/')}/{copy.bucket}/{data_set.host}/{data_set.plan}"),
        custody.secret(site, data_set.secret),
        COPY_CERTIFICATE if (site.files / AUTHORITY).exists() else "",
        custody.recovery(data_set.plan),
        RESTORE,
        copy.region,
        (access, secret),
    )


def certificates(site: LoadedSite) -> dict[str, str]:
    """What the repositories' server is known by, by its path on the host. Raises InputError."""
    source = site.fleet.backup.restore_from
    if source is None or source.vault:
        return {CERTIFICATE: custody.certificate(site)}
    own = site.files / AUTHORITY
    return {COPY_CERTIFICATE: own.read_text()} if own.exists() else {}


def plan_file(planned: Planned) -> str:
    """/etc/mainstay/backup/PLAN.json, as backup/agent/plan.py reads it."""
    recovery = planned.recovery
    content: Mapping[str, Any] = {
        "name": planned.name,
        "host": planned.host,
        "url": planned.url.get_secret_value(),
        "password": planned.password.get_secret_value(),
        "ca": planned.ca,
        "s3_region": planned.s3_region,
        "s3_access_key": planned.s3_keys[0].get_secret_value(),
        "s3_secret_key": planned.s3_keys[1].get_secret_value(),
        "may": planned.may,
        "root": recovery.root,
        "owner": recovery.owner,
        "paths": recovery.paths,
        "exclude": recovery.exclude,
        "consistency": recovery.consistency,
        "repositories": recovery.repositories,
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
