"""What roles say of themselves: openings, listeners, recovery."""

import socket
from typing import Any

import paramiko
import pyinfra
import pytest
from pydantic import ValidationError
from pyinfra.api.state import State
from pyinfra.api.util import get_operation_order_from_stack, memoize

import roles.common.transport  # noqa: F401  # its effect is what is tested
from backup.recovery import Recovery
from roles.common import Listen, Opening
from roles.common.op_order import from_frames


def test_openings_and_listeners_are_checked() -> None:
    assert Opening(protocol="tcp", port=443, sources=("10.0.0.0/8", "fd00::/8")).sources == ("10.0.0.0/8", "fd00::/8")
    assert Listen(protocol="udp", port=53, address="::1").address == "::1"
    for bad in ({"port": 0}, {"port": 70000}, {"port": 1, "sources": ("10.0.0.1/8",)}, {"port": 1, "protocol": "sctp"}):
        with pytest.raises(ValidationError):
            Opening.model_validate({"protocol": "tcp"} | bad)
    with pytest.raises(ValidationError):
        Listen(protocol="tcp", port=1, address="localhost")


def test_a_role_either_has_data_or_says_that_it_has_none() -> None:
    assert Recovery(consistency="none").root == ""
    good = Recovery(consistency="files", root="/srv/x")
    assert (good.paths, good.every, good.rpo_hours, good.keep.daily) == ((".",), "daily", 30, 14)
    for bad in ({"consistency": "files"}, {"consistency": "none", "root": "/srv"}):
        with pytest.raises(ValidationError):
            Recovery.model_validate(bad)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"root": "srv"}, "root must be an absolute folder"),
        ({"root": "/"}, "plain path below root"),
        ({"root": "/srv/../etc"}, "plain path below root"),
        ({"paths": ("/srv",)}, "plain path below root"),
        ({"paths": ()}, "at least 1"),
        ({"command": ("pg_dump",)}, "only with it"),
        ({"consistency": "command"}, "only with it"),
        ({"before": ((),)}, "at least 1"),
        ({"every": "daily", "rpo_hours": 24}, "cannot promise 24 h"),
        ({"keep": {"last": 0}}, "greater than or equal to 1"),
    ],
)
def test_what_a_role_says_of_its_data_must_be_possible(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Recovery.model_validate({"consistency": "files", "root": "/srv/x"} | change)


def test_every_ssh_connection_is_made_without_nagle_and_gives_a_dead_host_up_after_a_minute() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    transport = paramiko.Transport(client)
    try:
        assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        asked = [client.getsockopt(socket.IPPROTO_TCP, one) for one in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL)]
        assert asked[0] + asked[1] * client.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) <= 75
        assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
    finally:
        transport.close()
        client.close()
        listener.close()


def test_operations_at_the_same_line_of_two_files_are_two() -> None:
    call = "from_frames(state)"
    release, web = [
        eval(compile(call, f"{role}.py", "eval"), globals(), {"state": State()}) for role in ("release", "web")
    ]
    assert release != web
    assert release[1::2] == web[1::2]


@pytest.mark.parametrize("cli", [True, False])
@pytest.mark.parametrize("deploy", [__file__, None, "deploys/other.py"])
def test_operations_are_ordered_as_pyinfra_orders_them(
    monkeypatch: pytest.MonkeyPatch, cli: bool, deploy: str | None
) -> None:
    monkeypatch.setattr(pyinfra, "is_cli", cli)
    state = State()
    state.current_deploy_filename = deploy
    state.current_op_file_number = 7
    within_pyinfra = memoize(lambda order: order(state))
    ours, theirs = [within_pyinfra(order) for order in (from_frames, get_operation_order_from_stack)]
    assert ours[:cli] + ours[cli + 1 :: 2] == theirs
    assert (len(ours) > cli) == (deploy != "deploys/other.py")
