"""What the signing host runs, who may, and what a session with the HSMs is; tried for real where that harms nothing.

What cannot be tried on this host without harm, or is not its own (a container has its host's kernel), is listed at the
end as not checked. Its network and kernel have suites of their own: test_signing_network.py, test_signing_kernel.py.
"""

import errno
from functools import partial

import pytest
from testinfra.host import Host

from inventories.inventory import LoadedSite
from roles.signing import software
from roles.signing.deploy import LOG, LOGS, SIGNER, WORK
from roles.signing.settings import Settings
from tests.roles.signing_host import (
    CONNECT,
    PROHIBITED,
    STRANGER,
    Session,
    begin,
    connect,
    declared,
    end,
    exposure,
    sessions,
)
from tests.waiting import until

pytestmark = pytest.mark.lab
UNIT_AT_MOST, CONNECTOR_AT_MOST = 2.0, 1.5
"""Of 10; `systemd-analyze security`."""
CODE = ("/usr/bin/", "/usr/sbin/", "/usr/lib/", "/usr/share/apksigner/", "/usr/share/java/")
TOOLS = (
    *("yubihsm-shell --version", "yubihsm-wrap --version", "opensc-tool --info", "p11-kit list-modules"),
    *("apksigner --version", "java -version", "openssl list -providers -provider pkcs11 -provider default"),
    *("git --version", "age --version", "zip -v", "parallel --version"),
)


@pytest.fixture(scope="session")
def settings(loaded_site: LoadedSite, host_name: str) -> Settings:
    return declared(loaded_site, host_name)


# Software


def test_what_handles_keys_is_what_was_reviewed(host: Host) -> None:
    names = " ".join(software.PINNED)
    lines = host.check_output(f"dpkg-query -W -f '${{Package}} ${{Version}}\\n' {names}").splitlines()
    assert dict(line.split(" ") for line in lines) == {name: pin.version for name, pin in software.PINNED.items()}
    changed = [line.split()[-1] for line in host.run(f"dpkg --verify {names}").stdout.splitlines()]
    assert [path for path in changed if path.startswith(CODE)] == []


def test_no_later_boot_is_taken_for_the_first_one(host: Host) -> None:
    """By cloud-init, which would give a machine that it takes for new an account with sudo."""
    assert not host.exists("cloud-init") or "disabled" in host.run("cloud-init status").stdout


def test_nothing_that_reads_memory_or_builds_programs_is_installed(host: Host) -> None:
    for program in ("gdb", "gcore", "strace", "gcc", "cc", "perf", "bpftrace"):
        assert not host.exists(program), program


# The connector and sessions


def test_the_connector_is_not_enabled_and_confined(host: Host) -> None:
    """Nor can anybody start Debian's, which takes whichever device there is."""
    assert host.run("systemctl is-enabled yubihsm-connector").stdout.strip() == "disabled"
    host.run("systemctl start yubihsm-connector")
    assert host.run("systemctl is-active yubihsm-connector").rc != 0
    assert exposure(host, "signing-connector@1.service") <= CONNECTOR_AT_MOST


def test_own_units_are_confined(host: Host, session: Session) -> None:
    for unit in ("signing-closed.service", "signing-tools.service", "signing-logs.service", session.unit):
        assert exposure(host, unit) <= UNIT_AT_MOST, unit


def test_each_connector_is_bound_to_a_declared_device(host: Host, settings: Settings) -> None:
    assert set(host.check_output("ls /etc/yubihsm-connector").split()) == {f"{one}.yaml" for one in settings.hsms}
    for serial, port in settings.ports.items():
        lines = host.check_output(f"cat /etc/yubihsm-connector/{serial}.yaml").splitlines()
        assert f'serial: "{serial}"' in lines
        assert f'listen: "127.0.0.1:{port}"' in lines


def test_a_session_has_the_connectors_on_loopback_alone(host: Host, settings: Settings, session: Session) -> None:
    for port in settings.ports.values():
        listening = until("the connector", partial(host.check_output, f"ss -Hltn sport = :{port}"))
        assert listening.split()[3] == f"127.0.0.1:{port}"


def connects(host: Host, port: int) -> bool:
    return connect(host, SIGNER, "127.0.0.1", port) == 0


def test_only_who_signs_reaches_the_connectors(host: Host, settings: Settings, session: Session) -> None:
    for port in settings.ports.values():
        until("the connector", partial(connects, host, port))
        for user in (STRANGER, LOGS, "_apt", "daemon"):
            assert connect(host, user, "127.0.0.1", port) in PROHIBITED, user


def test_a_session_works_in_memory_alone_and_nobody_looks_into_it(host: Host, session: Session) -> None:
    assert host.check_output(f"stat -c '%U %G %a' {session.folder}") == f"{SIGNER} {SIGNER} 700"
    assert host.check_output(f"findmnt -no FSTYPE --target {session.folder}") == "tmpfs"
    assert host.check_output(f"ps -o user= -p {session.pid}").strip() == SIGNER
    for user in (STRANGER, LOGS):
        assert host.run(f"runuser -u {user} -- ls {session.folder}").rc != 0
    limits = host.check_output(f"grep 'core file' /proc/{session.pid}/limits").split()
    assert limits[4:6] == ["0", "0"]
    assert host.check_output(f"grep ^CapEff /proc/{session.pid}/status").split()[1] == "0" * 16


def test_a_session_reaches_nothing_but_this_host(host: Host) -> None:
    program = CONNECT.replace("\n", "\\n").replace('"', '\\"')
    done = host.run(f"signing-session python3 -c \"exec('{program}')\" 192.0.2.1 443")
    assert int(done.stdout) in PROHIBITED | {errno.ENETUNREACH}, done.stderr


def test_a_session_can_write_nowhere_that_outlives_it_but_where_it_signs(host: Host) -> None:
    places = "/etc /usr/local/bin /var/lib /var/tmp/.. /srv /home /root /opt"
    tried = f"for p in {places}; do touch $p/mainstay-tried 2>/dev/null && echo $p; done; touch $HOME/x && echo own"
    assert host.check_output(f"signing-session sh -c '{tried}'").split() == ["own"]
    assert host.run("signing-session sh -c 'echo x >/tmp/mainstay-tried'").rc == 0
    assert not host.file("/tmp/mainstay-tried").exists


def test_the_tools_run_in_a_session(host: Host) -> None:
    script = "; ".join(f"{tool} >/dev/null 2>&1 || echo {tool}" for tool in TOOLS)
    assert host.check_output(f"signing-session sh -c '{script}'") == ""


def test_what_a_session_leaves_is_gone_with_it(host: Host) -> None:
    ended = begin(host)
    assert host.file(ended.folder).exists
    end(host, ended)
    assert not host.file(ended.folder).exists
    assert ended.unit not in sessions(host)
    assert host.run(f"kill -0 {ended.pid}").rc != 0
    if not sessions(host):
        assert host.run(f"pgrep -u {SIGNER}").rc == 1
        ended_too = "systemctl is-active 'signing-connector@*'"
        until("the connectors' end", lambda: host.run(ended_too).rc != 0)


# Accounts


def test_who_signs_and_who_reads_logs_are_two_and_neither_logs_in(host: Host) -> None:
    for user in (SIGNER, LOGS):
        assert host.user(user).shell == "/usr/sbin/nologin"
        assert host.check_output(f"passwd -S {user}").split()[1] == "L"
        assert host.run(f"sudo -l -U {user}").stdout.count("may run") == 0
        assert host.user(user).home == "/nonexistent"
    assert host.check_output(f"id -Gn {SIGNER}").split() == [SIGNER]
    assert set(host.check_output(f"id -Gn {LOGS}").split()) == {LOGS, "adm", "systemd-journal"}


def test_who_signs_reads_no_logs_and_who_reads_logs_sees_nothing_to_sign(host: Host) -> None:
    assert host.check_output(f"stat -c '%U %G %a' {WORK}") == f"{SIGNER} {SIGNER} 700"
    assert host.run(f"runuser -u {LOGS} -- ls {WORK}").rc != 0
    assert host.run(f"runuser -u {SIGNER} -- ls {WORK}").rc == 0
    assert host.check_output(f"stat -c '%U %G %a' {LOG}") == f"{SIGNER} {LOGS} 2750"
    assert host.run(f"runuser -u {LOGS} -- touch {LOG}/mainstay-tried").rc != 0
    read = "journalctl -q -n 1 -u systemd-journald"
    assert host.check_output(f"runuser -u {LOGS} -- {read}") != ""
    assert host.run(f"runuser -u {SIGNER} -- {read}").stdout == ""
