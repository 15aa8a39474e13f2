"""What the base decides without a host: settings, firewall rules, who is locked, what is stale."""

import errno
import shlex
import subprocess
from pathlib import Path

import pytest
from pydantic import ValidationError

from inventories.errors import InputError
from inventories.fleet import Fleet
from inventories.inventory import LoadedSite
from roles.base import firewall, mail
from roles.base.deploy import HERE, access_units, may_log_in
from roles.base.settings import SSH_PORT, Egress, Mail, Settings
from roles.base.strangers import LOCKED, NOLOGIN, PeopleLook, locking
from roles.base.tree.usr.local.lib.mainstay import rollback
from roles.base.tree.usr.local.lib.mainstay.stale import replaced_code, unit_of
from roles.common import Opening, tree_source

ADDRESSES = {"sender": "hosts@example.org", "admin": "admins@example.org", "smarthost": "smtp.example.org"}


def test_a_password_is_never_sent_without_tls() -> None:
    with pytest.raises(ValidationError, match="never sent without TLS"):
        Mail.model_validate(ADDRESSES | {"user": "hosts", "secret": "smarthost", "tls": "none"})
    with pytest.raises(ValidationError, match="go together"):
        Mail.model_validate(ADDRESSES | {"user": "hosts"})


def test_the_smarthosts_line_survives_a_password_with_blanks_and_quotes() -> None:
    settings = Mail.model_validate(ADDRESSES | {"user": "hosts", "secret": "smarthost"})
    words = shlex.split(mail.remote(settings, """two 'words' "$x" \\"""))
    assert words == [
        "smtp.example.org",
        "smtp",
        "--port=587",
        "--starttls",
        "--user=hosts",
        """--pass=two 'words' "$x" \\""",
    ]


def test_mail_taken_away_leaves_no_password_and_no_service() -> None:
    settings = Settings(mail=Mail.model_validate(ADDRESSES))
    assert mail.absent_files(settings) == ()
    assert (mail.nullmailer(settings).enabled, mail.nullmailer(settings).running) == (True, True)
    assert mail.REMOTES in mail.absent_files(Settings())
    assert (mail.nullmailer(Settings()).enabled, mail.nullmailer(Settings()).running) == (False, False)


def test_ssh_only_names_admins_and_leaves_one_of_the_role(tmp_path: Path) -> None:
    fleet = Fleet.model_validate({"site": {"name": "x", "domain": "example.org"}, "hosts": {}})
    site = LoadedSite(tmp_path / "x.toml", fleet)
    site.files.mkdir()
    for name in ("alice", "bob"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    keys = {name: (tmp_path / f"{name}.pub").read_text().strip() for name in ("alice", "bob")}
    tables = f"[admins.alice]\nssh_keys = ['{keys['alice']}']\n[admins.bob]\nssh_keys = ['{keys['bob']}']\n"
    (site.files / "admins.toml").write_text(f"{tables}roles = ['web']\n")
    assert may_log_in(site, "a", "release", Settings()) == ["alice"]
    assert may_log_in(site, "a", "web", Settings(ssh_only=("bob",))) == ["bob"]
    assert may_log_in(site, "a", "release", Settings(ssh_only=("alice", "bob"))) == ["alice"]
    with pytest.raises(InputError, match=r"hosts\.a\.settings\.base\.ssh_only: bobb: no admin"):
        may_log_in(site, "a", "web", Settings(ssh_only=("alice", "bobb")))
    with pytest.raises(InputError, match="leaves nobody"):
        may_log_in(site, "a", "release", Settings(ssh_only=("bob",)))


@pytest.mark.parametrize("window", ["03:00-05:00", "23:30-00:30", "04:00-04:00"])
def test_each_host_reboots_at_the_same_minute_of_the_window_every_time(window: str) -> None:
    settings = Settings(reboot_window=window)
    times = {settings.reboot_at(f"host-{number}") for number in range(200)}
    first, last = window.split("-")
    over_midnight = last < first
    assert not {time for time in times if ((time < first) + (time >= last) > over_midnight) and first != last}
    assert len(times) > (30 if first != last else 0)
    assert settings.reboot_at("host-1") == settings.reboot_at("host-1")


@pytest.mark.parametrize(
    "bad",
    [
        {"reboot_window": "3-5"},
        {"ssh_sources": ["everywhere"]},
        {"ssh_sources": ["10.0.0.0/99"]},
        {"time_servers": [""]},
        {"journal_days": 3651},
        {"egress": {"blocked": []}},
        {"egress": {"blocked": ["10.0.0.1/8"]}},
        {"egress": {"blocked": ["10.0.0.0/8"], "allowed": [{"address": "vault.example.org", "port": 8000}]}},
        {"egress": {"blocked": ["10.0.0.0/8"], "allowed": [{"address": "10.0.0.1", "port": 0}]}},
    ],
)
def test_bad_settings_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(bad)


def test_an_opening_is_for_everyone_or_for_its_sources_of_either_family() -> None:
    openings = (
        Opening(protocol="tcp", port=443),
        Opening(protocol="tcp", port=9100, sources=("10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32")),
        Opening(protocol="tcp", port=443),
    )
    assert firewall.rules(openings) == [
        "tcp dport 443 accept",
        "tcp dport 9100 ip saddr { 10.0.0.0/8, 192.0.2.1/32 } accept",
        "tcp dport 9100 ip6 saddr { 2001:db8::/32 } accept",
    ]


def test_ssh_from_one_family_closes_the_other() -> None:
    assert firewall.ssh(Settings(ssh_sources=("192.0.2.0/24",))) == [("ip", "ssh_new4", "{ 192.0.2.0/24 }")]
    assert [family for family, _, _ in firewall.ssh(Settings())] == ["ip", "ip6"]


def output_chain(settings: Settings) -> list[str]:
    """Lines of the chain `output` in the file that a host gets."""
    given = {"ssh_port": SSH_PORT, "openings": [], "ssh": firewall.ssh(settings)}
    given["egress"] = firewall.egress(settings.egress)
    environment, _ = tree_source._environment(HERE / "access")
    text = environment.get_template("etc/nftables.conf.j2").render(settings.model_dump() | given)
    return text.partition("    chain output {\n")[2].partition("\n\n# What a role takes away")[0].splitlines()


def test_a_host_without_limits_may_connect_to_anything() -> None:
    hook = "        type filter hook output priority filter; policy accept;"
    assert output_chain(Settings()) == [hook, "    }", "}"]


def test_an_offline_host_sends_nothing_and_has_no_way_in() -> None:
    settings = Settings(offline=True)
    assert [line.strip() for line in output_chain(settings)] == [
        "type filter hook output priority filter; policy drop;",
        *('oif "lo" accept', "counter reject with icmpx admin-prohibited"),
        *("}", "}"),
    ]
    ssh = next(unit for unit in access_units(settings) if unit.name == "ssh.service")
    assert (ssh.enabled, ssh.running) == (False, False)


def test_what_is_blocked_is_rejected_after_answers_and_exceptions() -> None:
    limits = {
        "blocked": ["10.0.0.0/8", "2001:db8::/32", "10.1.0.0/16", "192.0.2.0/24"],
        "allowed": [{"address": "10.0.0.9", "port": 8000}, {"address": "2001:db8::9", "port": 8000}],
    }
    rules = [line.strip() for line in output_chain(Settings(egress=Egress.model_validate(limits)))]
    assert rules.index("ct state established,related accept") < rules.index("ip daddr 10.0.0.9 tcp dport 8000 accept")
    assert f"tcp sport {SSH_PORT} tcp flags & (syn | ack) != syn accept" in rules
    assert rules[rules.index("ip daddr 10.0.0.9 tcp dport 8000 accept") :] == [
        "ip daddr 10.0.0.9 tcp dport 8000 accept",
        "ip6 daddr 2001:db8::9 tcp dport 8000 accept",
        "ip daddr { 10.0.0.0/8, 192.0.2.0/24 } meta l4proto tcp counter reject with tcp reset",
        "ip daddr { 10.0.0.0/8, 192.0.2.0/24 } counter reject",
        "ip6 daddr { 2001:db8::/32 } meta l4proto tcp counter reject with tcp reset",
        "ip6 daddr { 2001:db8::/32 } counter reject",
        "}",
        "}",
    ]


def test_whoever_is_no_admin_is_locked_once_and_who_comes_back_is_opened() -> None:
    look = [
        "alice:/home/alice:/bin/bash:::adm",
        "bob:/home/bob:/bin/bash::80:",
        f"carol:/home/carol:{NOLOGIN}:{LOCKED}::",
        f"dave:/home/dave:{NOLOGIN}:{LOCKED}:0:",
        f"eve:/home/eve:{NOLOGIN}:{LOCKED}::",
        f"frank:/home/frank:{NOLOGIN}:{LOCKED}::sudo",
    ]
    locked = ["bob:/home/bob", "dave:/home/dave", "frank:/home/frank"]
    assert locking(look, {"alice", "eve"}) == (locked, ["eve"])


def test_whose_keys_and_groups_are_whose(tmp_path: Path) -> None:
    """Keys behind a symlink are another's, and the primary group is no right that was given."""
    for name in ("alice", "bob"):
        (tmp_path / name / ".ssh").mkdir(parents=True)
    (tmp_path / "alice/.ssh/authorized_keys").write_text("key\n")
    (tmp_path / "bob/.ssh/authorized_keys").symlink_to(tmp_path / "alice/.ssh/authorized_keys")
    (tmp_path / "carol").mkdir()
    (tmp_path / "carol/.ssh").symlink_to(tmp_path / "alice/.ssh")
    (tmp_path / "dave").symlink_to(tmp_path / "alice")
    names = ("alice", "bob", "carol", "dave")
    passwd = "".join(f"{name}:x:1000:100::{tmp_path / name}:{NOLOGIN}\n" for name in names)
    script = f"""getent() {{ [ "$1" = shadow ] && echo "$2:*:1:::::{LOCKED}:" || printf %s '{passwd}'; }}
id() {{ [ "$2" = alice ] && echo users adm sudo || echo users; }}
{PeopleLook().command()}"""
    output = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    look = PeopleLook().process(output.splitlines()) or []
    assert [line.split(":")[5] for line in look] == ["adm sudo", "", "", ""]
    assert [entry.split(":")[0] for entry in locking(look, {})[0]] == ["alice", "bob"]


def test_only_mapped_code_that_is_gone_is_stale() -> None:
    maps = """\
7f0000000000-7f0000001000 r-xp 00000000 08:01 42     /usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)
7f0000001000-7f0000002000 r--p 00000000 08:01 43     /usr/lib/x86_64-linux-gnu/libz.so.1 (deleted)
7f0000002000-7f0000003000 r-xp 00000000 08:01 44     /usr/lib/x86_64-linux-gnu/libc.so.6
7f0000003000-7f0000004000 r-xp 00000000 00:01 45     /memfd:jit (deleted)
"""
    assert replaced_code(maps) == {"/usr/lib/x86_64-linux-gnu/libssl.so.3"}


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/ssh.service", "ssh.service"),
        ("9:name=systemd:/system.slice/nginx.service\n8:pids:/\n", "nginx.service"),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.service", "user@1000.service"),
        ("0::/init.scope", "init.scope"),
        ("0::/", ""),
    ],
)
def test_a_process_belongs_to_the_outermost_unit_of_its_group(cgroup: str, unit: str) -> None:
    assert unit_of(cgroup) == unit


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of alice and bob, with keys; armed with what is guarded of them."""
    homes = tmp_path / "home"
    for name in ("alice", "bob"):
        (homes / name / ".ssh").mkdir(parents=True)
        (homes / name / ".ssh" / "authorized_keys").write_text(f"{name}\n")
    monkeypatch.setattr(rollback, "GUARDED", (f"{homes}/*/.ssh/authorized_keys",))
    monkeypatch.setattr(rollback, "ARMED", tmp_path / "armed")
    monkeypatch.setattr(rollback, "RECORDS", tmp_path / "units")
    for path in rollback.guarded():
        rollback.save(path, tmp_path / "armed" / "files" / path.relative_to("/"))
    return homes


def test_a_rollback_brings_back_what_was_and_removes_what_was_not(homes: Path) -> None:
    (homes / "alice/.ssh/authorized_keys").write_text("other\n")
    (homes / "bob/.ssh/authorized_keys").unlink()
    (homes / "carol/.ssh").mkdir(parents=True)
    (homes / "carol/.ssh/authorized_keys").write_text("carol\n")
    assert rollback.put_back()
    assert {path.parent.parent.name: path.read_text() for path in rollback.guarded()} == {
        "alice": "alice\n",
        "bob": "bob\n",
    }


def test_a_rollback_touches_nothing_through_a_symlink_of_a_user(homes: Path) -> None:
    for name, target in (("carol", "alice"), ("dave", "alice")):
        (homes / name).mkdir()
        (homes / name / ".ssh").symlink_to(homes / target / ".ssh")
    (homes / "erin").symlink_to(homes / "alice")
    (homes / "bob/.ssh/authorized_keys").unlink()
    (homes / "bob/.ssh").rmdir()
    (homes / "bob/.ssh").symlink_to(homes / "alice/.ssh")
    assert rollback.put_back()
    assert rollback.guarded() == {homes / "alice/.ssh/authorized_keys"}
    assert (homes / "alice/.ssh/authorized_keys").read_text() == "alice\n"


@pytest.mark.parametrize(
    "by_hand",
    [
        "rm .ssh/authorized_keys; mkdir -p .ssh/authorized_keys/x",
        "rm -r .ssh; touch .ssh",
        "mkdir -p .ssh/.authorized_keys.mainstay-rollback/x; rm .ssh/authorized_keys",
        "rm .ssh/authorized_keys; chmod 500 .ssh; chmod 300 .",
        "rm -r .ssh; chmod 500 .",
    ],
)
def test_whatever_users_make_of_their_homes_a_rollback_brings_the_keys_back(homes: Path, by_hand: str) -> None:
    keys = homes / "alice/.ssh/authorized_keys"
    subprocess.run(["sh", "-c", by_hand], cwd=homes / "alice", check=True)
    assert rollback.put_back()
    assert keys.read_text() == "alice\n"
    assert [path.name for path in keys.parent.iterdir()] == ["authorized_keys"]


def test_one_file_that_cannot_be_put_back_keeps_no_other_from_it(
    homes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    restore = rollback.restore

    def full_for_alice(source: Path, target: Path) -> None:
        if "alice" in target.parts:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        restore(source, target)

    monkeypatch.setattr(rollback, "restore", full_for_alice)
    (homes / "bob/.ssh/authorized_keys").unlink()
    assert not rollback.put_back()
    assert (homes / "bob/.ssh/authorized_keys").read_text() == "bob\n"
    assert "alice/.ssh" in capsys.readouterr().err
