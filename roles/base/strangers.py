"""Accounts of people who are not admins of a host (any more) are locked; those of admins who came back are opened.

An account is a person's when its uid is one that `useradd` gives to people (1000 to 59999). Nothing of it is removed,
so that files keep their owner's name; `confirmed` and AllowUsers make it useless for a log-in all the same.
"""

import shlex
from collections.abc import Collection, Generator, Sequence

from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from roles.common.facts import LOOKED, Look

PEOPLE = range(1000, 60000)
NOLOGIN = "/usr/sbin/nologin"
LINGER = "/var/lib/systemd/linger"
"""Whose units are started at boot, before anybody logs in: logind(8)."""
LOCKED = "1"
"""Day of expiry in /etc/shadow, in the past: PAM refuses the account whatever its key (shadow(5))."""


class PeopleLook(Look):
    """NAME:UID:HOME:SHELL:EXPIRY:KEYS:GROUPS of every account; KEYS is the size of authorized_keys, or nothing.

    GROUPS are supplementary. Keys behind a symlink are not the account's: it may have made the symlink itself.
    """

    kind = "users"

    def command(self) -> str:
        return (
            f"echo {LOOKED}; getent passwd | while IFS=: read -r name _ uid _ _ home shell; do "
            f'[ "$uid" -ge {PEOPLE.start} ] && [ "$uid" -lt {PEOPLE.stop} ] || continue; '
            'echo "$name:$home:$shell:$(getent shadow "$name" | cut -d: -f8):'
            '$([ -L "$home" ] || [ -L "$home/.ssh" ] || stat -c %s "$home/.ssh/authorized_keys" 2>/dev/null):'
            '$(id -Gn "$name" | cut -s -d " " -f 2-)"; done; true'
        )


def locking(look: Sequence[str], admins: Collection[str]) -> tuple[list[str], list[str]]:
    """Who is to be locked, with their homes as NAME:HOME, and who is to be opened again."""
    strangers, back = [], []
    for line in look:
        name, home, shell, expiry, keys, groups = line.split(":")
        if name in admins:
            back += [name] if expiry else []
        elif (shell, expiry, keys, groups) != (NOLOGIN, LOCKED, "", ""):
            strangers.append(f"{name}:{home}")
    return strangers, back


@operation()
def strangers(admins: Collection[str], before: Sequence[PyinfraCommand]) -> Generator[PyinfraCommand, None, None]:
    """Locks whoever is not an admin, ending their sessions, and lets admins who were locked in again."""
    look = host.get_fact(PeopleLook)
    if look is None:
        return
    locked, opened = locking(look, admins)
    if locked or opened:
        yield from before
    for entry in locked:
        name, home = entry.split(":")
        host.log(f"  {name}: locked, because not an admin of this host")
        # A service manager that is killed counts as a unit that failed.
        manager = f"user@$(id -u {name}).service"
        forget = f"rm -f {LINGER}/{name}; systemctl -q stop {manager}; systemctl -q reset-failed {manager}"
        # The whole slice: what they have begun as root, by sudo, is of their sessions too, and of no uid of theirs.
        kill = f"systemctl -q kill --signal=KILL user-$(id -u {name}).slice; pkill -KILL -u {name}"
        end = f'[ "$SUDO_USER" = {name} ] || {{ {kill}; {forget}; }} 2>/dev/null'
        usermod = f"usermod --lock --expiredate {LOCKED} --shell {NOLOGIN} --groups '' {name}"
        remove = f"runuser -u {name} -- rm -f {shlex.quote(f'{home}/.ssh/authorized_keys')}"
        yield StringCommand(f"{usermod} && {{ {end}; {remove}; true; }}")
    for name in opened:
        host.log(f"  {name}: opened again")
        yield StringCommand(f"usermod --expiredate '' {name}")
