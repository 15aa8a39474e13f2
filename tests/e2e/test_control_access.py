"""Who holds the control host's key reads ledgers and adds to the vault, and can do nothing else anywhere."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest
import tomlkit
from paramiko.common import cMSG_CHANNEL_REQUEST

from backup import custody, ledger
from backup.custody import ADMIN, CONTROL, PORTS
from backup.reach import Reach, forwarded
from backup.reach import Unreachable as NoForwarding
from inventories.files import replace
from inventories.ssh import blocks
from tests.labs import one_connection
from tests.vault_client import Listener
from tests.watched_site import DATA, VAULT, Watched, watched_site

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
PYZ = "/usr/local/lib/mainstay/backup.pyz"
LEDGER = "/var/lib/mainstay/backup/web/ledger.jsonl"
RIGHT = f"sudo -n {PYZ} ledger web --after 0"
REFUSED = "this key may ask for a ledger, or what lies on a release server, and for nothing else"
READER = "/usr/local/lib/mainstay/read_packages.py"
WRONG = [
    "",
    "id",
    "/bin/sh",
    "sudo -n id",
    f"{RIGHT};id",
    f"{RIGHT} && id",
    f"{RIGHT}\nid",
    f"id\n{RIGHT}",
    f"{RIGHT}\n",
    f" {RIGHT}",
    f"{RIGHT} ",
    f"{RIGHT} --state /tmp",
    f"sudo -n {PYZ} --state /tmp ledger web --after 0",
    f"sudo -n {PYZ} ledger ../web --after 0",
    f"sudo -n {PYZ} ledger web/../web --after 0",
    f"sudo -n {PYZ} ledger /etc --after 0",
    f"sudo -n {PYZ} ledger WEB --after 0",
    f"sudo -n {PYZ} ledger $(id) --after 0",
    f"sudo -n {PYZ} ledger web",
    f"sudo -n {PYZ} ledger web --after -1",
    f"sudo -n {PYZ} ledger web --after 0x1",
    f"sudo -n {PYZ} ledger web --after \u0661",
    f"sudo -n {PYZ} ledger web --after {'9' * 13}",
    f"sudo -n {PYZ} ledger web --after 0 --json",
    f"sudo -n {PYZ} run web",
    f"sudo -n {PYZ} restore web --to /tmp/x",
    f"sudo -n {PYZ} verify web",
    f"sudo -n {PYZ} status",
    f"sudo -n {PYZ} answer",
    f"{PYZ} ledger web --after 0",
    f"/usr/bin/python3 -I {READER} look /srv/release",  # no release server
    f"/usr/bin/python3 -I {READER} look /etc",
    f"/usr/bin/python3 -I {READER} /srv/release",
    f"/usr/bin/python3 -I {READER} nightly /srv/release /tmp/x",
    f"/usr/bin/python3 -I {READER} look /srv/release;id",
    "cat /etc/passwd",
    "scp -f /etc/passwd",
    "rsync --server --sender . /etc/",
    "/usr/lib/openssh/sftp-server",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    yield from watched_site(tmp_path_factory.mktemp("access"))


@pytest.fixture(scope="module")
def stolen(site: Watched) -> Path:
    """For `ssh -F`: as the control host's account, with its key."""
    loaded = site.site
    key, config = site.inventory.with_name("stolen"), site.inventory.with_name("stolen_config")
    replace(key, loaded.secrets[custody.SSH_KEY].get_secret_value(), 0o600)
    hosts = {name: host.ipv4 for name, host in loaded.lock.hosts.items()}
    config.write_text(blocks(hosts, CONTROL, loaded.known_hosts(), key))
    return config


@pytest.fixture(scope="module")
def asking(stolen: Path) -> Path:
    """The same by one connection a host: each command is a session of its own all the same."""
    return one_connection(stolen.with_name("asking_config"), stolen.read_text())


def ssh(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """ssh with these words, as who has the key."""
    options = ["ssh", "-F", str(config), "-o", "BatchMode=yes"]
    return subprocess.run(
        [*options, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60
    )


def test_it_is_told_the_ledger_and_the_part_of_it_that_it_asks_for(site: Watched, stolen: Path) -> None:
    whole = site.root(DATA, f"cat {LEDGER}").splitlines()
    assert [entry.outcome for entry in ledger.chain("web", [line.encode() for line in whole])][:2] == ["started", "ok"]
    for after in (0, 1, len(whole), 70):
        words = Reach(site.site, stolen).agent(DATA, "ledger", "web", "--after", str(after))
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines() == whole[after:]


@pytest.mark.parametrize("words", WRONG)
def test_a_host_with_data_answers_nothing_else(asking: Path, words: str) -> None:
    done = ssh(asking, DATA, *([words] if words else []))
    assert (done.returncode, done.stdout) == (2, "")
    assert REFUSED in done.stderr


@pytest.mark.parametrize("words", ["", "id", RIGHT, "/usr/lib/openssh/sftp-server", "restic-rest-server --help"])
def test_the_vault_runs_nothing(asking: Path, words: str) -> None:
    done = ssh(asking, VAULT, *([words] if words else []))
    assert done.returncode == 1
    assert done.stdout.strip() == "This account is currently not available."


@pytest.mark.parametrize("host", [DATA, VAULT])
def test_files_are_neither_fetched_nor_put(site: Watched, stolen: Path, host: str, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    there = f"{host}:/etc/hostname"
    for words in (
        ["sftp", "-F", str(stolen), "-b", "/dev/null", host],
        ["scp", "-F", str(stolen), there, str(tmp_path / "got")],
        ["scp", "-O", "-F", str(stolen), there, str(tmp_path / "got")],
        ["scp", "-O", "-F", str(stolen), str(tmp_path / "mine"), f"{host}:/tmp/mine"],
        ["rsync", "-e", f"ssh -F {stolen}", there, str(tmp_path / "got")],
    ):
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60)
        assert done.returncode, words
    assert not (tmp_path / "got").exists()
    assert not site.root(host, "ls /tmp/mine 2>/dev/null || true")


@pytest.mark.parametrize("host", [DATA, VAULT])
@pytest.mark.parametrize(
    ("asked", "refusal"),
    [
        ("-tt", "PTY allocation request failed"),
        ("-R 0:127.0.0.1:22", "remote port forwarding failed"),
        ("-R /tmp/socket:127.0.0.1:22", "remote port forwarding failed"),
        ("-w 0:0", "Tunnel forwarding failed"),
    ],
)
def test_terminals_and_ways_back_are_refused(stolen: Path, host: str, asked: str, refusal: str) -> None:
    done = ssh(stolen, "-o", "ExitOnForwardFailure=yes", *asked.split(), host, "id")
    assert done.returncode
    assert refusal in done.stderr or "Tunnel device open failed" in done.stderr


@pytest.mark.parametrize("host", [DATA, VAULT])
def test_neither_agents_nor_displays_are_forwarded(site: Watched, stolen: Path, host: str) -> None:
    """Asked by the protocol, with an answer wanted: ssh wants none for its agent."""
    key = paramiko.Ed25519Key.from_private_key_file(str(stolen.with_name("stolen")))
    with paramiko.Transport((site.site.lock.hosts[host].ipv4, 22)) as way:
        way.connect(username=CONTROL, pkey=key)
        with pytest.raises(paramiko.SSHException, match="Channel closed"):
            way.open_session().request_x11(handler=lambda *_: None)
        with pytest.raises(paramiko.SSHException, match="Channel closed"):
            ask_for_an_agent(way.open_session())


def ask_for_an_agent(session: Any) -> None:
    """As paramiko's request_forward_agent, but that an answer is wanted. Raises SSHException when it is refused."""
    message = paramiko.Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(session.remote_chanid)
    message.add_string("auth-agent-req@openssh.com")
    message.add_boolean(True)
    session._event_pending()
    session.transport._send_user_message(message)
    session._wait_for_event()


def reaches(config: Path, host: str, target: str) -> bool:
    """Whether a forwarding to HOST:PORT gets an answer, by the standard input of ssh."""
    return ssh(config, "-W", target, host).returncode == 0


@pytest.mark.parametrize("target", ["127.0.0.1:22", "127.0.0.1:8001", "127.0.0.1:80", "10.20.0.1:22"])
def test_a_host_with_data_forwards_nothing(stolen: Path, target: str) -> None:
    assert not reaches(stolen, DATA, target)


def test_the_vault_forwards_to_the_control_sides_listener_and_nowhere_else(site: Watched, stolen: Path) -> None:
    assert reaches(stolen, VAULT, f"127.0.0.1:{PORTS[CONTROL]}")
    web = site.site.lock.hosts[DATA].ipv4
    ports = (22, PORTS[ADMIN], 8000, 80)
    for target in (*(f"127.0.0.1:{port}" for port in ports), f"localhost:{PORTS[ADMIN]}", f"[::1]:{PORTS[ADMIN]}"):
        assert not reaches(stolen, VAULT, target), target
    assert not reaches(stolen, VAULT, f"{web}:80")
    assert not reaches(stolen, VAULT, f"0.0.0.0:{PORTS[CONTROL]}")


def test_behind_it_it_adds_and_deletes_nothing(site: Watched, stolen: Path) -> None:
    secret = site.site.secrets["vault_control"].get_secret_value()
    with forwarded(stolen, VAULT, PORTS[CONTROL]) as port:
        way = Listener("127.0.0.1", port, "localhost", site.site.files / "vault.pem")
        login = (CONTROL, secret)
        assert way.ask("GET", f"/{DATA}/web/config", login).status == 200
        assert way.ask("DELETE", f"/{DATA}/web/config", login).status == 403
    with pytest.raises((NoForwarding, OSError)), forwarded(stolen, VAULT, PORTS[ADMIN]) as port:
        Listener("127.0.0.1", port, "localhost", site.site.files / "vault.pem").connect()


def test_of_what_the_agent_keeps_it_reads_ledgers_alone(site: Watched) -> None:
    kept = site.root(DATA, "find /var/lib/mainstay/backup /etc/mainstay -type f").split()
    assert len(kept) > 5
    tried = "for file; do runuser -u control -- head -c0 $file 2>/dev/null && echo $file; done; true"
    assert site.root(DATA, f"set -- {' '.join(kept)}; {tried}").split() == [LEDGER]
    assert not site.root(
        DATA, "runuser -u control -- ls /var/lib/mainstay /var/lib/mainstay/backup/web 2>/dev/null || true"
    )
    assert site.root(DATA, f"runuser -u control -- sh -c 'echo >>{LEDGER}' 2>/dev/null || echo no") == "no\n"
    assert site.root(DATA, "sudo -l -U control").startswith("User control is not allowed to run sudo")


def test_a_second_deploy_changes_nothing_and_a_backup_in_between_leaves_the_rights(site: Watched) -> None:
    site.root(DATA, "systemctl start mainstay-backup@web")
    for role in ("vault", "web"):
        assert site.deploy(role).changed == ()


def change(site: Watched, edit: Callable[[Any], None]) -> None:
    """Changes what the inventory declares."""
    text = site.inventory.with_suffix(".toml")
    document: Any = tomlkit.parse(text.read_text())
    edit(document)
    text.write_text(tomlkit.dumps(document))


@pytest.mark.full
def test_under_investigation_it_stays_outside_and_without_a_control_host_there_is_no_account(
    site: Watched, stolen: Path
) -> None:
    change(site, lambda document: document["hosts"][DATA].update(settings={"base": {"ssh_only": ["lab"]}}))
    site.deploy("web")
    assert "Permission denied" in ssh(stolen, DATA, RIGHT).stderr
    change(site, lambda document: document["hosts"][DATA].pop("settings"))
    change(site, lambda document: document["hosts"].pop("control-1"))
    site.deploy("site")
    for host in (DATA, VAULT):
        assert site.root(host, "getent passwd control || ls /etc/ssh/control_keys 2>/dev/null || echo none") == "none\n"
        assert "Permission denied" in ssh(stolen, host, RIGHT).stderr
    assert site.deploy("site").changed == ()
    rights = f"stat -c '%a %U:%G' /var/lib/mainstay/backup/web {LEDGER}"
    assert site.root(DATA, rights).splitlines() == ["710 root:root", "600 root:root"]
