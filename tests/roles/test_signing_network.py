"""What reaches the signing host, and what it lets who reach."""

import errno

import pytest
from testinfra.host import Host

from inventories.inventory import LoadedSite
from roles.base import settings as base
from roles.signing.deploy import LOGS, SIGNER
from roles.signing.settings import Settings
from tests.roles.signing_host import STRANGER, connect, declared
from tests.vault_client import listens
from tests.waiting import until

pytestmark = pytest.mark.lab


@pytest.fixture(scope="session")
def settings(loaded_site: LoadedSite, host_name: str) -> Settings:
    return declared(loaded_site, host_name)


def test_nothing_is_reached_from_outside_but_ssh(host: Host, address: str, settings: Settings) -> None:
    """A socket that anybody opens is reached by the host itself, and by nobody else."""
    port = 40404
    serve = f"runuser -u {STRANGER} -- timeout 60 python3 -m http.server -b 0.0.0.0 {port}"
    host.check_output(f"nohup {serve} >/dev/null 2>&1 </dev/null & echo begun")
    try:
        until("it listens", lambda: connect(host, STRANGER, "127.0.0.1", port) == 0)
        for outside in (port, *settings.ports.values(), 5355, 111):
            assert not listens(address, outside), outside
    finally:
        host.run(f"pkill -u {STRANGER} -f 'http.server -b 0.0.0.0 {port}'")
    assert listens(address, base.SSH_PORT)


def test_only_the_declared_account_reaches_a_destination(host: Host, settings: Settings) -> None:
    for destination in settings.destinations:
        if destination.protocol == "tcp":
            for user in ("root", STRANGER, SIGNER, LOGS, "_apt"):
                found = connect(host, user, str(destination.address), destination.port)
                may = any(
                    (other.user, other.address, other.port) == (user, destination.address, destination.port)
                    for other in settings.destinations
                )
                assert (found == errno.EHOSTUNREACH) != may, f"{user} to {destination}: {errno.errorcode.get(found, 0)}"


@pytest.mark.parametrize("user", ["root", STRANGER, SIGNER, LOGS, "_apt", "systemd-resolve"])
def test_nobody_reaches_anything_else(host: Host, user: str) -> None:
    for address, port in (("192.0.2.1", 443), ("203.0.113.1", 22)):
        assert connect(host, user, address, port) == errno.EHOSTUNREACH, address


def test_ssh_takes_keys_of_security_keys_alone(host: Host, access: base.Settings) -> None:
    if not access.security_keys_only:
        pytest.skip("not checked: settings.base.security_keys_only is not set yet")
    shown = dict(line.split(" ", 1) for line in host.check_output("sshd -T").splitlines())
    assert all(kind.startswith("sk-") for kind in shown["pubkeyacceptedalgorithms"].split(","))
    assert shown["authenticationmethods"] == "publickey"
