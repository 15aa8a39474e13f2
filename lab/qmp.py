"""QEMU's machine protocol: JSON, a line each, over a UNIX socket (docs/interop/qmp-spec.rst of QEMU 7.2)."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab.engine import EngineError

ANSWER_TIMEOUT_S = 60
"""Of a command. While another client is served, one waits to be greeted: QEMU serves one at a time."""


class Refused(EngineError):
    """QEMU answered with an error; `kind` is its class."""

    def __init__(self, command: str, error: dict[str, str]) -> None:
        super().__init__(f"{command}: {error['desc']}")
        self.kind = error["class"]


class Qmp:
    """One conversation with the process behind a socket. Raises EngineError where it does not take part."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._read = b""
        self._events: list[dict[str, Any]] = []

    def __call__(self, command: str, **arguments: Any) -> Any:
        """What the command returns; `_` in names of arguments stands for `-`. Raises Refused."""
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        self._connection.sendall(json.dumps({"execute": command, "arguments": named}).encode() + b"\n")
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while "return" not in (answer := self._message(deadline, command)):
            if "error" in answer:
                raise Refused(command, answer["error"])
            self._events.append(answer)
        return answer["return"]

    def event(self, name: str, timeout_s: float, **data: Any) -> None:
        """Waits for an event of that name with those data, which may have come since the conversation began."""
        deadline = time.monotonic() + timeout_s
        while True:
            for event in self._events:
                if event.get("event") == name and data.items() <= event["data"].items():
                    self._events.remove(event)
                    return
            self._events.append(self._message(deadline, f"event {name} {data}"))

    def greeted(self) -> None:
        """The beginning of it."""
        self._message(time.monotonic() + ANSWER_TIMEOUT_S, "greeting")
        self("qmp_capabilities")

    def _message(self, deadline: float, awaited: str) -> dict[str, Any]:
        while b"\n" not in self._read:
            self._connection.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                more = self._connection.recv(65536)
            except TimeoutError as error:
                raise EngineError(f"QEMU: no answer in time: {awaited}") from error
            except OSError as error:
                raise EngineError(f"QEMU: {error}: {awaited}") from error
            if not more:
                raise EngineError(f"QEMU ended: {awaited}")
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        return dict(json.loads(line))


@contextlib.contextmanager
def talk(path: Path) -> Iterator[Qmp]:
    """A conversation for as long as it lasts. Raises EngineError where nobody listens."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
        except OSError as error:
            raise EngineError(f"{path}: {error.strerror}: the VM does not run") from error
        qmp = Qmp(connection)
        qmp.greeted()
        yield qmp
