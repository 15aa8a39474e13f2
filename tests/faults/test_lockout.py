"""A change that locks everybody out is undone by the host itself within a minute; a good one stays."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from cloud import provision
from inventories.inventory import load_site
from inventories.ssh import ssh_config
from lab import lifecycle
from lab.converge import REPOSITORY, Converged, command, converge
from lab.sites import derive
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]
LAB = "lockout"
FIREWALL, SSHD = "firewall-1", "sshd-1"
WITHIN_S = 60
ELSEWHERE = "192.0.2.0/24"
MESSAGE = "no way in for a new connection"


@dataclass
class Site:
    """Two hosts with nothing but the base."""

    inventory: Path

    @property
    def admins_file(self) -> Path:
        return load_site(self.inventory).files / "admins.toml"

    def change(self, edit: Callable[[Any], None], *, admins: bool = False) -> None:
        path = self.admins_file if admins else self.inventory.with_suffix(".toml")
        document = tomlkit.parse(path.read_text())
        edit(document)
        path.write_text(tomlkit.dumps(document))

    def set(self, host: str, **settings: Any) -> None:
        """The host's own settings of the base, these and no others."""
        self.change(lambda document: document["hosts"][host].update(settings={"base": settings}))

    def deploy(self, *hosts: str) -> Converged:
        return converge(self.inventory, "base", *(("--limit", ",".join(hosts)) if hosts else ()))

    def ssh(self, host: str, *words: str, user: str = "") -> subprocess.CompletedProcess[str]:
        """A new connection each time."""
        config = self.inventory.parent / "ssh_config"
        config.write_text(ssh_config(load_site(self.inventory)))
        options = ["-F", str(config), *(("-l", user) if user else ())]
        return subprocess.run(["ssh", *options, host, *words], capture_output=True, text=True, check=False)

    def root(self, host: str, words: str) -> str:
        done = self.ssh(host, f"sudo {words}")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def access(self, host: str) -> str:
        """What decides who gets in: firewall (without counters), sshd, keys, accounts."""
        return self.root(
            host,
            "sh -c 'nft -s list chain inet mainstay input; sshd -T; cat /home/*/.ssh/authorized_keys; getent shadow'",
        )

    def must_be_back(self, host: str) -> None:
        """There is a way in, and the roll-back has ended: until then it restarts what a connection needs."""
        done = "sudo test ! -e /var/lib/mainstay/armed"
        until(f"a way into {host}", lambda: not self.ssh(host, done).returncode, timeout_s=WITHIN_S, every_s=1)

    def must_be_disarmed(self, host: str) -> None:
        left = self.root(
            host, "sh -c 'ls -d /var/lib/mainstay/armed; systemctl is-active mainstay-rollback-timer.timer; true'"
        )
        assert left.strip() == "inactive"

    def must_be_settled(self, *hosts: str) -> None:
        """A deploy of what is declared now is fine, and the one after it finds nothing to do."""
        again = self.deploy(*hosts)
        assert again.ok, again.output
        assert self.deploy(*hosts).changed == ()
        for host in hosts:
            self.must_be_disarmed(host)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    lifecycle.down(LAB)
    config = lifecycle.up(LAB)

    def change(document: Any) -> None:
        web = document["hosts"].pop("web-1").unwrap() | {"dns": [], "volumes": {}, "role": "base"}
        del document["hosts"]["release-1"]
        for name in (FIREWALL, SSHD):
            document["hosts"][name] = dict(web)

    site = Site(derive(config, config.root / "inventory", change))
    key = config.root / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "other", "-f", key], check=True)
    site.change(
        lambda document: document["admins"].update(other={"ssh_keys": [key.with_suffix(".pub").read_text().strip()]}),
        admins=True,
    )
    for deploy in ("provision", "base"):
        done = converge(site.inventory, deploy)
        assert done.ok, done.output
    yield site
    lifecycle.down(LAB)


def test_a_good_change_is_confirmed_and_stays(site: Site) -> None:
    site.set(FIREWALL, ssh_burst=70)
    done = site.deploy(FIREWALL)
    assert done.ok, done.output
    assert f"{FIREWALL}: base | a new connection" in done.changed
    assert "burst 70 packets" in site.access(FIREWALL)
    site.must_be_settled(FIREWALL)


def test_mail_that_is_taken_away_is_off_and_its_password_gone(site: Site) -> None:
    declared = site.inventory.with_suffix(".toml").read_text()
    look = "sh -c 'ls /etc/nullmailer/remotes; systemctl is-enabled nullmailer; systemctl is-active nullmailer; true'"
    assert site.root(FIREWALL, look).split() == ["/etc/nullmailer/remotes", "enabled", "active"]
    site.change(lambda document: document["settings"]["base"].pop("mail"))
    site.must_be_settled(FIREWALL)
    assert site.root(FIREWALL, look).split() == ["disabled", "inactive"]
    site.inventory.with_suffix(".toml").write_text(declared)
    site.must_be_settled(FIREWALL)


def test_a_firewall_that_was_flushed_by_hand_is_set_up_again(site: Site) -> None:
    before = site.access(FIREWALL)
    site.root(FIREWALL, "nft flush ruleset")
    done = site.deploy(FIREWALL)
    assert done.ok, done.output
    assert f"{FIREWALL}: base | access in service" in done.changed
    assert site.access(FIREWALL) == before
    site.must_be_settled(FIREWALL)


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
    loaded = load_site(site.inventory)
    client = provision.client(loaded)
    client.ensure(f"/instances/{loaded.lock.hosts[FIREWALL].instance_id}/reboot", {}, done=lambda: False)
    site.must_be_back(FIREWALL)
    assert site.access(FIREWALL) == before
    site.set(FIREWALL)
    site.must_be_settled(FIREWALL)


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


def test_what_cannot_be_put_back_is_tried_again_and_keeps_nothing_else_from_it(site: Site) -> None:
    """A directory stands where a file goes, and a user has linked the own keys to somebody else's."""
    rollback = "/usr/local/lib/mainstay/rollback.py"
    site.root(SSHD, "sh -c 'echo kept >/etc/sysctl.d/stuck.conf; mkdir -p /home/x; ln -sfn ~lab/.ssh /home/x/.ssh'")
    before = site.access(SSHD)
    site.root(SSHD, f"python3 -I {rollback} arm")
    site.root(SSHD, "sh -c 'rm /etc/sysctl.d/stuck.conf /etc/nftables.conf; mkdir /etc/sysctl.d/stuck.conf'")
    failed = site.ssh(SSHD, f"sudo python3 -I {rollback} now")
    assert failed.returncode == 1
    assert "stuck.conf" in failed.stderr
    assert site.access(SSHD) == before
    assert "armed" in site.root(SSHD, "ls /var/lib/mainstay")
    by_timer = "sudo journalctl -o cat -u mainstay-rollback-timer"
    until(
        "the timer's try has failed", lambda: "put back: tried" in site.ssh(SSHD, by_timer).stdout, timeout_s=WITHIN_S
    )
    site.root(SSHD, "rmdir /etc/sysctl.d/stuck.conf")
    site.must_be_back(SSHD)
    assert site.root(SSHD, "cat /etc/sysctl.d/stuck.conf") == "kept\n"
    site.must_be_disarmed(SSHD)
    site.root(SSHD, "rm -r /etc/sysctl.d/stuck.conf /home/x")
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
