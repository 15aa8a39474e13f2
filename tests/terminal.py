"""A person at a terminal, for what asks on one."""

import os
import pty
from collections.abc import Callable, Sequence


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
