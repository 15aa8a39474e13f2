"""What the signing host's kernel lets nobody do, what it records, and what may be plugged into it."""

import time

import pytest
from testinfra.host import Host

from inventories.inventory import LoadedSite
from roles.base import settings as base
from roles.signing import kernel
from roles.signing.deploy import LOGS, SIGNER, WORK
from roles.signing.settings import Settings
from tests.roles.signing_host import (
    OPEN_PERF,
    READ_MEMORY,
    SET_CLOCK,
    STRANGER,
    Session,
    declared,
    python,
    state,
)
from tests.waiting import until

pytestmark = pytest.mark.lab
PROFILES = {"mainstay.session", "yubihsm-connector", "yubihsm-tools"}
AUDITED = {"keys", "hsm", "accounts", "usb", "time", "kernel", "memory", "mounts", "rules"}


@pytest.fixture
def hardware(virtual: str) -> None:
    """For tests of what only a machine of its own has."""
    if virtual != "none":
        pytest.skip(f"not checked: this is no machine of its own ({virtual})")


@pytest.fixture(scope="session")
def settings(loaded_site: LoadedSite, host_name: str) -> Settings:
    return declared(loaded_site, host_name)


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
    assert "not permitted" in host.check_output("auditctl -D 2>&1 || true")


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
    began = host.check_output("date '+%m/%d/%y %H:%M:%S'").split()
    host.run(deed)
    looked = f"LC_ALL=C.UTF-8 ausearch --input-logs -i -k {key} -ts {' '.join(began)}"
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
