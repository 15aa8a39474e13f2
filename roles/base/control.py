"""The account of the control host on the hosts that it watches: for one thing on each, and no way in for people.

Its key lies in /etc/ssh and is root's: the account can change neither the key nor what the key may do. It has no sudo.
Where the fleet has a control host no more, the account goes.
"""

from dataclasses import dataclass

from backup import custody
from backup.custody import CONTROL, PORTS
from backup.zipapp import INSTALLED
from inventories import keys
from inventories.errors import InputError
from inventories.inventory import LoadedSite
from roles.common import Account

ACCOUNT = CONTROL
KEYS = "/etc/ssh/control_keys"
FORWARDING = f'restrict,port-forwarding,permitopen="127.0.0.1:{PORTS[CONTROL]}",command="/usr/sbin/nologin"'
"""On the vault: its listener for the control side, and nothing else."""
ANSWERS = f'restrict,command="{INSTALLED} answer"'
"""On a host with data: what its ledgers say, on a release server what lies in its archive, and nothing else."""


def account(shell: str = "/bin/sh") -> Account:
    """On the control host it owns what is collected, whether anybody watches that host or not."""
    return Account(ACCOUNT, shell=shell, home="/", system=True)


@dataclass(frozen=True)
class Watched:
    """What a host has of the control host."""

    account: Account
    key: str
    """The line of its authorized_keys."""


def watched(site: LoadedSite, name: str) -> Watched | None:
    """None where there is nothing to watch, or nobody to do it. Raises InputError when its key is missing or none."""
    vault, watcher = custody.vault_of(site), custody.control_host(site)
    is_vault = vault is not None and vault[0] == name
    if not (vault and watcher) or not (is_vault or custody.of_host(name, site.fleet.hosts[name])):
        return None
    try:
        public = keys.public_ssh(custody.secret(site, custody.SSH_KEY).get_secret_value())
    except ValueError as error:
        hint = f"take it out with `mainstay secrets edit`, then make another: {custody.command(site)}"
        raise InputError(site.secrets.path, custody.SSH_KEY, f"is no private key: {error}", hint) from None
    # A forced command is run by the account's shell, in its home; a forwarding needs neither.
    return Watched(
        account("/usr/sbin/nologin" if is_vault else "/bin/sh"),
        f"{FORWARDING if is_vault else ANSWERS} {public} {watcher}\n",
    )
