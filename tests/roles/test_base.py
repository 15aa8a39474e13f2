"""What every host is, whatever its role. Reads only."""

import fnmatch
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import paramiko
import pytest
from testinfra.host import Host

from inventories.fleet import Host as Declared
from inventories.inventory import LoadedSite
from inventories.roles import roles_of
from roles.base import control, drift, exporter, firewall, mail, shipping
from roles.base.deploy import published_as
from roles.base.settings import SSH_PORT, Settings
from roles.base.strangers import NOLOGIN, PEOPLE
from roles.base.sysctl import SYSCTL
from tests.waiting import until

pytestmark = pytest.mark.lab
POLICY = "Hardened Debian 13 (version 1)"
SSH_AUDIT = Path(sys.executable).with_name("ssh-audit")
JOURNAL_USE = "ec387f577b844b8fa948f33cad9a75e6"
"""Message that journald writes with its limits when it opens a journal (sd-messages.h)."""
PATIENCE_S = 60
EXPOSURE_AT_MOST = 2.6
"""Of 10; `systemd-analyze security`. What is left: it is root, to read everything, and loads firewall rules aside."""


@pytest.fixture(scope="session")
def declared(loaded_site: LoadedSite, host_name: str) -> Declared:
    return loaded_site.fleet.hosts[host_name]


@pytest.fixture(scope="session")
def settings(loaded_site: LoadedSite, host_name: str) -> Settings:
    found = loaded_site.settings(host_name)["base"]
    assert isinstance(found, Settings)
    return found


@pytest.fixture(scope="session")
def sshd(host: Host) -> dict[str, list[str]]:
    """sshd's effective settings."""
    found: dict[str, list[str]] = {}
    for line in host.check_output("sshd -T").splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key, []).append(value)
    return found


@pytest.fixture(scope="session")
def ruleset(host: Host) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(host.check_output("nft -j list ruleset"))["nftables"]
    return found


@pytest.fixture
def unhurried(address: str) -> Iterator[None]:
    """sshd refuses an address for a while that has connected often without logging in: wait for its pardon."""
    yield

    def greets() -> bool:
        with socket.create_connection((address, SSH_PORT), timeout=10) as connection:
            return connection.recv(4) == b"SSH-"

    until(f"{address} takes connections again", greets, timeout_s=PATIENCE_S, every_s=0.5)


def test_sshd_passes_the_hardening_policy(address: str, unhurried: None) -> None:
    words = [str(SSH_AUDIT), "--skip-rate-test", "--no-colors", "-P", POLICY, address]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_pyinfras_ssh_agrees_on_a_post_quantum_key_exchange(address: str, unhurried: None) -> None:
    with closing(paramiko.Transport((address, SSH_PORT))) as transport:
        transport.get_security_options().kex = ("mlkem768x25519-sha256",)
        transport.start_client(timeout=10)
        assert transport.is_active()


def test_only_admins_of_the_role_log_in_and_only_with_keys(
    sshd: dict[str, list[str]], loaded_site: LoadedSite, host_name: str, declared: Declared, settings: Settings
) -> None:
    admins = {admin.name for admin in loaded_site.admins.for_role(declared.role)}
    watched = control.watched(loaded_site, host_name)
    others = {control.ACCOUNT} if watched else set()
    assert set(sshd["allowusers"]) == (admins & set(settings.ssh_only) if settings.ssh_only else admins | others)
    assert (sshd["authenticationmethods"], sshd["permitrootlogin"]) == (["publickey"], ["no"])
    assert (sshd["passwordauthentication"], sshd["kbdinteractiveauthentication"]) == (["no"], ["no"])
    assert (sshd["allowagentforwarding"], sshd["x11forwarding"], sshd["permittunnel"]) == (["no"], ["no"], ["no"])


def test_every_admin_has_the_declared_keys_and_rights_and_nobody_else_any(
    host: Host, loaded_site: LoadedSite, declared: Declared
) -> None:
    admins = {admin.name: admin for admin in loaded_site.admins.for_role(declared.role)}
    for line in host.check_output("getent passwd").splitlines():
        name, _, uid, _, full_name, home, shell = line.split(":")
        keys = host.run(f"cat {home}/.ssh/authorized_keys 2>/dev/null").stdout.splitlines()
        if name in admins:
            admin = admins.pop(name)
            assert (full_name, keys) == (admin.full_name, list(admin.ssh_keys))
        else:
            assert keys == [], name
            assert int(uid) not in PEOPLE or shell == NOLOGIN, name
            assert int(uid) != 0 or name == "root", name
    assert not admins
    names = "getent passwd | cut -d: -f1 | while read -r name; do "
    may_sudo = f"{names} sudo -l -U $name | grep -q 'may run' && echo $name; done; true"
    there = loaded_site.admins.for_role(declared.role)
    rooted = {admin.name for admin in there if admin.sudo}
    publishers = {admin.name for admin in there if admin.publisher and published_as(declared.role)}
    assert set(host.check_output(may_sudo).split()) == rooted | publishers | {"root"}
    for name in rooted:
        assert "NOPASSWD: ALL" in host.check_output(f"sudo -l -U {name}")


def test_the_control_hosts_key_is_roots_file_and_without_a_control_host_there_is_none(
    host: Host, loaded_site: LoadedSite, host_name: str
) -> None:
    watched = control.watched(loaded_site, host_name)
    keys = host.file(control.KEYS)
    assert host.user(control.ACCOUNT).exists == keys.exists == bool(watched)
    if watched:
        assert keys.content_string == watched.key
        assert (keys.user, keys.group, keys.mode) == ("root", "root", 0o644)
        asked = host.check_output(f"sshd -T -C user={control.ACCOUNT}").splitlines()
        assert {f"authorizedkeysfile {control.KEYS}", "permittty no", "allowtcpforwarding local"} <= set(asked)


def _accepted(ruleset: list[dict[str, Any]]) -> set[tuple[str, int]]:
    """Ports that some rule of the input chain accepts for everyone or for some sources, of connections that are new."""
    found = set()
    for entry in ruleset:
        rule = entry.get("rule", {})
        if rule.get("chain") == "input" and {"accept": None} in rule["expr"]:
            for part in rule["expr"]:
                payload = part.get("match", {}).get("left", {}).get("payload", {})
                if payload.get("field") == "dport":
                    found.add((payload["protocol"], part["match"]["right"]))
    return found


def test_the_firewall_drops_what_no_role_opens(
    ruleset: list[dict[str, Any]], declared: Declared, loaded_site: LoadedSite, host_name: str
) -> None:
    chains = [entry["chain"] for entry in ruleset if "chain" in entry]
    # A role may take away more, in a table of its own.
    more = [
        chain
        for chain in chains
        if (chain["table"], chain["hook"], chain["policy"]) == (declared.role, "output", "drop")
    ]
    own = {chain["name"]: (chain["family"], chain["policy"]) for chain in chains if chain not in more}
    assert own == {
        "input": ("inet", "drop"),
        "forward": ("inet", "drop"),
        "output": ("inet", "accept"),
    }
    openings = [*firewall.openings_of(roles_of(declared)), *exporter.openings(loaded_site)]
    openings += shipping.openings(loaded_site, host_name)
    opened = {(opening.protocol, opening.port) for opening in openings}
    dhcp = {("udp", 68), ("udp", 546)}
    assert _accepted(ruleset) == opened | dhcp | {("tcp", SSH_PORT)}


def test_what_both_families_need_to_work_is_let_in(ruleset: list[dict[str, Any]]) -> None:
    accepted: dict[str, set[str]] = {"icmp": set(), "icmpv6": set()}
    for entry in ruleset:
        expressions = entry.get("rule", {}).get("expr", [])
        for part in expressions:
            left = part.get("match", {}).get("left", {}).get("payload", {})
            if left.get("protocol") in accepted and left["field"] == "type" and {"accept": None} in expressions:
                right = part["match"]["right"]
                accepted[left["protocol"]] |= set(right["set"]) if isinstance(right, dict) else {right}
    assert {"destination-unreachable", "time-exceeded", "parameter-problem", "echo-request"} <= accepted["icmp"]
    assert {"packet-too-big", "nd-neighbor-solicit", "nd-neighbor-advert", "nd-router-advert"} <= accepted["icmpv6"]


def test_a_flood_of_ssh_connections_is_dropped_by_address(ruleset: list[dict[str, Any]], settings: Settings) -> None:
    limits = [
        statement["limit"]
        for entry in ruleset
        for part in entry.get("rule", {}).get("expr", [])
        for statement in part.get("set", {}).get("stmt", [])
    ]
    assert limits
    for limit in limits:
        assert (limit["rate"], limit["per"], limit["burst"]) == (settings.ssh_per_minute, "minute", settings.ssh_burst)
        assert limit["inv"]


def test_nothing_listens_that_no_role_declares(host: Host, declared: Declared, loaded_site: LoadedSite) -> None:
    allowed = {
        (listen.protocol, address, listen.port)
        for listen in (*firewall.listens_of(roles_of(declared)), *exporter.listens(loaded_site))
        for address in (("0.0.0.0", "[::]", "*") if listen.address == "*" else (listen.address,))
    }
    found = set()
    for line in host.check_output("ss -H -tuln").splitlines():
        protocol, _, _, _, local = line.split()[:5]
        address, _, port = local.rpartition(":")
        # Java's sockets are of both families: an IPv4 address is one of IPv6 to them.
        found.add((protocol, re.sub(r"%\w+|^\[::ffff:([\d.]+)\]$", r"\1", address), int(port)))
    dhcp_client = {socket for socket in found if socket[0] == "udp" and socket[2] in (68, 546)}
    assert found - dhcp_client <= allowed
    assert {(protocol, port) for protocol, _, port in allowed} == {(p, port) for p, _, port in found - dhcp_client}


def test_kernel_and_network_are_set_as_far_as_the_host_may(host: Host) -> None:
    """A container has its host's kernel: there only what /proc lets it write is its own to set."""
    wanted = {f"/proc/sys/{key.replace('.', '/')}": value for key, value in SYSCTL.items()}
    script = "for path in " + " ".join(wanted) + "; do [ -w $path ] && echo $path $(cat $path); done; true"
    writable = dict(line.split(" ", 1) for line in host.check_output(script).splitlines())
    found = {pattern: fnmatch.filter(writable, pattern) for pattern in wanted}
    assert writable == {path: wanted[pattern] for pattern, paths in found.items() for path in paths}
    assert all(paths for pattern, paths in found.items() if pattern.startswith("/proc/sys/net/ipv"))
    for family in ("ipv4", "ipv6"):
        interfaces = set(host.check_output(f"ls /proc/sys/net/{family}/conf").split())
        paths = found[f"/proc/sys/net/{family}/conf/*/accept_redirects"]
        assert {path.split("/")[-2] for path in paths} == interfaces


def test_time_comes_only_from_servers_that_sign_it(host: Host, settings: Settings) -> None:
    """In a container, whose clock is its host's, chronyd watches and does not set."""
    assert host.service("chrony").is_running
    lines = host.check_output("chronyd -p -f /etc/chrony/chrony.conf").splitlines()
    sources = [line.split() for line in lines if line.split()[0] in ("server", "pool", "peer", "refclock")]
    assert [words[1] for words in sources] == list(settings.time_servers)
    assert all("nts" in words for words in sources)
    assert ("authselectmode require" in lines) == bool(settings.time_servers)
    container = host.run("systemd-detect-virt --container").rc == 0
    assert ("-x" in host.check_output("ps -o args= -C chronyd").split()) == container
    if not container and settings.time_servers:
        modes = [line.split(",")[1] for line in host.check_output("chronyc -c authdata").splitlines()]
        assert modes
        assert set(modes) == {"NTS"}


def test_security_updates_and_only_these_come_by_themselves(host: Host, host_name: str, settings: Settings) -> None:
    lines = host.check_output("apt-config dump").splitlines()
    config = dict(
        line.rstrip(";").split(" ", 1) for line in lines if not line.startswith("Unattended-Upgrade::Origins")
    )
    origins = [line for line in lines if line.startswith("Unattended-Upgrade::Origins-Pattern::")]
    assert len(origins) == 1
    assert "label=Debian-Security" in origins[0]
    assert config["APT::Periodic::Unattended-Upgrade"] == '"1"'
    assert config["Unattended-Upgrade::Automatic-Reboot"] == ('"true"' if settings.reboot else '"false"')
    assert config["Unattended-Upgrade::Automatic-Reboot-Time"] == f'"{settings.reboot_at(host_name)}"'
    timers = host.check_output("systemctl list-timers --no-legend")
    assert "apt-daily-upgrade.timer" in timers


def test_the_journal_is_kept_and_bounded(host: Host, settings: Settings) -> None:
    said = host.check_output(f"journalctl -b -o json MESSAGE_ID={JOURNAL_USE} _COMM=systemd-journal | tail -1")
    entry = json.loads(said)
    assert entry["JOURNAL_PATH"].startswith("/var/log/journal/")
    assert int(entry["LIMIT"]) <= settings.journal_mb * 1024**2


def test_services_that_run_replaced_code_are_reported_daily(host: Host) -> None:
    assert "mainstay-stale.timer" in host.check_output("systemctl list-timers --no-legend")


def test_the_host_looks_daily_for_what_is_not_as_deployed_and_is_shut_in_while_it_does(host: Host) -> None:
    assert "mainstay-drift.timer" in host.check_output("systemctl list-timers --no-legend")
    said = host.check_output("systemd-analyze security --no-pager mainstay-drift.service | tail -1")
    assert float(said.split(":")[1].split()[0]) <= EXPOSURE_AT_MOST, said
    assert host.check_output("stat -c '%a %U:%G' /var/lib/mainstay/as-deployed.json") in (
        "600 root:adm",
        "600 root:root",
    )
    assert host.check_output(f"stat -c '%a %U:%G' {drift.STATUS}") == "640 root:adm"


def test_names_are_resolved_without_asking_the_neighbours(host: Host) -> None:
    assert host.file("/etc/resolv.conf").linked_to == "/run/systemd/resolve/stub-resolv.conf"
    said = host.check_output("resolvectl status --no-pager")
    assert "-LLMNR" in said
    assert "-mDNS" in said
    assert "+LLMNR" not in said
    assert "+mDNS" not in said


def test_mail_goes_to_the_smarthost_and_its_password_is_nobodys(host: Host, settings: Settings) -> None:
    if settings.mail is None:
        assert not host.service("nullmailer").is_running
        assert not host.service("nullmailer").is_enabled
        assert not any(host.file(path).exists for path in mail.absent_files(settings))
        return
    assert host.service("nullmailer").is_running
    assert host.check_output("stat -c '%U:%G %a' /etc/nullmailer/remotes") == "root:mail 640"
    assert host.run(f"getent hosts {settings.mail.smarthost}").rc == 0
    assert host.check_output("mailq") == ""


def test_all_is_well(host: Host) -> None:
    """No unit failed, and no change still waits to be confirmed."""
    failed = host.check_output("systemctl list-units --failed --plain --no-legend").splitlines()
    assert not failed, host.check_output(f"journalctl -o cat -n 40 -u {failed[0].split()[0]}")
    assert not host.file("/var/lib/mainstay/armed").exists
