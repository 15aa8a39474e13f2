"""How every SSH connection of this process is made; imported by config.py for its effect.

Nagle's algorithm is off: paramiko leaves it on, and a remote command then waits for a delayed acknowledgement: 46 ms
where 3 ms will do. A host that died is given up after about a minute, as `ssh` does by inventories/ssh.py: paramiko
would wait for ever for a command that runs there.
"""

import socket
from typing import Any

import paramiko

ASK_EVERY_S, GIVE_UP_AFTER = 15, 4
"""How often a silent host is asked whether it is there, and how many questions in a row may stay unanswered."""
OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, ASK_EVERY_S),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, ASK_EVERY_S),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, GIVE_UP_AFTER),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, ASK_EVERY_S * GIVE_UP_AFTER * 1000),
)
"""tcp(7)."""
_start = paramiko.Transport.__init__


def _with_options(self: paramiko.Transport, *args: Any, **kwargs: Any) -> None:
    _start(self, *args, **kwargs)
    if isinstance(self.sock, socket.socket) and self.sock.family in (socket.AF_INET, socket.AF_INET6):
        for option in OPTIONS:
            self.sock.setsockopt(*option)


paramiko.Transport.__init__ = _with_options  # type: ignore[method-assign]
