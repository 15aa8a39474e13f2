"""The hosts' ledgers: there before the first run, with the rights that let the control host's account read them.

A host that has none, since it was reinstalled, gets the one back that was collected from it: without that it would
begin anew, which the control side takes for history that was rewritten. A ledger with anything in it is not touched.
"""

import shlex
from collections.abc import Callable, Collection, Generator

from pyinfra.api.command import PyinfraCommand, QuoteString, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host, state

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

    kind = "files"

    def command(self, plans: Collection[str]) -> str:
        files = shlex.join(f"{folder(plan)}/ledger.jsonl" for plan in plans)
        return f"echo {LOOKED}; find {files} -maxdepth 0 -type f -printf '%h %g %m %s\\n' 2>/dev/null; true"


@operation()
def ledgers(
    plans: Collection[str], group: str, collected: Callable[[str], bytes]
) -> Generator[PyinfraCommand, None, None]:
    """A ledger for each plan, that the group can read; collected: what the record has of a plan's."""
    look = host.get_fact(LedgerLook, plans=sorted(plans))
    if look is None:
        return
    found = {}
    for line in look:
        at, owner, mode, length = line.split(" ")
        found[at.removeprefix(f"{STATE}/")] = ((owner, mode), int(length))
    for plan in sorted(plans):
        rights, size = found.get(plan, (("", ""), 0))
        lost = b"" if size or not state.is_executing else collected(plan)
        if lost:
            host.log(f"  {plan}: its ledger is given back, {len(lost.splitlines())} lines as they were collected")
            yield _given_back(plan, lost)
        if lost or rights != (group, RIGHTS[group]):
            host.log(f"  {plan}: its ledger, for the group {group}")
            file = f"{folder(plan)}/ledger.jsonl"
            yield StringCommand(f"umask 077; : >> {file} && chgrp {group} {file} && chmod {RIGHTS[group]} {file}")


def _given_back(plan: str, lost: bytes) -> StringCommand:
    """Whole or not at all, and only while no run is at it and the ledger is empty."""
    put = "[ -s ledger.jsonl ] || { cat > ledger.new && sync ledger.new && mv -f ledger.new ledger.jsonl; }"
    script = f"umask 077; cd {folder(plan)} && flock -w 10 lock sh -c {shlex.quote(put)}"
    return StringCommand("sh", "-c", QuoteString(script), _stdin=lost.decode())
