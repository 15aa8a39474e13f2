"""Tells at the end of a pyinfra run which hosts were not reached and which failed: pyinfra exits 1 on either."""

import atexit

import click
from pyinfra.api.state import State


def tell_at_exit(state: State) -> None:
    """For config.py, which pyinfra reads before its state is more than a shell: nothing can be hooked into it yet."""
    atexit.register(_tell, state)


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
