"""Which accounts are not what they should be, from one look at the host. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Account:
    """A user with a group of the same name. Passwords are never set: accounts made here are locked for them."""

    name: str
    groups: tuple[str, ...] = ()
    """All its supplementary groups, no more and no less; those that do not exist are made."""
    shell: str = ""
    """Default: /bin/bash, for a system account /usr/sbin/nologin."""
    home: str = ""
    """Default: /home/NAME, for a system account none (/nonexistent)."""
    ssh_keys: tuple[str, ...] | None = None
    """All lines of ~/.ssh/authorized_keys; None leaves that file alone."""
    system: bool = False
    """Only looked at when the account is made."""
