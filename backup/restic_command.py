"""A command whose output restic saves, as restic is to start it: without what restic itself was given.

restic hands its open files and its environment down, and with them password, address and login; a command may be, or
become, another user's.
"""

import sys
from collections.abc import Sequence

START = """\
import os, signal, sys
os.closerange(3, os.sysconf("SC_OPEN_MAX"))
for name in [name for name in os.environ if name.startswith("RESTIC_")]:
    del os.environ[name]
for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(ignored, signal.SIG_DFL)
try:
    os.execvp(sys.argv[1], sys.argv[1:])
except OSError as error:
    sys.exit(f"{sys.argv[1]}: {error.strerror}")
"""
"""Becomes the command: exit code and signals are its own. Python ignores two signals, which would stay so."""


def apart(command: Sequence[str]) -> list[str]:
    """The words that start it."""
    return [sys.executable, "-I", "-S", "-c", START, *command]
