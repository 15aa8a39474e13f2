"""Which roles there are, and which of them a host has: what a site's files say of roles, held against roles/."""

import importlib.util
from pathlib import Path

from inventories.admins import Admins
from inventories.errors import InputError
from inventories.fleet import Fleet, Host


def roles_of(host: Host) -> tuple[str, ...]:
    """Every host has the role base, and its own."""
    return ("base",) if host.role == "base" else ("base", host.role)


def check_fleet(path: Path, fleet: Fleet) -> None:
    """Raises InputError for a role, in the inventory at `path`, that there is not, or that a host does not have."""
    for name, host in fleet.hosts.items():
        if not _is_role(host.role):
            raise InputError(path, f"hosts.{name}.role", f"no role {host.role!r}", "roles are the folders of roles/")
        for role in host.settings:
            if role not in roles_of(host):
                hint = f"its roles are: {', '.join(roles_of(host))}"
                raise InputError(path, f"hosts.{name}.settings.{role}", "the host does not have this role", hint)
    for role in fleet.settings:
        if not _is_role(role):
            raise InputError(path, f"settings.{role}", "no such role", "roles are the folders of roles/")


def check_admins(path: Path, admins: Admins) -> None:
    """Raises InputError for a role of an admin, in the file at `path`, that there is not."""
    for admin in admins.all():
        for role in admin.roles:
            if role not in ("*", "base") and not _is_role(role):
                hint = 'roles are the folders of roles/; "*" is all of them'
                raise InputError(path, f"admins.{admin.name}.roles", f"no role {role!r}", hint)


def _is_role(name: str) -> bool:
    """Whether roles/NAME has settings: roles/common has none and is no role."""
    try:
        return importlib.util.find_spec(f"roles.{name}.settings") is not None
    except ModuleNotFoundError:
        return False
