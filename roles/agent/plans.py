"""From what a host's roles say of their data (recovery.py) to the plans of its backup agent, and its timers. Pure."""

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from inventories.errors import InputError
from inventories.inventory import LoadedSite, roles_of
from roles.common import Recovery

FOLDER = "/etc/mainstay/backup"
CERTIFICATE = f"{FOLDER}/vault.pem"
APPEND_PORT = 8000
"""Where hosts add to their repositories: see roles/vault."""
UNITS = "/etc/systemd/system"
SCHEDULES = {"hourly": ("hourly", "30min"), "daily": ("*-*-* 00:00:00", "4h")}
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


@dataclass(frozen=True)
class Planned:
    """One data set of a host."""

    name: str
    host: str
    url: SecretStr
    password: SecretStr
    ca: str
    recovery: Recovery


def saved(host: str, roles: tuple[str, ...]) -> dict[str, Recovery]:
    """What of a host is saved, by the plan's name: one plan a role with data."""
    found = {role: importlib.import_module(f"roles.{role}.recovery").RECOVERY for role in roles}
    return {role: recovery for role, recovery in found.items() if recovery.consistency != "none"}


def vault(site: LoadedSite) -> str:
    """The name by which hosts reach the vault; empty if the fleet has none. Raises InputError."""
    vaults = site.fleet.with_role("vault")
    if len(vaults) > 1:
        raise InputError(site.path, "hosts", f"more than one host has the role 'vault': {', '.join(vaults)}")
    for name, declared in vaults.items():
        if not declared.dns:
            raise InputError(site.path, f"hosts.{name}.dns", "is empty: hosts reach the vault by its first name")
        return declared.dns[0]
    return ""


def planned(site: LoadedSite, host: str) -> list[Planned]:
    """The plans of a host, with their secrets. Raises InputError naming what is missing and how it is made."""
    recoveries = saved(host, roles_of(site.fleet.hosts[host]))
    found = []
    for role, recovery in recoveries.items():
        for name in {host, role} & RESERVED:
            raise InputError(site.path, f"hosts.{host}", f"{name!r} cannot be the name of a host or role that is saved")
        login = _secret(site, f"vault_{_plain(host)}").get_secret_value()
        url = f"rest:https://{host}:{quote(login, safe='')}@{vault(site)}:{APPEND_PORT}/{host}/{role}/"
        password = _secret(site, f"backup_{_plain(host)}_{_plain(role)}")
        found.append(Planned(role, host, SecretStr(url), password, CERTIFICATE, recovery))
    return found


def certificate(site: LoadedSite) -> bytes:
    """The vault's, which is public. Raises InputError."""
    path = site.files / "vault.pem"
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(path, "", f"the vault's certificate cannot be read: {error.strerror}", _keys(site)) from None


def _secret(site: LoadedSite, name: str) -> SecretStr:
    if name not in site.secrets:
        raise InputError(site.secrets.path, name, "no such secret", _keys(site))
    return site.secrets[name]


def _keys(site: LoadedSite) -> str:
    return f"make it: `mainstay backup keys --inventory {site.path.with_suffix('.py')}`"


def _plain(name: str) -> str:
    return name.replace("-", "_")


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
        own += f"ReadWritePaths={recovery.root}\n"
    if capabilities := sorted({capability for kind in kinds for capability in CAPABILITIES[kind]}):
        own += f"CapabilityBoundingSet={' '.join(capabilities)}\n"
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
