"""Changes that could lock everybody out are undone by the host itself, unless a new connection confirms them in time.

ARM goes `before` the first change of each operation that touches sshd, firewall, network or admins; `confirmed` comes
after the last one and disarms through a connection made for it; `settled` comes first, for what an earlier run that
died has left armed. What happens on the host: tree/usr/local/lib/mainstay/rollback.py.
"""

import time
from collections.abc import Generator, Sequence
from typing import Any

from pyinfra import logger
from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.operation import OperationMeta, operation
from pyinfra.context import host

from roles.common.facts import LOOKED, Look
from roles.common.program import program

ROLLBACK = "/usr/local/lib/mainstay/rollback.py"
ARMED = "/var/lib/mainstay/armed"
IMAGE = "/var/lib/mainstay/image.json"
"""What the host had that nobody declared when it was first deployed; ../common/on_host/look.py writes it once."""
SECONDS = 45
TRIES = 3
"""Connections tried before giving up: while sshd takes up its configuration it may refuse one."""

Commands = Generator[PyinfraCommand, None, None]


def _rollback(verb: str) -> StringCommand:
    return StringCommand("python3", "-I", ROLLBACK, verb)


ARM = (_rollback("arm"),)


class LeftLook(Look):
    """Which of them is there: an armed roll-back, the record of what the image brought."""

    kind = "deploys"

    def command(self) -> str:
        return f"echo {LOOKED}; ls -d {ARMED} {IMAGE} 2>/dev/null; true"


@operation()
def settled() -> Commands:
    """Rolls back at once what an earlier run armed and did not confirm: it would otherwise undo this one's work. Before
    a host's first deploy changes anything, what its image brought is written down, for `mainstay drift`."""
    look = host.get_fact(LeftLook)
    if look is None:
        return
    if ARMED in look:
        host.log("  roll-back: an earlier change was never confirmed by a new connection: the host puts it back first")
        yield _rollback("now")
    if IMAGE not in look:
        host.log("  image: what it brought is not written down yet")
        yield program("look", {"remember": True})


@operation()
def confirmed(changes: Sequence[OperationMeta]) -> Commands:
    """Proves that the host can still be reached, by disarming it through a new connection, if anything changed."""
    if any(change.did_change() if change.is_complete() else change.will_change for change in changes):
        yield Disarm()


class Disarm(PyinfraCommand):
    """A new TCP connection, host key check, log-in and sudo; through it the host is disarmed."""

    def execute(self, state: Any, host: Any, connector_arguments: Any) -> bool:
        problem = ""
        for attempt in range(TRIES):
            time.sleep(attempt)
            connection = type(host.connector)(state, host)
            try:
                connection.connect()
                done, output = connection.run_shell_command(_rollback("disarm"), **connector_arguments)
            except ConnectError as error:
                problem = str(error)
                continue
            finally:
                if getattr(connection, "client", None):  # at a host's own console there is none
                    connection.client.close()
            if done:
                return True
            problem = output.stderr or output.stdout
            break
        host.log_styled(
            f"no way in for a new connection after this change: {problem.strip()}\n"
            f"  The host puts back its sshd, firewall, network and admins by itself within {SECONDS} s of the change.\n"
            "  Correct the settings or admins.toml and run the deploy again.",
            fg="red",
            log_func=logger.error,
        )
        return False
