"""`record`: a shell on a terminal, and what it showed in a file, without secrets.

`script` (util-linux) has the terminal: its size, its modes, its signals. It hands on what the terminal shows and not
what is typed, so what is typed without echo is nowhere; each line is written once `omitting` has left out what is
secret.
"""

import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import NamedTuple

from backup.sizes import counted
from roles.signing.tools.ceremony import left_out
from roles.signing.tools.ceremony.omitting import Line, Omitting
from roles.signing.tools.ceremony.shown import Shown
from roles.signing.tools.custody.git import sync_folder
from roles.signing.tools.errors import HsmError

SHELL = ("/bin/bash", "--noprofile", "--norc")
SYNC_S = 1.0
"""What was written is on the disk so long after it at the latest."""
SECRET_BYTES, SHOWN_BYTES = 1 << 16, 1 << 16


class Recorded(NamedTuple):
    """code: of the command. left_out: things that the transcript has a mark for."""

    code: int
    left_out: int


class Transcript:
    """A file that is only ever added to. Raises OSError where it cannot be."""

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        self._file = os.fdopen(descriptor, "ab", 0)
        self._synced, self._unsynced = time.monotonic(), True
        self.write([Line(datetime.now(UTC), f"== begun on {datetime.now(UTC):%Y-%m-%d}, times in UTC")])
        self.sync()
        sync_folder(path.absolute().parent)

    def write(self, lines: Sequence[Line]) -> None:
        for line in lines:
            self._file.write(f"{line.when:%H:%M:%S} {line.text}".rstrip().encode() + b"\n")
            self._unsynced = True
        self.sync(SYNC_S)

    def sync(self, after_s: float = 0) -> None:
        """If the last time is so long ago."""
        if self._unsynced and time.monotonic() - self._synced >= after_s:
            os.fsync(self._file.fileno())
            self._synced, self._unsynced = time.monotonic(), False

    def close(self) -> None:
        self.sync()
        self._file.close()


def record(path: Path, command: Sequence[str]) -> Recorded:
    """command: by default a shell. Raises HsmError; what runs is ended when nothing can be written any more."""
    omitting = Omitting()
    shown = Shown(lambda: shutil.get_terminal_size().columns)
    try:
        transcript = Transcript(path)
    except OSError as error:
        raise HsmError(f"{path}: cannot be written: {error.strerror}") from None
    with _script(command or SHELL) as (process, pipe, secrets):
        try:
            for data, told in _heard(process, pipe, secrets):
                for secret in told:
                    omitting.told(secret)
                for text in shown.feed(data):
                    transcript.write(omitting.line(Line(datetime.now(UTC), text)))
                transcript.sync(SYNC_S)
            for text in shown.end():
                transcript.write(omitting.line(Line(datetime.now(UTC), text)))
            transcript.write(omitting.end())
            code = process.wait()
            code = code if code >= 0 else 128 - code
            ended = f"== ended with exit code {code}, {counted(omitting.left_out, 'thing')} left out"
            transcript.write([Line(datetime.now(UTC), ended)])
            transcript.close()
        except OSError as error:
            process.terminate()
            reason = f"cannot be written any more ({error.strerror}), and nothing goes on unrecorded"
            raise HsmError(f"{path}: {reason}") from None
    return Recorded(code, omitting.left_out)


@contextmanager
def _script(command: Sequence[str]) -> Iterator[tuple["subprocess.Popen[bytes]", int, socket.socket]]:
    """The process, a pipe of what its terminal shows, and our end of what it tells to leave out."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with tempfile.TemporaryDirectory() as folder, ours, theirs:
        path = Path(folder) / "shown"
        os.mkfifo(path, 0o600)
        pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)  # also for writing: so it has no end before all of it is read
        environment = os.environ | {"SHELL": SHELL[0], left_out.VARIABLE: left_out.named(theirs)}
        words = ["script", "--quiet", "--return", "--flush", "--log-out", str(path)]
        words += ["--command", f"exec {shlex.join(command)}"]
        try:
            process = subprocess.Popen(words, env=environment, pass_fds=(theirs.fileno(),))
        except FileNotFoundError:
            raise HsmError("script: not installed on this machine (Debian's bsdutils)") from None
        try:
            yield process, pipe, ours
        finally:
            os.close(pipe)
            process.wait()


def _heard(process: "subprocess.Popen[bytes]", pipe: int, secrets: socket.socket) -> Iterator[tuple[bytes, list[str]]]:
    """What was shown, and what has been told until then; at least each second; until all of it is read."""
    end = os.pidfd_open(process.pid)
    try:
        with DefaultSelector() as selector:
            for one in (pipe, end):
                selector.register(one, EVENT_READ)
            while True:
                ended = end in [key.fd for key, _ in selector.select(SYNC_S)]
                data = _read(pipe)
                yield data, _told(secrets)  # told after shown: what data shows was told before, if it was
                if ended and not data:
                    return
    finally:
        os.close(end)


def _read(pipe: int) -> bytes:
    try:
        return os.read(pipe, SHOWN_BYTES)
    except BlockingIOError:
        return b""


def _told(secrets: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(secrets.recv(SECRET_BYTES, socket.MSG_DONTWAIT).decode())
        except BlockingIOError:
            return found
