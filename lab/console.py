"""A VM's serial console, as by somebody who sits at it: the one way into a host without a network."""

import re
import secrets
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.engine import EngineError

TIMEOUT_S = 300
"""Of what a VM without KVM does on a machine that does other things as well."""
RETURN_AGAIN_S = 10
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\r|\x00")
"""What terminals are told, beside text."""


class NotSaid(EngineError):
    """It was not said in time."""


class Console:
    """What a host says since this was opened, and what is typed. One at a time for a VM; all of it is in its log, too.

    Raises EngineError when the VM does not run, ends, or does not say in time what is waited for.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise EngineError(f"{path}: {error.strerror}: the VM does not run") from error
        self._raw = b""
        self._passed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    @property
    def said(self) -> str:
        """All of it, without what only terminals understand."""
        return plain(self._raw)

    def type(self, text: str) -> None:
        """Keys, as they are; a line ends with \\n, which is the return key."""
        self._socket.sendall(text.replace("\n", "\r").encode())

    def wait_for(self, pattern: str, timeout_s: float = TIMEOUT_S) -> re.Match[str]:
        """Until it says what matches, after what was waited for last; the match."""
        deadline = time.monotonic() + timeout_s
        while not (found := re.compile(pattern, re.MULTILINE).search(self.said, self._passed)):
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                more = self._socket.recv(65536)
            except TimeoutError as error:
                end = self.said[-600:]
                raise NotSaid(f"{self._path}: no {pattern!r} within {timeout_s:g} s; it ends with:\n{end}") from error
            if not more:
                raise EngineError(f"{self._path}: the VM ended; the console ends with:\n{self.said[-600:]}")
            self._raw += more
        self._passed = found.end()
        return found

    def run(self, command: str, timeout_s: float = TIMEOUT_S) -> tuple[int, str]:
        """At a shell's prompt: the command's exit code and output. It is one line."""
        mark = secrets.token_hex(4)
        # The line as it is echoed does not hold the marks: the quotes stand in them.
        self.type(f"echo '<''{mark}'; {command}; echo '>''{mark}' $?\n")
        self.wait_for(rf"^<{mark}\n", timeout_s)
        start = self._passed
        end = self.wait_for(rf">{mark} (\d+)$", timeout_s)
        return int(end[1]), self.said[start : end.start()]

    def enter(self, timeout_s: float = TIMEOUT_S) -> None:
        """Until there is a shell's prompt, of a VM that started without a network: root is let in there at once."""
        deadline = time.monotonic() + timeout_s
        while True:
            # What was said before this was opened is not said again.
            self.type("\n")
            try:
                self.wait_for(r"# $", min(RETURN_AGAIN_S, max(0.01, deadline - time.monotonic())))
            except NotSaid:
                if time.monotonic() > deadline:
                    raise
            else:
                return


def plain(raw: bytes) -> str:
    """Text as a terminal would show it, in lines ended by \\n alone."""
    return CONTROL.sub("", raw.decode(errors="replace"))
