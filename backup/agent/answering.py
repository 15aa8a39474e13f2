"""What a host says to the control host, whose key can do nothing else here: sshd runs this whatever it asked for."""

import re
from pathlib import Path

from backup import ledger
from backup.agent.attempt import BadInput
from backup.agent.state import State

ASKED = re.compile(
    r"sudo -n /usr/local/lib/mainstay/backup\.pyz ledger (?P<plan>[a-z][a-z0-9-]{0,62}) --after (?P<after>[0-9]{1,12})"
)
"""The very words of backup/reach.py. sudo is not run: the control host's group may read ledgers."""


def answer(asked: str, state: Path) -> list[bytes]:
    """The lines of a ledger; asked is what the client wanted to run. Raises BadInput for anything else."""
    found = ASKED.fullmatch(asked)
    if not found:
        raise BadInput("this key may ask for a ledger, and for nothing else")
    return ledger.lines(State(state / found["plan"]).ledger, int(found["after"]))
