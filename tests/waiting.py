"""Waiting for what is to come to pass, and for nothing else."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")
REST_S = 0.1


def until(what: str, look: Callable[[], T], *, timeout_s: float = 180, every_s: float = 0) -> T:
    """The first result that is true. Fails the test when there is none in time.

    every_s: 0 looks ten times a second at first, and more and more seldom: what is waited for is seen at most a
    twentieth late, and a look by ssh, which costs a sixth of a second of a core, is not taken over and over.
    """
    start = time.monotonic()
    while not (found := look()):
        waited = time.monotonic() - start
        assert waited < timeout_s, f"not within {timeout_s:g} s: {what}"
        time.sleep(every_s or max(0.1, waited / 20))
    return found


def rounds(ended: threading.Event) -> Iterator[None]:
    """Begins anew after a moment's rest, and a last time when it has ended: how that came out is seen, too."""
    last = False
    while not last:
        last = ended.wait(REST_S)
        yield


def listens(port: int) -> bool:
    """Whether somebody takes connections at a port of loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
