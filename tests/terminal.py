"""A person at a terminal, for what asks on one."""

import codecs
import os
import pty
import re
import subprocess
import termios
from collections.abc import Callable, Mapping, Sequence
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
