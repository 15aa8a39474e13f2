"""How a pyinfra run ends: which hosts were not reached, which failed (it exits 1 on either), and an end by Ctrl-C."""

import atexit
import signal
import sys

import click
import gevent
from pyinfra.api.state import State


def tell_at_exit(state: State) -> None:
    """For config.py, which pyinfra reads before its state is more than a shell: nothing can be hooked into it yet."""
    atexit.register(_tell, state)


def end_at_interrupt(state: State) -> None:
    """For config.py: Ctrl-C ends a run with 130 and without waiting.

    pyinfra alone ends with 0, as if all were done, and that only after whatever hosts are at. The signal finds any of
    the greenlets running: from one of its own, gevent takes the exit to the main one. Only one that waits at a prompt
    lets no other run, and has to leave it first.
    """

    def end() -> None:
        click.secho("interrupted: the same command resumes where this one stopped", fg="red", err=True)
        if state.initialised:
            state.pool.kill(block=False)
        sys.exit(130)

    def interrupted(*_: object) -> None:
        gevent.spawn(end)
        if gevent.getcurrent() is not gevent.get_hub():
            sys.exit(130)

    signal.signal(signal.SIGINT, interrupted)


def _tell(state: State) -> None:
    if not state.initialised:
        return
    names = {
        "unreachable": sorted(host.name for host in state.failed_hosts - state.activated_hosts),
        "failed": sorted(host.name for host in state.failed_hosts & state.activated_hosts),
    }
    for what, hosts in names.items():
        if hosts:
            click.secho(f"{what}: {', '.join(hosts)}", fg="red", err=True)
