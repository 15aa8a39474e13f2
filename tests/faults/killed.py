"""pyinfra that dies (-9) right after it has sent its Nth remote command: `python -m tests.faults.killed N ARGUMENTS`.

The command is on its way when the process goes, as when a laptop's battery ends. With N = 0 it lives, and its last line
of standard output says how many commands there were.
"""

import os
import signal
import sys
from typing import Any

from pyinfra_cli.main import main as pyinfra  # first: it patches the standard library for gevent

import paramiko  # isort: skip


def main() -> None:
    at = int(sys.argv.pop(1))
    sent = 0
    exec_command = paramiko.Channel.exec_command

    def counted(channel: paramiko.Channel, command: Any) -> None:
        nonlocal sent
        exec_command(channel, command)
        sent += 1
        if sent == at:
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(paramiko.Channel, paramiko.Channel.exec_command.__name__, counted)
    sys.argv[0] = "pyinfra"
    try:
        pyinfra()
    finally:
        print(f"\n{sent}", flush=True)


if __name__ == "__main__":
    main()
