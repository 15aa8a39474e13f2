"""The hosts of a site, asked once for all sources: each by one command, all at the same time."""

import shlex
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Lock

from pydantic import ValidationError

from backup.reach import Reach, Unreachable, answer, reach
from doctor.hosts import AT_ONCE, Clock, has_account
from inventories.inventory import LoadedSite
from roles.base.deployed import LOOK
from status.host import Said

PROGRAM = Path(__file__).with_name("on_host.py").read_bytes()
COMMAND = ("python3", "-I", "-", shlex.quote(LOOK))
ASK_S = 150
"""How long a host may take: apt alone needs seconds on a busy one, and is given up after less. ssh gives up connecting
after five."""


@dataclass(frozen=True)
class Answer:
    """What a host said, and when it was asked, said it and was heard."""

    said: Said
    clock: Clock


Answers = Mapping[str, Answer | str]
"""By host: what it says, or why it does not. Hosts that cannot be asked are not in it."""


class Asking:
    """Remembers the last answers, for sources that look at the same time."""

    def __init__(self) -> None:
        self._one = Lock()
        self._last: tuple[LoadedSite, datetime, Answers] | None = None

    def __call__(self, site: LoadedSite, now: datetime) -> Answers:
        """What hosts say. now: of the look. Raises InputError where it is not clear who I am."""
        with self._one:
            if self._last is None or self._last[0] is not site or self._last[1] != now:
                self._last = (site, now, ask_all(site))
            return self._last[2]


answers = Asking()


def ask_all(site: LoadedSite) -> Answers:
    """What each host says that there is, and that knows me. Raises InputError."""
    if site.local:
        return {}
    user, there = site.ssh_user, provisioned(site)
    names = [name for name in hosts(site) if name in there and has_account(site, user, name)]
    with reach(site) as way, ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(names, pool.map(partial(ask, way), names), strict=True))


def hosts(site: LoadedSite) -> list[str]:
    """All that are declared."""
    return sorted(site.fleet.hosts)


def provisioned(site: LoadedSite) -> set[str]:
    """Those that exist, by the lock file as it is now."""
    return {name for name, locked in site.lock.hosts.items() if locked.host_keys}


def ask(way: Reach, name: str) -> Answer | str:
    """What the host says, or why it does not."""
    asked = time.time()
    try:
        done = answer(way.admin(name, *COMMAND), name, ASK_S, PROGRAM)
        said = Said.model_validate_json(done.stdout)
    except Unreachable as error:
        return str(error).splitlines()[-1].removeprefix(f"{name}: ")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return f"what it says of itself is not to be understood: {'.'.join(map(str, first['loc']))} {first['msg']}"
    return Answer(said, Clock(asked, said.time, time.time()))
