"""How a site's Gerrit is, as its host looks at it each minute and now (tree/usr/local/lib/mainstay/gerrit_state.py)."""

import json
from collections.abc import Collection
from typing import Any

from backup.reach import Unreachable, answer, reach
from inventories.inventory import LoadedSite
from roles.gerrit.tools.server import host_of

UNIT, SAID = "mainstay-gerrit-state.service", "/run/mainstay-gerrit/state.json"
LOOK_S = 300
State = dict[str, Any]


def state(site: LoadedSite) -> State:
    """Has the host look, and returns what it saw; what cannot be had is None. Raises InputError, Unreachable."""
    host = host_of(site)
    with reach(site) as way:
        look = f"sudo -n systemctl start {UNIT} && sudo -n cat {SAID}"
        said = answer(way.admin(host, look), host, LOOK_S).stdout
    try:
        told: State = json.loads(said)
    except ValueError:
        raise Unreachable(f"{host}: {SAID} is not JSON: `journalctl -u {UNIT}` there says why") from None
    return told


def wrong(told: State, declared: Collection[str]) -> list[str]:
    """What is not as it should be, in words. declared: the versions that may run."""
    found = [*told["wrong"]]
    if told["version"] and told["version"] not in declared:
        found.append(f"version: {told['version']} runs, and {' or '.join(declared)} is declared")
    return found
