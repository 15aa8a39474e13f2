"""A change that locks everybody out is undone by the host itself within a minute; a good one stays."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from cloud.converge import REPOSITORY, command
from inventories.inventory import load_site
from tests.access_site import FIREWALL, SSHD, WITHIN_S, Site, access_site
from tests.labs import own_lab
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
ELSEWHERE = "192.0.2.0/24"
MESSAGE = "no way in for a new connection"
ROOT_MAY_LOG_IN = "sed -i s/^PermitRootLogin.no/PermitRootLogin=yes/ /etc/ssh/sshd_config"
ROLLBACK = "/usr/local/lib/mainstay/rollback.py"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with own_lab("lockout", prepared=True) as config:
        yield access_site(config)


def test_a_good_change_is_confirmed_and_stays(site: Site) -> None:
    site.set(FIREWALL, ssh_burst=70)
    done = site.deploy(FIREWALL)
    assert done.ok, done.output
    assert f"{FIREWALL}: base | a new connection" in done.changed
    assert "burst 70 packets" in site.access(FIREWALL)
    site.must_be_settled(FIREWALL)


@pytest.mark.full
def test_mail_that_is_taken_away_is_off_and_its_password_gone(site: Site) -> None:
    declared = site.inventory.with_suffix(".toml").read_text()
    look = "sh -c 'ls /etc/nullmailer/remotes; systemctl is-enabled nullmailer; systemctl is-active nullmailer; true'"
    assert site.root(FIREWALL, look).split() == ["/etc/nullmailer/remotes", "enabled", "active"]
    site.change(lambda document: document["settings"]["base"].pop("mail"))
    site.must_be_settled(FIREWALL)
    assert site.root(FIREWALL, look).split() == ["disabled", "inactive"]
    site.inventory.with_suffix(".toml").write_text(declared)
    site.must_be_settled(FIREWALL)


@pytest.mark.parametrize(
    "by_hand",
    [
        {FIREWALL: "nft flush ruleset", SSHD: "nft insert rule inet mainstay input tcp dport 9 accept"},
        {
            FIREWALL: "sysctl -w net.ipv4.tcp_syncookies=0",
            SSHD: f"sh -c '{ROOT_MAY_LOG_IN}; systemctl reload ssh'",
        },
        pytest.param({FIREWALL: "sh -c 'echo nobody ALL=NOPASSWD: ALL >>/etc/sudoers'"}, marks=pytest.mark.full),
    ],
    ids=["nftables", "sysctl and sshd", "sudo"],
)
def test_what_was_changed_by_hand_is_as_declared_again(site: Site, by_hand: dict[str, str]) -> None:
    """One change a host, on two hosts at once."""
    before = {host: site.access(host) for host in by_hand}
    for host, words in by_hand.items():
        site.root(host, words)
        assert site.access(host) != before[host]
    site.must_be_settled(*by_hand)
    assert {host: site.access(host) for host in by_hand} == before


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/etc/ssh/sshd_config.d/00-a.conf", "PermitRootLogin yes"),
        ("/etc/sudoers.d/a", "nobody ALL=NOPASSWD: ALL"),
    ],
)
def test_a_file_left_beside_the_declared_ones_lets_nobody_in(site: Site, path: str, line: str) -> None:
    before = site.access(FIREWALL)
    site.root(FIREWALL, f"sh -c 'echo {line} >{path}; systemctl reload ssh'")
    assert site.access(FIREWALL) == before
    site.root(FIREWALL, f"rm {path}")


def test_a_firewall_or_sshd_that_locks_the_admin_out_is_put_back_within_a_minute(site: Site) -> None:
    before = {host: site.access(host) for host in (FIREWALL, SSHD)}
    site.set(FIREWALL, ssh_sources=[ELSEWHERE])
    site.set(SSHD, ssh_only=["other"])
    done = site.deploy()
    assert done.code == 1
    assert done.output.count(MESSAGE) == 2
    for host in (FIREWALL, SSHD):
        assert site.ssh(host, "true").returncode, f"{host}: the change locked nobody out"
    for host in (FIREWALL, SSHD):
        site.must_be_back(host)
        assert site.access(host) == before[host]
        site.must_be_disarmed(host)
        site.set(host)
    site.must_be_settled(FIREWALL, SSHD)


@pytest.mark.full
def test_an_admin_who_takes_away_the_own_key_gets_it_back_within_a_minute(site: Site) -> None:
    before, declared = site.access(SSHD), site.admins_file.read_text()
    lost = site.inventory.parent / "lost"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", lost], check=True)
    key = lost.with_suffix(".pub").read_text().strip()
    site.change(lambda document: document["admins"]["lab"].update(ssh_keys=[key]), admins=True)
    done = site.deploy(SSHD)
    assert done.code == 1
    assert MESSAGE in done.output
    assert site.ssh(SSHD, "true").returncode
    site.must_be_back(SSHD)
    assert site.access(SSHD) == before
    site.admins_file.write_text(declared)
    site.must_be_settled(SSHD)


def _locked_out_and_killed(site: Site, host: str) -> None:
    """A deploy that shuts the firewall, and dies before it can tell anyone."""
    site.set(host, ssh_sources=[ELSEWHERE])
    words = command(site.inventory, "base", "--limit", host)
    with subprocess.Popen(words, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=-1, stderr=-1) as deploy:
        until("the firewall is shut", lambda: site.ssh(host, "true").returncode, timeout_s=WITHIN_S)
        deploy.kill()


@pytest.mark.full
def test_a_deploy_killed_before_it_was_confirmed_is_undone_by_the_host(site: Site) -> None:
    before = site.access(FIREWALL)
    _locked_out_and_killed(site, FIREWALL)
    site.must_be_back(FIREWALL)
    assert site.access(FIREWALL) == before
    site.set(FIREWALL)
    site.must_be_settled(FIREWALL)


def test_a_host_that_loses_power_before_it_was_confirmed_comes_up_as_it_was(site: Site) -> None:
    before = site.access(FIREWALL)
    _locked_out_and_killed(site, FIREWALL)
    site.reboot(FIREWALL)
    site.must_be_back(FIREWALL)
    assert site.access(FIREWALL) == before
    site.set(FIREWALL)
    site.must_be_settled(FIREWALL)


@pytest.mark.full
def test_a_deploy_after_a_killed_one_is_not_undone_by_what_that_left_armed(site: Site) -> None:
    site.set(FIREWALL, ssh_burst=80)
    counted = _killed_at(site, 0)
    assert counted.returncode == 0, counted.stdout + counted.stderr
    commands = int(counted.stdout.splitlines()[-1])
    site.set(FIREWALL, ssh_burst=90)
    assert _killed_at(site, commands - 2).returncode == -9  # the last two: disarm, and a look at other services
    assert "armed" in site.root(FIREWALL, "ls /var/lib/mainstay")
    again = site.deploy(FIREWALL)
    assert again.ok, again.output
    assert f"{FIREWALL}: base | what an earlier run left" in again.changed
    assert "burst 90 packets" in site.access(FIREWALL)
    site.must_be_settled(FIREWALL)


def _killed_at(site: Site, number: int) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "tests.faults.killed", str(number), str(site.inventory), "deploys/base.py", "-y"]
    return subprocess.run(
        [*words, "--limit", FIREWALL], cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False
    )


OBSTACLE = "/etc/sysctl.d/stuck.conf"
"""While something is mounted on it, no file can be renamed over it."""


def _armed_with_an_obstacle(site: Site) -> str:
    """What decides who gets in, before it is armed and the firewall's file goes."""
    before = site.access(SSHD)
    site.root(SSHD, f"sh -c 'echo \\# kept >{OBSTACLE}; python3 -I {ROLLBACK} arm; rm /etc/nftables.conf'")
    return before


def _is_tried_until_the_obstacle_is_gone(site: Site, unit: str) -> None:
    log = f"sudo journalctl -b -o cat -u {unit}"
    until(f"{unit} has failed", lambda: "put back: tried" in site.ssh(SSHD, log).stdout, timeout_s=WITHIN_S)
    assert "armed" in site.root(SSHD, "ls /var/lib/mainstay")
    site.root(SSHD, f"umount {OBSTACLE}")
    site.must_be_back(SSHD)
    assert site.root(SSHD, f"cat {OBSTACLE}") == "# kept\n"
    site.must_be_disarmed(SSHD)
    site.root(SSHD, f"rm {OBSTACLE}")
    site.must_be_settled(SSHD)


@pytest.mark.full
def test_what_cannot_be_put_back_is_tried_again_and_keeps_nothing_else_from_it(site: Site) -> None:
    """A user has linked the own keys to somebody else's."""
    site.root(SSHD, "sh -c 'mkdir -p /home/x; ln -sfn ~lab/.ssh /home/x/.ssh'")
    before = _armed_with_an_obstacle(site)
    site.root(SSHD, f"mount --bind /dev/null {OBSTACLE}")
    failed = site.ssh(SSHD, f"sudo python3 -I {ROLLBACK} now")
    assert failed.returncode == 1
    assert OBSTACLE in failed.stderr
    assert site.access(SSHD) == before
    _is_tried_until_the_obstacle_is_gone(site, "mainstay-rollback-timer")
    site.root(SSHD, "rm -r /home/x")


@pytest.mark.full
def test_what_cannot_be_put_back_at_boot_is_tried_again_when_the_host_is_up(site: Site) -> None:
    before = _armed_with_an_obstacle(site)
    drop_in = "/etc/systemd/system/mainstay-rollback.service.d"
    start = f"[Service]\\nExecStartPre=mount --bind /dev/null {OBSTACLE}\\n"
    site.root(SSHD, f"sh -c 'mkdir {drop_in}; printf \"{start}\" >{drop_in}/obstacle.conf'")
    site.reboot(SSHD)
    until("a way in", lambda: not site.ssh(SSHD, f"mountpoint {OBSTACLE}").returncode, timeout_s=WITHIN_S)
    assert site.access(SSHD) == before
    site.root(SSHD, f"rm -r {drop_in}")
    _is_tried_until_the_obstacle_is_gone(site, "mainstay-rollback")


@pytest.mark.full
def test_a_user_cannot_keep_a_host_armed(site: Site) -> None:
    site.root(
        SSHD, "sh -c 'useradd -m eve; install -d -o eve ~eve/.ssh; install -o eve /dev/null ~eve/.ssh/authorized_keys'"
    )
    in_the_way = "cd; rm .ssh/authorized_keys; mkdir -p .ssh/authorized_keys/x; chmod 500 .ssh; chmod 300 ."
    site.root(SSHD, f"sh -c 'python3 -I {ROLLBACK} arm; runuser -u eve -- env HOME=/home/eve sh -c \"{in_the_way}\"'")
    site.root(SSHD, f"python3 -I {ROLLBACK} now")
    site.must_be_disarmed(SSHD)
    assert site.root(SSHD, "stat -c %F.%U /home/eve/.ssh/authorized_keys").strip() == "regular empty file.eve"
    site.root(SSHD, "userdel -r eve")
    site.must_be_settled(SSHD)


def test_a_removed_admin_is_locked_out_at_once_and_let_in_again_when_back(site: Site) -> None:
    declared = site.admins_file.read_text()
    key = site.inventory.parent.parent / "other"
    log_in = ["-o", "IdentitiesOnly=yes", "-i", str(key)]
    assert _as_other(site, log_in) == 0
    site.root(SSHD, "sh -c 'useradd -m -g users eve; runuser -u eve -- ln -s /home/lab/.ssh /home/eve/.ssh'")

    site.change(lambda document: document["admins"].pop("other"), admins=True)
    done = site.deploy(SSHD)
    assert done.ok, done.output
    assert _as_other(site, log_in)
    name, _, _, _, _, home, shell = site.root(SSHD, "getent passwd other").strip().split(":")
    assert (name, shell) == ("other", "/usr/sbin/nologin")
    assert site.root(SSHD, f"find {home}/.ssh -name 'authorized_keys*'") == ""
    assert "may not run sudo" in site.root(SSHD, "sudo -l -U other") or "not allowed" in site.root(
        SSHD, "sudo -l -U other"
    )
    assert site.root(SSHD, "getent passwd eve").strip().endswith("/usr/sbin/nologin")
    site.must_be_settled(SSHD)

    site.root(SSHD, "userdel -r eve")
    site.admins_file.write_text(declared)
    site.must_be_settled(SSHD)
    assert _as_other(site, log_in) == 0


def _as_other(site: Site, options: list[str]) -> int:
    loaded = load_site(site.inventory)
    known = ["-o", f"UserKnownHostsFile={loaded.known_hosts()}", "-o", "BatchMode=yes"]
    words = ["ssh", *known, *options, f"other@{loaded.lock.hosts[SSHD].ipv4}", "sudo -n true"]
    return subprocess.run(words, capture_output=True, check=False).returncode
