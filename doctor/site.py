"""A site as it lies here: its files, who I am to it, what I can decrypt, and what of it exists."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backup.envelope import letter
from backup.sizes import counted
from doctor.told import Told, note, ok, wrong
from inventories import envelope as sealed
from inventories import identities, login
from inventories.errors import InputError
from inventories.inventory import ADMINS, LoadedSite, check_files, load_site
from inventories.secrets import stale

SEALED_FOR = timedelta(days=400)
"""It is opened, looked at and sealed anew each year (docs/duties.md), give or take a month."""


def load(inventory: Path) -> LoadedSite:
    """Raises InputError."""
    site = load_site(inventory)
    check_files(site)
    return site


def admins(site: LoadedSite) -> Iterator[Told]:
    """Who they are. Raises InputError."""
    yield ok("admins", ", ".join(admin.name for admin in site.admins.all()))


def me(site: LoadedSite) -> Iterator[Told]:
    """Which of the admins the keys of this machine belong to, and whether ssh takes them. Raises InputError."""
    held = login.held(site.path, site.ssh_key)
    owners = [admin.name for admin in site.admins.all() if login.public_keys(admin) & held]
    user = _user(site, owners)
    if isinstance(user, Told):
        yield user
        return
    if user not in owners and owners:
        says = f"you are taken for {user}, and the keys of this machine are of {' and '.join(owners)}"
        named = f"correct site.ssh_user in {site.path}" if site.fleet.site.ssh_user else ""
        yield wrong("me", says, named or f"export MAINSTAY_ADMIN={owners[0]}")
        return
    login.check_key(site.path, site.ssh_key, site.admins.admins[user], site.files / ADMINS)
    yield ok("me", f"{user}, with a key that is declared")
    file = site.ssh_key or Path.home() / ".ssh/id_ed25519"
    if file.exists() and file.stat().st_mode & 0o077:
        yield wrong("key file", f"{file} can be read by others: ssh does not take it", f"chmod 600 {file}")


def _user(site: LoadedSite, owners: list[str]) -> str | Told:
    """Whom the site takes one for; where that is not clear, the keys tell what to say."""
    try:
        return site.ssh_user
    except InputError as error:
        if len(owners) != 1:
            raise
        return wrong("me", f"{error.problem}; your keys are those of {owners[0]}", f"export MAINSTAY_ADMIN={owners[0]}")


def secrets(site: LoadedSite) -> Iterator[Told]:
    """Whether one of them can be decrypted here; nobody is asked for a passphrase. Raises InputError."""
    held = site.secrets
    inventory = named(site)
    if not len(held):
        yield note("secrets", "there are none yet", f"mainstay secrets edit --inventory {inventory}")
        return
    quiet = held.unlocked()
    mine = [name for name in held if held.readable(name)]
    tried = next((name for name in mine if quiet.readable(name)), None)
    if tried:
        _ = quiet[tried]
    rekey = f"ask another admin to run: mainstay secrets rekey --inventory {inventory}"
    if len(mine) < len(held):
        hint = f"{rekey}; or name your key by {identities.VARIABLE}"
        yield wrong("secrets", f"your keys decrypt {len(mine)} of {counted(len(held), 'secret')}", hint)
    elif not tried:
        to_do = f"mainstay secrets show {mine[0]} --inventory {inventory} >/dev/null"
        yield note("secrets", "your key has a passphrase: not tried", to_do)
    elif old := stale(held.entries, site.readers):
        says = f"{tried} was decrypted; {counted(len(old), 'secret')} not encrypted to exactly the present admins"
        yield note("secrets", says, f"mainstay secrets rekey --inventory {inventory}")
    else:
        yield ok("secrets", f"{tried} was decrypted, one of {len(held)} that you can read")


def envelope(site: LoadedSite) -> Iterator[Told]:
    """Whether the envelope that was sealed last opens what is there today, as far as that is written down.

    Raises InputError.
    """
    if not len(site.secrets):
        return
    record = sealed.read(site.files)
    again = f"mainstay secrets envelope --out /dev/shm/envelope --inventory {named(site)}"
    if not record:
        yield note("envelope", "none is sealed: the last admin's key is the last to open the secrets", again)
        return
    reader = f"{sealed.READER} {record.recipient}"
    closed = [name for name, entry in site.secrets.entries.items() if reader not in entry.readers]
    way = letter.address(site)
    age = datetime.now(UTC).date() - record.sealed
    of = f"{record.id} of {record.sealed}"
    if closed:
        says = f"{of} does not open {counted(len(closed), 'secret')}: {closed[0]}"
        yield wrong("envelope", says, f"mainstay secrets rekey --inventory {named(site)}")
    elif record.replaced:
        yield wrong("envelope", f"{of} has old values of: {', '.join(record.replaced)}", again)
    elif way != record.repository:
        yield wrong("envelope", f"{of} says that the repository is at {record.repository or 'no place'}", again)
    elif age > SEALED_FOR:
        yield note("envelope", f"{of} is older than a year: open it, look, and seal another", again)
    else:
        yield ok("envelope", f"{of}, {record.needed} of {record.shares} open it")


def lock(site: LoadedSite) -> Iterator[Told]:
    """Which of the declared hosts exist."""
    declared, provision = site.fleet.hosts, f"pyinfra {named(site)} deploys/provision.py"
    if site.fleet.own_machines:
        yield ok("lock", f"{counted(len(declared), 'machine')} of your own, as declared")
        return
    there = {name for name, host in site.lock.hosts.items() if host.host_keys}
    missing, more = sorted(declared.keys() - there), sorted(there - declared.keys())
    if not there:
        yield note("lock", f"nothing is provisioned: {site.lock_path} has no host", f"{provision} --dry")
    elif missing:
        says = f"not provisioned: {', '.join(missing)}"
        yield wrong("lock", says, f"pull the commit that has it, or run: {provision}")
    elif more:
        yield note("lock", f"not declared any more: {', '.join(more)}", f"{provision} --dry")
    else:
        yield ok("lock", f"{counted(len(there), 'host')}, with pinned keys")


def named(site: LoadedSite) -> str:
    """Its inventory, as one passes it to commands."""
    return os.path.relpath(site.path.with_suffix(".py"))
