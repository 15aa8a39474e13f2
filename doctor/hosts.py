"""The hosts of a site, asked all at once for their clock: by that each is reached, as me, under its pinned key."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from backup.expected import SKEW
from backup.reach import Reach, Unreachable, answer, reach
from backup.rules import span
from backup.sizes import clean
from doctor.site import named
from doctor.told import State, Told, ok, wrong
from inventories.errors import InputError
from inventories.inventory import LoadedSite

ASK_S = 10
"""How long a host may take: ssh itself gives up connecting after half of it."""
AT_ONCE = 16


@dataclass(frozen=True)
class Clock:
    """When a host was asked, what it said, and when that was here. Unix seconds."""

    asked: float
    said: float
    heard: float

    @property
    def apart(self) -> float:
        """Seconds that the host's clock is at least ahead of this machine's; below zero: behind it."""
        return max(self.said - self.heard, 0) or min(self.said - self.asked, 0)


def ask(site: LoadedSite) -> Iterator[Told]:
    """Whether each is reached, and how far clocks are apart. None is asked where it is not clear who I am."""
    try:
        user = site.ssh_user
    except InputError:
        return
    there = [name for name, host in sorted(site.lock.hosts.items()) if host.host_keys and name in site.fleet.hosts]
    names = [name for name in there if has_account(site, user, name)]
    with reach(site) as way, ThreadPoolExecutor(AT_ONCE) as asking:
        answers = dict(zip(names, asking.map(partial(_clock, way), names), strict=True))
    clocks = {name: one for name, one in answers.items() if isinstance(one, Clock)}
    for name, one in answers.items():
        if isinstance(one, Clock):
            yield ok(name, f"reached as {user} in {one.heard - one.asked:.1f} s")
        else:
            yield unreached(site, name, one)
    yield from skew(clocks)


def has_account(site: LoadedSite, user: str, name: str) -> bool:
    """Whether an admin has one on a host, by admins.toml."""
    return any(admin.name == user for admin in site.admins.for_role(site.fleet.hosts[name].role))


def _clock(way: Reach, name: str) -> Clock | str:
    """The host's, or why it does not tell it."""
    asked = time.time()
    try:
        said = answer(way.admin(name, "date", "+%s.%N"), name, ASK_S).stdout
        return Clock(asked, float(said), time.time())
    except Unreachable as error:
        return str(error).splitlines()[-1].removeprefix(f"{name}: ")
    except ValueError:
        return "tells no time when it is asked for it"


def unreached(site: LoadedSite, name: str, why: str) -> Told:
    """What to do about a host that was not reached, by what ssh said."""
    says = f"not reached as {site.ssh_user}: {clean(why)}"
    if "Host key verification failed" in why:
        return wrong(name, says, f"find out why its key is not the pinned one of {site.lock_path}, and leave the pin")
    if "Permission denied" in why:
        deploy = f"pyinfra {named(site)} deploys/base.py --limit {name}"
        return wrong(name, says, f"ssh-add; are you new, an admin who gets in has to run: {deploy}")
    return Told(
        name, State.UNREACHABLE, says, f"is it up, and this machine online? ssh -v {site.lock.hosts[name].ipv4}"
    )


def skew(clocks: Mapping[str, Clock]) -> Sequence[Told]:
    """One line about this machine's clock; none when no host told its own."""
    if not clocks:
        return []
    far = {name: one.apart for name, one in clocks.items() if abs(one.apart) > SKEW.total_seconds()}
    if not far:
        most = max(abs(one.apart) for one in clocks.values())
        return [ok("clock", f"within {most + 1:.0f} s of the hosts'")]
    apart = ", ".join(
        f"{name} {span(timedelta(seconds=abs(s)))} {'ahead' if s > 0 else 'behind'}" for name, s in far.items()
    )
    mend = f"as root on {'this machine' if far.keys() == clocks.keys() else 'them'}: timedatectl set-ntp true"
    return [wrong("clock", f"seen from this machine: {apart}", mend)]
