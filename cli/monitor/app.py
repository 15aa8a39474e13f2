"""What the commands of `mainstay monitor` share."""

from collections.abc import Iterator
from contextlib import contextmanager

from backup.reach import Unreachable
from cli import lazy
from cli.options import UNREACHABLE, stop

COMMANDS = {"alerts": "looking", "silence": "silencing", "journal": "reading", "keys": "making"}
"""The module of each, as an admin needs them."""

app = lazy.commands(
    "cli.monitor",
    COMMANDS,
    "Exit codes: 0 done, 1 failed, 2 bad usage or bad input, 3 unreachable; of alerts 56, something is wrong.",
)


@contextmanager
def failures(command: str) -> Iterator[None]:
    """What stops a command, in its words and with its exit code."""
    try:
        yield
    except Unreachable as error:
        raise stop(f"monitor {command}", error, UNREACHABLE) from None
