"""The way to hosts."""

import socket
from pathlib import Path

import pytest

from backup.reach import Unreachable, answer, forwarded
from inventories.errors import InputError


def test_a_host_that_is_down_is_told_as_such(tmp_path: Path) -> None:
    config = tmp_path / "ssh_config"
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        config.write_text(f"Host vault-1\n  HostName 127.0.0.1\n  Port {nobody_listens.getsockname()[1]}\n")
        with pytest.raises(Unreachable, match=r"vault-1: .*refused"), forwarded(config, "vault-1", 8001):
            pass


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("exec sleep 60", "web-1: no answer within 0.1 s"),
        ("echo no route >&2; exit 255", "web-1: no route"),
        ("exit 3", "web-1: ended with 3"),
    ],
)
def test_another_machine_that_does_not_answer_is_told_as_such(command: str, told: str) -> None:
    with pytest.raises(Unreachable, match=f"^{told}$"):
        answer(["sh", "-c", command], "web-1", 0.1 if "sleep" in command else 60)


def test_what_another_machine_says_is_what_it_was_asked() -> None:
    assert answer(["cat"], "web-1", 60, b"a line\n").stdout == b"a line\n"
    with pytest.raises(InputError, match="cannot be run here"):
        answer(["no-such-program"], "web-1", 60)
