"""`mainstay hsm` that is killed (-9), over and over: `python -m tests.faults.hsm_killed HOW hsm ...`.

HOW is `each`: at its first point, then at its second, and so on, with a whole run after each, until there is no further
point; or `first`: at its first point again and again, until what is left has none. A point is a request to a device, a
write or a sync of a file, or a program that is run, before and after it; a write is halved. With `first`, those that
change a device or a file, after they did. What the last point of each run was goes to standard output, a line each.

A loss of power, as far as a process can have one: the devices boot, and what was written and not synced stays.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from yubihsm.core import AuthSession
from yubihsm.defs import COMMAND

import cli.hsm.draining
import cli.hsm.planning  # noqa: F401 - a fork has all of it at once
from cli.main import main
from roles.signing.tools import places
from roles.signing.tools.connector import Connector
from roles.signing.tools.custody import repository

CHANGING = ("PUT_", "GENERATE_", "IMPORT_", "SET_OPTION")
GIT = ("cat-file", "add", "commit", "remote", "push")
RUNS = 80
WRITE = os.write
LINES = 4
"""Of a file of a log: fewer than a drain brings, so that each begins a file."""


class Points:
    """Kills this process at its Nth; 0 is never. The last one's name goes to a pipe."""

    def __init__(self, at: int, told: int) -> None:
        self._at, self._told, self._passed = at, told, 0

    def reach(self, name: str, torn: Callable[[], object] = lambda: None) -> None:
        self._passed += 1
        if self._passed == self._at:
            torn()
            WRITE(self._told, name.encode())
            os.kill(os.getpid(), signal.SIGKILL)


def around(owner: Any, name: str, points: Points, called: Callable[..., str], torn: bool = False) -> None:
    real = getattr(owner, name)

    def passing(*arguments: Any, **more: Any) -> Any:
        what = called(*arguments)
        points.reach(f"before {what}", lambda: torn and real(arguments[0], arguments[1][: len(arguments[1]) // 2]))
        done = real(*arguments, **more)
        points.reach(f"after {what}")
        return done

    setattr(owner, name, passing)


def each(points: Points) -> None:
    setattr(repository, "LINES", LINES)  # noqa: B010
    around(Connector, "transceive", points, lambda _, message: f"request {message[0]:#04x}")
    around(subprocess, "run", points, lambda words, **_: next(one for one in words[1:] if one in GIT))
    around(os, "fsync", points, lambda _: "fsync")
    around(os, "write", points, lambda *_: "write", torn=True)


def changing(points: Points) -> None:
    send, write = AuthSession.send_secure_cmd, Path.replace

    def sent(session: AuthSession, command: COMMAND, data: bytes = b"") -> bytes:
        answer = send(session, command, data)
        if command.name.startswith(CHANGING):
            points.reach(command.name)
        return answer

    def replaced(path: Path, target: Any) -> Any:
        done = write(path, target)
        points.reach("file")
        return done

    setattr(AuthSession, "send_secure_cmd", sent)  # noqa: B010
    setattr(Path, "replace", replaced)  # noqa: B010


def run(hook: Callable[[Points], None], at: int) -> tuple[int, str]:
    """Exit code, or minus the signal; and the point at which it was killed."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        points = Points(at, write)
        hook(points)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        try:
            main()
        except SystemExit as error:
            os._exit(error.code if isinstance(error.code, int) else 1)
        os._exit(0)
    os.close(write)
    _, status = os.waitpid(child, 0)
    with os.fdopen(read) as told:
        return os.waitstatus_to_exitcode(status), told.read()


def lose_power() -> None:
    """Of the devices: their sessions end, and they log that they boot."""
    for place in places.read(Path(sys.argv[sys.argv.index("--file") + 1])).devices:
        faults = f"{place.connector}/lab/faults"
        requests.post(faults, json={"kind": "unplug"}, timeout=60).raise_for_status()
        requests.delete(faults, timeout=60).raise_for_status()


def killing() -> None:
    how = sys.argv.pop(1)
    at = 0
    for _ in range(RUNS):
        at = at + 1 if how == "each" else 1
        code, point = run(each if how == "each" else changing, at)
        print(point or f"ended with {code}", flush=True)
        if code != -signal.SIGKILL:
            return
        lose_power()
        if how == "each":
            code, _ = run(lambda _: None, 0)
            print(f"then {code}", flush=True)


if __name__ == "__main__":
    killing()
