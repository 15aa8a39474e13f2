"""What the signing host lets nobody do, tried for real where that harms nothing; else its effective state.

What cannot be tried on this host without harm, or is not its own (a container has its host's kernel), is listed at the
end as not checked.
"""

import errno
import time
from collections.abc import Iterator
from functools import partial

import pytest
from testinfra.host import Host

from inventories.inventory import LoadedSite
from roles.base import settings as base
from roles.signing import kernel, software
from roles.signing.deploy import LOGS, SIGNER, WORK
from roles.signing.settings import Settings
from tests.roles.signing_host import (
    CONNECT,
    OPEN_PERF,
    PROHIBITED,
    READ_MEMORY,
    SET_CLOCK,
    Session,
    begin,
    connect,
    end,
    exposure,
    python,
    sessions,
    state,
)
from tests.vault_client import listens
from tests.waiting import until

pytestmark = pytest.mark.lab
UNIT_AT_MOST, CONNECTOR_AT_MOST = 2.0, 1.5
"""Of 10; `systemd-analyze security`."""
STRANGER = "nobody"
CODE = ("/usr/bin/", "/usr/sbin/", "/usr/lib/", "/usr/share/apksigner/", "/usr/share/java/")
TOOLS = (
    *("yubihsm-shell --version", "yubihsm-wrap --version", "opensc-tool --info", "p11-kit list-modules"),
    *("apksigner --version", "java -version", "openssl list -providers -provider pkcs11 -provider default"),
    *("git --version", "age --version", "zip -v", "parallel --version"),
)
PROFILES = {"mainstay.session", "yubihsm-connector", "yubihsm-tools"}
AUDITED = {"keys", "hsm", "accounts", "usb", "time", "kernel", "memory", "mounts", "rules"}


@pytest.fixture(scope="session")
def settings(loaded_site: LoadedSite, host_name: str) -> Settings:
    found = loaded_site.settings(host_name)["signing"]
    assert isinstance(found, Settings)
    return found


@pytest.fixture(scope="session")
def access(loaded_site: LoadedSite, host_name: str) -> base.Settings:
    found = loaded_site.settings(host_name)["base"]
    assert isinstance(found, base.Settings)
    return found


@pytest.fixture(scope="session")
def address(loaded_site: LoadedSite, host_name: str) -> str:
    return loaded_site.lock.hosts[host_name].ipv4


@pytest.fixture(scope="session")
def virtual(host: Host) -> str:
    return str(host.run("systemd-detect-virt").stdout.strip())


@pytest.fixture
def own_kernel(host: Host) -> None:
    """For tests of what a container has not."""
    if host.run("systemd-detect-virt --container").rc == 0:
        pytest.skip("not checked: a container has its host's kernel")


@pytest.fixture
def hardware(virtual: str) -> None:
    """For tests of what only a machine of its own has."""
    if virtual != "none":
        pytest.skip(f"not checked: this is no machine of its own ({virtual})")


@pytest.fixture(scope="module")
def session(host: Host) -> Iterator[Session]:
    found = begin(host)
    yield found
    end(host, found)


# Software


def test_what_handles_keys_is_what_was_reviewed(host: Host) -> None:
    names = " ".join(software.PINNED)
    lines = host.check_output(f"dpkg-query -W -f '${{Package}} ${{Version}}\\n' {names}").splitlines()
    assert dict(line.split(" ") for line in lines) == {name: pin.version for name, pin in software.PINNED.items()}
    changed = [line.split()[-1] for line in host.run(f"dpkg --verify {names}").stdout.splitlines()]
    assert [path for path in changed if path.startswith(CODE)] == []


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
    for unit in ("signing-closed.service", "signing-tools.service", session.unit):
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
    read = "journalctl -q -n 1 -u systemd-journald"
    assert host.check_output(f"runuser -u {LOGS} -- {read}") != ""
    assert host.run(f"runuser -u {SIGNER} -- {read}").stdout == ""


# Network


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


# Kernel


def test_the_kernel_is_locked_down(host: Host, own_kernel: None) -> None:
    assert state(host)["lockdown"] == "integrity"
    assert host.run("head -c 1 /dev/mem").rc != 0


def test_the_kernel_was_booted_with_the_whole_command_line(host: Host, own_kernel: None) -> None:
    if not host.file("/boot/grub/grub.cfg").exists:
        pytest.skip("not checked: no grub boots this host, so its command line is somebody else's")
    assert set(kernel.COMMAND_LINE) <= set(host.check_output("cat /proc/cmdline").split())


def test_no_module_is_loaded_any_more(host: Host, own_kernel: None) -> None:
    assert host.check_output("cat /proc/sys/kernel/modules_disabled") == "1"
    assert host.run("modprobe dummy").rc != 0
    assert state(host)["modules_closed"] is True


def test_unneeded_modules_are_denied(host: Host, settings: Settings) -> None:
    denied = kernel.denied(bool(settings.media))
    shown = host.check_output(
        "for name in " + " ".join(denied) + "; do "
        "modprobe --show-depends $name 2>/dev/null | tail -1 | grep '^insmod'; done; true"
    )
    assert shown == ""
    rules = host.check_output("modprobe --showconfig").splitlines()
    for name in denied:
        assert f"install {name.replace('-', '_')} /bin/false" in rules
    if host.run("systemd-detect-virt --container").rc != 0:
        loaded = {line.split()[0] for line in host.check_output("cat /proc/modules").splitlines()}
        assert not loaded & {name.replace("-", "_") for name in denied}


def test_kernel_settings_hold(host: Host, own_kernel: None) -> None:
    for key, value in kernel.SYSCTL.items():
        assert host.check_output(f"cat /proc/sys/{key.replace('.', '/')}") == value, key


def test_nobody_reads_anothers_memory(host: Host, session: Session) -> None:
    """The kernel's settings forbid it to the same account too; in a session, the session's own."""
    for user in (STRANGER, LOGS):
        assert python(host, user, READ_MEMORY.replace("'", '"'), session.pid).stdout == "", user


def test_an_account_cannot_read_the_memory_of_its_own_processes(host: Host, session: Session, own_kernel: None) -> None:
    assert int(host.check_output("cat /proc/sys/kernel/yama/ptrace_scope")) >= 2
    assert python(host, SIGNER, READ_MEMORY, session.pid).stdout == ""


def test_nobody_counts_what_the_processor_does(host: Host, own_kernel: None) -> None:
    assert python(host, STRANGER, OPEN_PERF).stdout.strip() == "refused"


def test_what_crashes_leaves_no_memory_behind(host: Host) -> None:
    assert host.run("runuser -u nobody -- sh -c 'ulimit -c 1000'").rc != 0 or host.check_output("ulimit -Hc") == "0"
    assert host.check_output("systemctl show -p DefaultLimitCORE --value") == "0"
    host.run("cd /tmp && runuser -u nobody -- python3 -c 'import os; os.abort()'")
    assert (
        host.check_output("find /tmp /var/crash /var/lib/systemd/coredump -type f -name 'core*' 2>/dev/null; true")
        == ""
    )
    assert not host.exists("coredumpctl")


def test_no_memory_is_swapped(host: Host, virtual: str) -> None:
    """Every swap unit is kept from starting, whatever /etc/fstab says."""
    assert host.file("/etc/systemd/system/swap.d/mainstay.conf").contains("^ConditionPathExists=!/$")
    if host.run("systemd-detect-virt --container").rc != 0:
        assert host.check_output("swapon --noheadings --show") == ""
        assert state(host)["swap"] == []


def test_only_root_changes_the_clock(host: Host) -> None:
    for user in (STRANGER, SIGNER, LOGS):
        assert "PermissionError" in python(host, user, SET_CLOCK).stderr
    assert host.run(f"signing-session python3 -c '{SET_CLOCK}'").rc != 0


def test_time_comes_from_people_and_its_drift_is_told(host: Host, access: base.Settings) -> None:
    if access.time_servers:
        pytest.skip("not checked: settings.base.time_servers: time comes by the network")
    assert host.check_output("chronyc -c sources -a") == ""
    told = state(host)["clock"]
    assert abs(time.time() - time.mktime(time.strptime(told["now"], "%Y-%m-%dT%H:%M:%SZ")) + time.timezone) < 300
    assert {"machine_ahead_s", "drift_ppm", "uncertain_ppm", "times_told"} <= told.keys()


# Audit, AppArmor, USB


def test_audit_rules_are_loaded_and_locked(host: Host, own_kernel: None) -> None:
    status = dict(line.split(" ", 1) for line in host.check_output("auditctl -s").splitlines())
    assert status["enabled"] == "2"
    assert int(status["pid"]) > 0
    loaded = host.check_output("auditctl -l").splitlines()
    assert {line.rsplit("key=" if "key=" in line else "-k ", 1)[1].strip() for line in loaded} == AUDITED
    assert host.run("auditctl -D").rc != 0


@pytest.mark.parametrize(
    ("key", "deed"),
    [
        ("hsm", "yubihsm-shell --version"),
        ("keys", f"chmod 0700 {WORK}"),
        ("accounts", "sudo -l"),
        ("usb", "usbguard --help"),
        ("time", f'python3 -c "{SET_CLOCK}" 2>/dev/null'),
        ("kernel", "modprobe dummy 2>/dev/null"),
        ("rules", "chmod 0644 /etc/nftables.d/signing.nft"),
    ],
)
def test_it_is_recorded_who_did_what(host: Host, own_kernel: None, key: str, deed: str) -> None:
    if key == "time":
        deed = f"runuser -u {STRANGER} -- {deed}"
    began = host.check_output("date '+%m/%d/%Y %H:%M:%S'").split()
    host.run(deed)
    looked = f"LC_ALL=C.UTF-8 ausearch -i -k {key} -ts {' '.join(began)}"
    text = until(f"a record of {key}", lambda: host.run(looked).stdout)
    assert "auid=" in text


def test_apparmor_confines_the_connector_the_tools_and_sessions(
    host: Host, settings: Settings, session: Session, own_kernel: None
) -> None:
    lines = host.check_output("cat /sys/kernel/security/apparmor/profiles").splitlines()
    loaded = dict(line.rstrip(")").rsplit(" (", 1) for line in lines)
    assert {name: loaded.get(name) for name in PROFILES} == dict.fromkeys(PROFILES, "enforce")
    assert host.check_output(f"cat /proc/{session.pid}/attr/current") == "mainstay.session (enforce)"
    pid = host.check_output(f"systemctl show -p MainPID --value signing-connector@{settings.hsms[0]}")
    assert host.check_output(f"cat /proc/{pid}/attr/current") == "yubihsm-connector (enforce)"


def test_a_session_runs_no_program_that_it_brought(host: Host, own_kernel: None) -> None:
    brought = "cp /usr/bin/true $HOME/brought && chmod +x $HOME/brought && $HOME/brought"
    assert host.run(f"signing-session sh -c '{brought}'").rc == 126
    assert host.run("signing-session true").rc == 0


def test_only_declared_devices_are_plugged_in(host: Host, settings: Settings, own_kernel: None) -> None:
    assert host.check_output("usbguard get-parameter ImplicitPolicyTarget") == "block"
    rules = host.check_output("usbguard list-rules")
    for serial in settings.hsms:
        assert rules.count(f'serial "{serial}"') == 1
    assert rules.count("allow ") == 1 + sum(
        len(each) for each in (settings.hsms, settings.keyboards, settings.hubs, settings.media)
    )
    for device in state(host)["usb"]:
        declared = (
            device["id"].startswith("1d6b:")
            or device["id"] in (*settings.keyboards, *settings.hubs)
            or f"{device['id']} {device['serial']}" in settings.media
            or (device["id"] == "1050:0030" and device["serial"] in settings.hsms)
        )
        assert device["allowed"] == declared, device


# What is reported and not changed


def test_the_disk_is_encrypted(host: Host, hardware: None) -> None:
    assert state(host)["disk_encrypted"] == {"/": True, WORK: True}


def test_secure_boot_is_on(host: Host, hardware: None) -> None:
    assert state(host)["secure_boot"] is True


def test_state_is_told_as_it_is(host: Host, own_kernel: None) -> None:
    told = state(host)
    kinds = host.check_output("lsblk -sno TYPE $(findmnt -no SOURCE /)").split()
    assert told["disk_encrypted"]["/"] is ("crypt" in kinds)
    assert (told["secure_boot"] is None) == (not host.file("/sys/firmware/efi").exists)
    assert told["kernel"] == host.check_output("uname -r")
    assert isinstance(told["clock"]["machine_ahead_s"], int)
