"""Ctrl-C ends a run, whatever it waits for."""

import signal
import subprocess
import sys

import pytest

RUN = """
from types import SimpleNamespace
import gevent
from inventories.outcome import end_at_interrupt
end_at_interrupt(SimpleNamespace(initialised=False))
print("ready", flush=True)
"""


@pytest.mark.parametrize("wait", ["input()", "gevent.sleep(60)", "gevent.spawn(gevent.sleep, 60).join()"])
def test_an_interrupted_run_ends_and_does_not_say_that_all_is_done(wait: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RUN + wait], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        assert run.stdout
        assert run.stderr
        assert run.stdout.readline() == b"ready\n"
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=20) == 130
