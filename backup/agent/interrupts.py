"""SIGINT, SIGTERM and SIGHUP: the first one breaks off what runs, and never what cleans up after it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Interrupts:
    def __init__(self) -> None:
        self.asked = False
        self.pending = False
        self.held = 0

    def ask(self, _signal: int, _frame: FrameType | None) -> None:
        first, self.asked = not self.asked, True
        if first and not self.held:
            raise KeyboardInterrupt
        self.pending |= first


_interrupts = _Interrupts()


def listen() -> None:
    """From now on the first of these signals raises KeyboardInterrupt in the main thread; further ones do nothing."""
    for number in SIGNALS:
        signal.signal(number, _interrupts.ask)


def ignore() -> None:
    """From now on none does anything: what is left to do is to write down how it ended."""
    _interrupts.asked, _interrupts.pending = True, False


@contextmanager
def held() -> Iterator[None]:
    """A part that is not broken off: the signal counts at its end."""
    _interrupts.held += 1
    try:
        yield
    finally:
        _interrupts.held -= 1
        if _interrupts.pending and not _interrupts.held:
            _interrupts.pending = False
            raise KeyboardInterrupt
