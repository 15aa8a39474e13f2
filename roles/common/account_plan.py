"""Which accounts are not what they should be, from one look at the host. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from backup.sizes import clean

LOOK = r"%y\t%m\t%u\t%p\n"
NO_HOME = "/nonexistent"
KEY_SHOWN = 40
"""Characters of a key's line: its comment, and of itself enough."""


@dataclass(frozen=True)
class Account:
    """A user with a group of the same name. Passwords are never set: accounts made here have none to log in with."""

    name: str
    groups: tuple[str, ...] = ()
    """All its supplementary groups, no more and no less; those that do not exist are made."""
    shell: str = ""
    """Default: /bin/bash, for a system account /usr/sbin/nologin."""
    home: str = ""
    """Default: /home/NAME, for a system account none (/nonexistent). Nothing is moved when it changes."""
    full_name: str | None = None
    """The comment in /etc/passwd; None leaves it alone."""
    ssh_keys: tuple[str, ...] | None = None
    """All lines of ~/.ssh/authorized_keys; None leaves that file alone."""
    system: bool = False
    """Only looked at when the account is made."""

    def __post_init__(self) -> None:
        if self.ssh_keys and self.home_directory == NO_HOME:
            raise ValueError(f"account {self.name}: SSH keys need a home")

    @property
    def login_shell(self) -> str:
        return self.shell or ("/usr/sbin/nologin" if self.system else "/bin/bash")

    @property
    def home_directory(self) -> str:
        return self.home or (NO_HOME if self.system else f"/home/{self.name}")


@dataclass(frozen=True)
class Found:
    """What a host has."""

    shells: Mapping[str, str]
    homes: Mapping[str, str]
    full_names: Mapping[str, str]
    groups: Mapping[str, frozenset[str]]
    """Supplementary groups by user."""
    known_groups: frozenset[str]
    key_files: Mapping[str, tuple[str, int, str]]
    """Kind, mode and owner by path."""
    keys: Mapping[str, tuple[str, ...]]
    """Lines by path."""


@dataclass(frozen=True)
class Change:
    """One thing to do with one account; `order` is what on_host/accounts.py is told."""

    name: str
    why: str
    order: tuple[object, ...]


def parse(lines: Sequence[str]) -> Found:
    """A look: /etc/passwd, /etc/group, kinds of key files, lines of key files; an empty line after each."""
    parts: list[list[str]] = [[]]
    for line in lines:
        if line or len(parts) == 4:
            parts[-1].append(line)
        else:
            parts.append([])
    passwd, group, kinds, keys = (*parts, [], [], [])[:4]
    users = [line.split(":") for line in passwd]
    supplementary: dict[str, set[str]] = {user[0]: set() for user in users}
    known = set()
    for line in group:
        name, _, _, members = line.split(":")
        known.add(name)
        for member in filter(None, members.split(",")):
            supplementary.setdefault(member, set()).add(name)
    key_files = {}
    for line in kinds:
        kind, mode, owner, path = line.split("\t")
        key_files[path] = (kind, int(mode, 8), owner)
    found_keys: dict[str, list[str]] = {}
    for line in keys:
        path, _, key = line.partition(":")
        found_keys.setdefault(path, []).append(key)
    return Found(
        {user[0]: user[6] for user in users},
        {user[0]: user[5] for user in users},
        {user[0]: user[4] for user in users},
        {user: frozenset(groups) for user, groups in supplementary.items()},
        frozenset(known),
        key_files,
        {path: tuple(lines) for path, lines in found_keys.items()},
    )


def key_file(account: Account) -> str:
    return str(PurePosixPath(account.home_directory) / ".ssh" / "authorized_keys")


def plan(users: Sequence[Account], absent: Collection[str], found: Found) -> list[Change]:
    """Compares; groups come first, removals last."""
    changes = []
    missing = sorted({group for user in users for group in user.groups} - found.known_groups)
    changes += [Change(group, "new group", ("group", group)) for group in missing]
    for user in users:
        if user.name not in found.shells:
            order = (
                "add",
                user.name,
                user.login_shell,
                user.home_directory,
                user.system,
                user.name in found.known_groups,
            )
            changes.append(Change(user.name, "new account", order))
            if user.groups:
                changes.append(Change(user.name, f"groups {_listed(user.groups)}", ("groups", user.name, user.groups)))
            if user.full_name:
                changes.append(_named(user))
        else:
            changes += _account(user, found)
        if user.ssh_keys is not None:
            changes += _keys(user, found)
    changes += [Change(name, "removed", ("remove", name)) for name in sorted(absent) if name in found.shells]
    return changes


def _account(user: Account, found: Found) -> list[Change]:
    changes = []
    if (shell := found.shells[user.name]) != user.login_shell:
        changes.append(
            Change(user.name, f"shell {shell} -> {user.login_shell}", ("shell", user.name, user.login_shell))
        )
    if (home := found.homes[user.name]) != user.home_directory:
        changes.append(
            Change(user.name, f"home {home} -> {user.home_directory}", ("home", user.name, user.home_directory))
        )
    if user.full_name not in (None, found.full_names[user.name]):
        changes.append(_named(user))
    if (groups := found.groups[user.name] - {user.name}) != set(user.groups):
        why = f"groups {_listed(groups)} -> {_listed(user.groups)}"
        changes.append(Change(user.name, why, ("groups", user.name, user.groups)))
    return changes


def _named(user: Account) -> Change:
    return Change(user.name, f"full name {user.full_name!r}", ("full_name", user.name, user.full_name))


def _keys(user: Account, found: Found) -> list[Change]:
    path = key_file(user)
    here = found.key_files.get(path)
    keys = user.ssh_keys or ()
    if not keys:
        return [Change(user.name, "SSH keys removed", ("keys", user.name, ()))] if here else []
    there = found.keys.get(path, ())
    if here == ("f", 0o600, user.name) and there == keys:
        return []
    differ = [f"not declared {_end(key)}" for key in there if key not in keys]
    differ += [f"missing {_end(key)}" for key in keys if key not in there]
    return [Change(user.name, f"SSH keys: {', '.join((str(len(keys)), *differ))}", ("keys", user.name, keys))]


def _end(key: str) -> str:
    """By which people know a key."""
    return clean(key[-KEY_SHOWN:])


def _listed(names: Collection[str]) -> str:
    return ",".join(sorted(names)) or "none"
