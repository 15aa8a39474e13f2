"""`run`: a command of a tool, with room for its entries before and the log drained after it.

What speaks to devices takes longer to load than all else here: that is done while the command runs.
"""

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from roles.signing.tools.custody.git import Git
from roles.signing.tools.errors import INCIDENT, HsmError
from roles.signing.tools.passwords import Passwords
from roles.signing.tools.places import Custody
from roles.signing.tools.wire import Place, free_slots

ROOM = 30
"""Slots that a command may fill, of 62: a call of yubihsm-shell fills 4, one of apksigner up to 20."""


class NotDrained(HsmError):
    """The command ran, and ended with `code`; its entries are still on the device."""

    def __init__(self, code: int, why: HsmError) -> None:
        super().__init__(f"the command ended with {code}, and the log was not drained after it: {why}")
        self.code = code


def in_custody(
    custody: Custody, place: Place, words: Sequence[str], wanted: int, passwords: Passwords
) -> tuple[int, list[str]]:
    """The command's exit code (128 and its signal's number, if that ended it), or that of an incident; and incidents
    in words.

    The log is drained whatever the command did. Raises HsmError where there is no room to be had, and OSError where the
    command cannot be started; NotDrained after it.
    """
    git = Git(custody.repository)
    passwords.of(custody.reader)  # asked for before the command: what is not there now must not be missed then
    done = []

    def drain() -> None:
        done.append(_draining().drain(place, git, custody.reader_id, lambda: passwords.of(custody.reader)))

    if free_slots(place) < wanted:
        drain()
    code = _run(words)
    try:
        drain()
    except HsmError as error:
        raise NotDrained(code, error) from error
    told: list[str] = _draining().incidents_of(done)
    return code or (INCIDENT if told else 0), told


def _run(words: Sequence[str]) -> int:
    with _outlived() as process:
        process += [subprocess.Popen(words)]
        _draining()
        code = process[0].wait()
    return code if code >= 0 else 128 - code


def _draining() -> Any:
    return import_module("roles.signing.tools.custody.draining")


@contextmanager
def _outlived() -> Iterator[list["subprocess.Popen[bytes]"]]:
    """What is to end the command ends it alone: the log is drained after it. Ctrl-C reaches it from the terminal."""
    processes: list[subprocess.Popen[bytes]] = []

    def forward(number: int, _: object) -> None:
        for process in processes:
            if number != signal.SIGINT:
                process.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield processes
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
