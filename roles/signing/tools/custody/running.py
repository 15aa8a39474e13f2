"""`run`: a command of a tool, with room for its entries before and the log drained after it."""

import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from roles.signing.tools.custody.draining import Drained
from roles.signing.tools.custody.draining import drain as drain_one
from roles.signing.tools.custody.entries import INCIDENT, KINDS
from roles.signing.tools.custody.git import Git
from roles.signing.tools.devices import Place, connected
from roles.signing.tools.errors import HsmError
from roles.signing.tools.passwords import Passwords
from roles.signing.tools.places import Custody

ROOM = 30
"""Slots that a command may fill, of 62: a call of yubihsm-shell fills 4, one of apksigner up to 20."""


class NotDrained(HsmError):
    """The command ran, and ended with `code`; its entries are still on the device."""

    def __init__(self, code: int, why: HsmError) -> None:
        super().__init__(f"the command ended with {code}, and the log was not drained after it: {why}")
        self.code = code


def room(place: Place, wanted: int) -> bool:
    """Whether so many slots are free. Raises HsmError."""
    with connected(place) as device:
        return device.info.log_size - device.info.log_used >= wanted


def in_custody(
    custody: Custody, place: Place, words: Sequence[str], wanted: int, passwords: Passwords
) -> tuple[int, list[str]]:
    """Runs a command; its exit code, or that of an incident, and incidents in words. Raises as `run` does."""
    git = Git(custody.repository)
    passwords.of(custody.reader)  # asked for before the command: what is not there now must not be missed then

    def drain() -> Drained:
        return drain_one(place, git, custody.reader_id, lambda: passwords.of(custody.reader))

    code, done = run(place, words, wanted, drain)
    told = incidents(done)
    return code or (INCIDENT if told else 0), told


def incidents(done: Sequence[Drained]) -> list[str]:
    """In words."""
    return [
        f"{one.place}: INCIDENT, {KINDS[incident.kind]}: {incident.told}" for one in done for incident in one.incidents
    ]


def run(place: Place, words: Sequence[str], wanted: int, drain: Callable[[], Drained]) -> tuple[int, list[Drained]]:
    """The command's exit code (128 and its signal's number, if that ended it), and what was drained.

    The log is drained whatever the command did. Raises HsmError where there is no room to be had, and OSError where the
    command cannot be started; NotDrained after it.
    """
    done = [] if room(place, wanted) else [drain()]
    with _outlived() as process:
        process += [subprocess.Popen(words)]
        code = process[0].wait()
    code = code if code >= 0 else 128 - code
    try:
        done.append(drain())
    except HsmError as error:
        raise NotDrained(code, error) from error
    return code, done


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
