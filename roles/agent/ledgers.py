"""The hosts' ledgers: there before the first run, with the rights that let the control host's account read them."""

import shlex
from collections.abc import Collection, Generator

from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from roles.common.facts import LOOKED, Look

ABOVE = "/var/lib/mainstay"
STATE = f"{ABOVE}/backup"
"""Both can be entered by everybody and listed by root: what may be read is decided further in."""
RIGHTS = {"root": "600", "control": "640"}
"""Mode of a ledger, by the group that it belongs to."""


def folder(plan: str) -> str:
    """What the agent keeps of a plan."""
    return f"{STATE}/{plan}"


class LedgerLook(Look):
    """PLAN GROUP MODE SIZE of the ledgers that are there."""

    def command(self, plans: Collection[str]) -> str:
        files = shlex.join(f"{folder(plan)}/ledger.jsonl" for plan in plans)
        return f"echo {LOOKED}; find {files} -maxdepth 0 -type f -printf '%h %g %m %s\\n' 2>/dev/null; true"


@operation()
def ledgers(plans: Collection[str], group: str) -> Generator[PyinfraCommand, None, None]:
    """A ledger for each plan, that the group can read."""
    look = host.get_fact(LedgerLook, plans=sorted(plans))
    if look is None:
        return
    found = {}
    for line in look:
        at, *rights, _ = line.split(" ")
        found[at.removeprefix(f"{STATE}/")] = rights
    for plan in sorted(plans):
        if found.get(plan) != [group, RIGHTS[group]]:
            file = f"{folder(plan)}/ledger.jsonl"
            host.log(f"  {file}: {'made' if plan not in found else f'for the group {group}'}")
            yield StringCommand(f"umask 077; : >> {file} && chgrp {group} {file} && chmod {RIGHTS[group]} {file}")
