"""The way to hosts."""

import socket
from pathlib import Path

import pytest

from backup.reach import Unreachable, forwarded


def test_a_host_that_is_down_is_told_as_such(tmp_path: Path) -> None:
    config = tmp_path / "ssh_config"
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        config.write_text(f"Host vault-1\n  HostName 127.0.0.1\n  Port {nobody_listens.getsockname()[1]}\n")
        with pytest.raises(Unreachable, match=r"vault-1: .*refused"), forwarded(config, "vault-1", 8001):
            pass
