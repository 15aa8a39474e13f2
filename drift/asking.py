"""All that is asked of a host in one remote command, and of all hosts at once."""

import json
import shlex
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from backup.reach import Reach, Unreachable, answer
from roles.common.program import ALONE, packed, source, start

AT_ONCE = 25
"""Hosts that are asked at the same time: each costs this machine a process that mostly waits."""
PATIENCE_S = 60
"""How long a host may take: its looks hash what is declared, and nginx's and Gerrit's probes take a second or two."""


Ask = Callable[[str, Mapping[str, object]], Any]
"""Host and orders -> what it says. Raises Unreachable."""


def ask(way: Reach, host: str, orders: Mapping[str, object]) -> Any:
    """on_host/look.py on a host, as root. Raises Unreachable, also when what it says cannot be read."""
    words = way.admin(host, "sudo", "-n", *ALONE, shlex.quote(start("look")))
    said = answer(words, host, PATIENCE_S, source("look") + packed(orders)).stdout
    try:
        return json.loads(said)
    except ValueError:
        raise Unreachable(f"{host}: what it says is cut off") from None


def of_all(ask: Ask, orders: Mapping[str, Mapping[str, object]]) -> dict[str, Any]:
    """What each host says, or the Unreachable that came of it."""

    def one(host: str) -> Any:
        try:
            return ask(host, orders[host])
        except Unreachable as error:
            return error

    if not orders:
        return {}
    with ThreadPoolExecutor(min(len(orders), AT_ONCE)) as asking:
        return dict(zip(orders, asking.map(one, orders), strict=True))
