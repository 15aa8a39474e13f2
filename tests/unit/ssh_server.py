"""An SSH server on loopback: which keys get in, and what a command answers, are a test's to say."""

import os
import shutil
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import paramiko
import pytest
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED


class Door(paramiko.ServerInterface):
    """keys: that get in, `TYPE BASE64`. said: of any command."""

    def __init__(self, keys: Collection[str], said: Callable[[], str]) -> None:
        self._keys, self._said = keys, said

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        known = f"{key.get_name()} {key.get_base64()}" in self._keys
        return AUTH_SUCCESSFUL if known else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        def answer() -> None:
            channel.sendall(self._said().encode())
            channel.send_exit_status(0)
            channel.close()

        threading.Thread(target=answer, daemon=True).start()
        return True


@contextmanager
def serving(host_key: Path, keys: Collection[str], said: Callable[[], str]) -> Iterator[int]:
    """Its port, for as long as it lasts."""
    own = paramiko.Ed25519Key.from_private_key_file(str(host_key))

    def serve() -> None:
        with suppress(OSError):
            while True:
                transport = paramiko.Transport(listener.accept()[0])
                transport.add_server_key(own)
                transport.start_server(threading.Event(), Door(keys, said))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def lead_there(port: int, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Whatever this machine's ssh is to reach, it reaches at that port."""
    folder.mkdir()
    way = folder / "ssh"
    way.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -p {port} "$@"\n')
    way.chmod(0o755)
    patch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
