"""A person at a terminal, for what asks on one."""

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.waiting import until

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def on_a_terminal(program: Callable[[], int], answers: Sequence[str]) -> tuple[str, int]:
    """Runs `program` in a process with a terminal of its own and answers each prompt, which ends with `: `.

    Returns all that the person has seen and the exit code.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        code = 1
        try:
            code = program()
        finally:
            os._exit(code)
    seen, asked = "", 0
    while True:
        try:
            seen += os.read(terminal, 4096).decode()
        except OSError:
            break
        if seen.endswith(": ") and asked < len(answers):
            os.write(terminal, f"{answers[asked]}\n".encode())
            asked += 1
    os.close(terminal)
    return seen, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Terminal:
    """A program on a terminal of its own, 200 columns wide, at which a person reads and types."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        pid, self._terminal = pty.fork()
        if pid == 0:
            try:
                os.chdir(folder)
                os.execvpe(words[0], list(words), dict(environment))
            finally:
                os._exit(127)
        self.pid = pid
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        self.seen = ""

    def type(self, line: str) -> None:
        os.write(self._terminal, f"{line}\n".encode())

    def read(self, until: re.Pattern[str], within_s: float = 120) -> tuple[str, re.Match[str]]:
        """What it shows until the end of that looks like this, and how it looks."""
        shown, ends = "", time.monotonic() + within_s
        while not (found := until.search(shown)):
            left = ends - time.monotonic()
            assert left > 0, f"no {until.pattern} in {within_s:g} s: {shown!r}"
            if select.select([self._terminal], [], [], left)[0]:
                shown += self._more()
        return shown, found

    def end(self) -> tuple[str, int]:
        """What it still shows, and its exit code."""
        shown = ""
        try:
            while True:
                shown += self._more()
        except AssertionError:
            return shown, os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        finally:
            os.close(self._terminal)

    def _more(self) -> str:
        try:
            data = os.read(self._terminal, 4096)
        except OSError:  # as Linux says it where nobody has the other side any more
            data = b""
        assert data, f"it has ended: {self.seen[-1000:]}"
        text = data.decode(errors="replace")
        self.seen += text
        return text


def answered(words: Sequence[str], answers: Mapping[str, Sequence[str]], **options: Any) -> tuple[str, int]:
    """Runs a program with a terminal of its own, and answers each prompt by its words.

    answers: of each prompt one after the other, and the last one from then on. options: of subprocess.Popen.
    Returns all that the person has seen, without its colours, and the exit code.
    """
    terminal, its = pty.openpty()
    left = {prompt: list(each) for prompt, each in answers.items()}
    seen, decoder = "", codecs.getincrementaldecoder("utf-8")("replace")
    with subprocess.Popen(
        ["setsid", "--ctty", "--wait", *words], stdin=its, stdout=its, stderr=its, **options
    ) as running:
        os.close(its)
        while True:
            try:
                seen += decoder.decode(os.read(terminal, 4096))
            except OSError:
                break
            for prompt, each in left.items():
                if seen.endswith(prompt):
                    if "assword" in prompt:  # some programs ask first, and switch the echo off then
                        until(f"{prompt!r} takes what nobody sees", lambda: not _echoes(terminal), timeout_s=60)
                    os.write(terminal, f"{each.pop(0) if len(each) > 1 else each[0]}\n".encode())
        code = running.wait()
    os.close(terminal)
    return COLOUR.sub("", seen).replace("\r\n", "\n"), code


def _echoes(terminal: int) -> bool:
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)
