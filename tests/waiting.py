"""Waiting for what is to come to pass, and for nothing else."""

import socket
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(what: str, look: Callable[[], T], *, timeout_s: float = 60, every_s: float = 0.1) -> T:
    """The first result that is true. Fails the test when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(every_s)
    return found


def listens(port: int) -> bool:
    """Whether somebody takes connections at a port of loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
