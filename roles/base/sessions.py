"""A program that runs on a host for as long as a deploy does: over pyinfra's own connection, or at its console."""

import json
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol, cast

from paramiko import SSHException
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.state import State
from pyinfra.connectors.util import make_unix_command_for_host

from roles.common.program import program

OF_ONE_COMMAND = {"_get_pty", "_timeout", "_stdin", "_success_exit_codes"}
END_S = 10
"""How long its end is waited for, which writes a line."""


class Session(Protocol):
    """The program, once it has said its one line. about: what it was started with."""

    about: Mapping[str, object]

    def record(self, **entry: object) -> None:
        """Has it write something into the record; what cannot be sent to it is not written."""

    def over(self) -> bool:
        """Whether it has ended."""

    def end(self) -> None:
        """Ends its input, and waits until it has ended."""


class SshSession:
    """One more session of the connection."""

    def __init__(self, client: Any, command: str, stdin: str, about: Mapping[str, object]) -> None:
        self.about = about
        self.stdin, self.stdout, self.stderr = client.exec_command(command)
        self.stdin.write(stdin)
        self.stdin.flush()

    def answer(self) -> str:
        return str(self.stdout.readline()) or self.stderr.read().decode(errors="replace")

    def record(self, **entry: object) -> None:
        with suppress(OSError, SSHException):  # the host ended it, and has recorded that
            self.stdin.write(f"{json.dumps(entry)}\n")
            self.stdin.flush()

    def over(self) -> bool:
        return bool(self.stdout.channel.exit_status_ready())

    def end(self) -> None:
        channel = self.stdin.channel
        with suppress(OSError, SSHException, EOFError):  # the connection is gone, and the input with it
            channel.shutdown_write()
            channel.status_event.wait(END_S)
            channel.close()


class ConsoleSession:
    """A process of this machine, which Ctrl-C does not reach."""

    def __init__(self, command: str, stdin: str, about: Mapping[str, object]) -> None:
        self.about = about
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._send(stdin)

    def _send(self, text: str) -> None:
        assert self.process.stdin
        with suppress(OSError):  # it has ended, and recorded that
            self.process.stdin.write(text)
            self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline()

    def record(self, **entry: object) -> None:
        self._send(f"{json.dumps(entry)}\n")

    def over(self) -> bool:
        return self.process.poll() is not None

    def end(self) -> None:
        assert self.process.stdin
        with suppress(OSError):
            self.process.stdin.close()
        self.process.wait(END_S)


def opened(state: State, host: Any, about: Mapping[str, object]) -> tuple[Session, dict[str, Any]]:
    """Starts it on a host, as pyinfra would a command there; and what it said, or {"problem": ...}."""
    asked = program("deploying", about)
    arguments = cast(dict[str, Any], pop_global_arguments(state, host, {})[0])
    how = {key: arguments[key] for key in CONNECTOR_ARGUMENT_KEYS if key in arguments and key not in OF_ONE_COMMAND}
    command = make_unix_command_for_host(state, host, asked, **how).get_raw_value()
    stdin = f"{asked.connector_arguments['_stdin']}\n"
    client = getattr(host.connector, "client", None)
    session = SshSession(client, command, stdin, about) if client else ConsoleSession(command, stdin, about)
    said = session.answer()
    try:
        return session, dict(json.loads(said))
    except ValueError:
        return session, {"problem": said.strip() or "the host said nothing"}
