"""Tells at the end of a pyinfra run which hosts were not reached and which failed: pyinfra exits 1 on either."""

import atexit
from typing import Any

import click
from pyinfra.api.state import BaseStateCallback, State


class Outcome(BaseStateCallback):  # type: ignore[misc]  # pyinfra ships this base untyped
    """Collects as the run goes; config.py adds it to pyinfra's state."""

    def __init__(self) -> None:
        self.unreachable: list[str] = []
        self.state: State | None = None
        atexit.register(self.tell)

    def host_connect_error(self, state: State, host: Any, error: Any) -> None:
        self.unreachable.append(host.name)

    def host_connect(self, state: State, host: Any) -> None:
        self.state = state

    def tell(self) -> None:
        failed = sorted(host.name for host in self.state.failed_hosts) if self.state else []
        failed = [name for name in failed if name not in self.unreachable]
        for what, hosts in (("unreachable", sorted(self.unreachable)), ("failed", failed)):
            if hosts:
                click.secho(f"{what}: {', '.join(hosts)}", fg="red", err=True)
