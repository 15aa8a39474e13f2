"""Somebody has left: what the keys and the values that they had still open, which is nothing.

They were root on all hosts, and prepared for this: their key lies with other accounts, and sessions of theirs go on.
"""

import shlex
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from backup import custody
from backup.custody import ADMIN, APPEND, CONTROL, PORTS
from backup.reach import reach
from backup.restic import Restic
from backup.restic_process import WrongPassword
from backup.store import VAULT
from cli import admin, secrets
from cloud import provision
from cloud.client import Client, CloudError
from cloud.converge import REPOSITORY, Converged, converge
from inventories import departed
from inventories.editing import Plain
from inventories.inventory import load_site
from inventories.ssh import blocks, configured
from lab.api.rights import ACLS
from status import hosts, people
from status.told import Finding
from tests.people_site import made, opened
from tests.publishing_site import Publishing
from tests.restics import restic
from tests.runbooks.reader import editing
from tests.saved_site import HOST, HOSTS, PLAN, SET, Saved, saved_site
from tests.vault_client import Listener, through_ssh
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(2400)]
AWAY = "vault-1"
OWNERS = {HOST: "release", AWAY: "vault"}
"""The account that the data of each host belongs to."""
LEFT_RUNNING = "of-who-left"
LASTING = f"exec -a {LEFT_RUNNING} sleep infinity"
PREPARED = (
    "for home in /root /home/lab; do mkdir -p $home/.ssh; echo {key} >>$home/.ssh/authorized_keys; done; "
    "mkdir -p /var/lib/systemd/linger; touch /var/lib/systemd/linger/bob"
)


@dataclass(frozen=True)
class Gone:
    """What bob has, and how it was while he was put out. knew: values of secrets by name."""

    saved: Saved
    key: Path
    knew: Mapping[str, str]
    user: str
    """The provider's user whose key the site had."""
    certificate: Path
    """The vault's, of before."""
    all_at_once: Converged
    untouched: bool
    """Whether they had all of it still after that."""
    while_away: list[Finding]
    back: list[Finding]
    still_in: bool
    put_out: list[Finding]
    sessions: Mapping[str, "subprocess.Popen[bytes]"]


def enters(saved: Saved, key: Path, user: str, host: str, command: str) -> "subprocess.Popen[bytes]":
    """A connection of its own by a key, to run a command."""
    site = load_site(saved.inventory)
    config = saved.folder / f"ssh-{user}-{host}"
    config.write_text(blocks({host: site.lock.hosts[host].ipv4}, user, site.known_hosts(), key))
    words = ["ssh", "-F", str(config), "-o", "BatchMode=yes", host, command]
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def said(running: "subprocess.Popen[bytes]") -> tuple[int, str]:
    """The exit code, and what was printed."""
    out, err = running.communicate(timeout=180)
    return running.returncode, (out + err).decode()


def mainstay(saved: Saved, app: typer.Typer, *words: object) -> str:
    done = CliRunner().invoke(app, [*map(str, words), "--inventory", str(saved.inventory)])
    assert done.exit_code == 0, done.output
    return done.output


def of_hosts(saved: Saved) -> list[Finding]:
    return list(hosts.look(load_site(saved.inventory), datetime.now(UTC)).findings)


def lasting(saved: Saved, host: str) -> int:
    """How many of bob's programs run on a host."""
    return int(saved.root(host, f"pgrep -c -f ^{LEFT_RUNNING} || true"))


@pytest.fixture(scope="module")
def gone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gone]:
    for saved in saved_site(tmp_path_factory.mktemp("left")):
        yield _put_out(saved)


def _put_out(saved: Saved) -> Gone:
    """bob comes, prepares, and is removed while one host is away. carol, who publishes, stays."""
    key, site = made(saved.folder, "bob"), load_site(saved.inventory)
    user = _of_a_user(saved, "of-bobs-time")
    mainstay(saved, admin.app, "add", "bob", "--key", f"{key}.pub")
    publisher = made(saved.folder, "carol")
    mainstay(saved, admin.app, "add", "carol", "--key", f"{publisher}.pub", "--roles", "release", "--publisher")
    saved.deploy("base")
    certificate = saved.folder / "vault-of-bobs-time.pem"
    certificate.write_text(custody.certificate(site))
    knew = opened(site.secrets.path, key)
    line = shlex.quote(Path(f"{key}.pub").read_text().strip())
    prepared = f"sudo -n sh -ec {shlex.quote(PREPARED.format(key=line))}"
    as_root = f"{prepared}; setsid bash -c '{LASTING}' >/dev/null & sudo -n bash -c '{LASTING}'"
    sessions = {HOST: enters(saved, key, "bob", HOST, as_root)}
    until("both run", lambda: lasting(saved, HOST) >= 2)

    saved.cut(AWAY, off=True)
    mainstay(saved, admin.app, "remove", "bob")
    all_at_once = converge(saved.inventory, "base")
    untouched = lasting(saved, HOST) >= 2
    without = converge(saved.inventory, "base", f"--limit={HOST}")
    assert without.ok, without.output
    while_away = of_hosts(saved)
    saved.cut(AWAY, off=False)
    sessions[AWAY] = enters(saved, key, "bob", AWAY, as_root)
    until("both run", lambda: lasting(saved, AWAY) >= 2)
    still_in = sessions[AWAY].poll() is None
    back = of_hosts(saved)
    done = converge(saved.inventory, "base", f"--limit={AWAY}")
    assert done.ok, done.output
    return Gone(
        saved,
        key,
        knew,
        user,
        certificate,
        all_at_once,
        untouched,
        while_away,
        back,
        still_in,
        of_hosts(saved),
        sessions,
    )


def _of_a_user(saved: Saved, name: str) -> str:
    """Gives the site the API key of a new user at the provider, as one gets it in the console; the user's id."""
    client = provision.client(site := load_site(saved.inventory))
    user = client.post("/users", name=name, email=f"{name}@example.org", password="-", acls=[*ACLS])["user"]
    before = site.secrets[site.fleet.provider.api_key].get_secret_value()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("EDITOR", editing(saved.folder, f"sed -i 's/{before}/{user['api_key']}/' \"$1\""))
        environment.delenv("VISUAL", raising=False)
        mainstay(saved, secrets.app, "edit")
    return str(user["id"])


def about(found: list[Finding], host: str) -> list[str]:
    return [
        f"{one.kind}: {one.what}" for one in found if one.about == host and one.what != "it could not tell: updates"
    ]


def test_a_host_that_was_away_is_told_until_it_is_deployed(gone: Gone) -> None:
    assert gone.all_at_once.code
    assert f"unreachable: {AWAY}" in gone.all_at_once.output
    assert gone.untouched
    [away] = about(gone.while_away, AWAY)
    assert away.startswith("not seen: ")
    assert "who left may have an account there still: bob" in away
    assert "strangers" not in [one.kind for one in gone.while_away]
    assert gone.still_in
    assert "strangers: can log in there, and should not: bob" in about(gone.back, AWAY)
    assert {"strangers", "failed units"} & {one.kind for one in gone.put_out} == set()


def test_their_key_lets_nobody_in_and_their_sessions_have_ended(gone: Gone) -> None:
    tried = [(host, user) for host in HOSTS for user in ("bob", "root", "lab", OWNERS[host], "control", "git")]
    running = [(host, user, enters(gone.saved, gone.key, user, host, "id")) for host, user in tried]
    for host, user, one in running:
        code, text = said(one)
        assert (code, "Permission denied" in text) == (255, True), f"{user} at {host}: {text}"
    for host, session in gone.sessions.items():
        assert session.wait(180)
        assert lasting(gone.saved, host) == 0
        assert gone.saved.root(host, "pgrep -u bob || true; ls /var/lib/systemd/linger 2>/dev/null || true") == ""
        assert gone.saved.root(host, "getent passwd bob").endswith(":/usr/sbin/nologin")


def test_nothing_that_is_encrypted_from_then_on_opens(gone: Gone) -> None:
    site = load_site(gone.saved.inventory)
    assert {*gone.knew} == {*site.secrets}
    custody.write(site, site.secrets, {"entered_later": Plain("of the others")})
    try:
        assert opened(site.secrets.path, gone.key) == {}
        assert opened(site.secrets.path, gone.saved.folder / "carol") == {}
        later = load_site(gone.saved.inventory)
        assert later.secrets["entered_later"].get_secret_value() == "of the others"
    finally:
        custody.write(later := load_site(gone.saved.inventory), later.secrets, {"entered_later": None})
    assert {*departed.read(site.files)["bob"].knows} == {*gone.knew}


@pytest.mark.full
def test_what_they_knew_is_refused_once_it_is_replaced(gone: Gone) -> None:
    saved = gone.saved
    saved.save_first()
    words = [str(REPOSITORY / "bin/mainstay"), "secrets", "rotate", "--yes"]
    rotated = subprocess.run(words, env=saved.environment, capture_output=True, text=True, check=False)
    assert rotated.returncode == 0, rotated.stdout + rotated.stderr
    assert not [name for name, value in gone.knew.items() if value in rotated.stdout + rotated.stderr]
    saved.deploy("site")
    must_be_refused_by_the_vault(gone)

    site = load_site(saved.inventory)
    with reach(site) as way, way.store(VAULT, ADMIN) as vault:
        repository = replace(vault.repository(SET), password=gone.knew[SET.secret])
        with pytest.raises(WrongPassword):
            Restic(repository, restic()).snapshots()

    api_key = site.fleet.provider.api_key
    _of_a_user(saved, "of-later")
    client = provision.client(load_site(saved.inventory))
    client.remove(f"/users/{gone.user}")
    assert client.get("/account")
    with pytest.raises(CloudError) as refused:
        Client(site.fleet.provider.api_url, gone.knew[api_key]).get("/account")
    assert refused.value.status == 401

    left = {*departed.read(site.files)["bob"].knows}
    assert api_key not in left
    assert {name for name in gone.knew if name.startswith(("vault_", "backup_"))} & left == set()
    [told] = people.look(site, datetime.now(UTC)).findings
    assert f"still knows {len(left)} secrets" in told.what


def must_be_refused_by_the_vault(gone: Gone) -> None:
    """Every login of bob's time at every listener; those of now are taken."""
    site, target = load_site(gone.saved.inventory), f"/{HOST}/{PLAN}/config"
    logins = {
        APPEND: (HOST, custody.host_secret(HOST)),
        **{one: (one, custody.LOGINS[one]) for one in (CONTROL, ADMIN)},
    }
    with configured(site) as config, through_ssh(config, AWAY, site.files / custody.CERTIFICATE) as listeners:
        for name, (user, secret) in logins.items():
            assert listeners[name].ask("GET", target, (user, gone.knew[secret])).status == 401, name
            assert listeners[name].ask("GET", target, (user, site.secrets[secret].get_secret_value())).status == 200
    name, address = site.fleet.hosts[AWAY].dns[0], site.lock.hosts[AWAY].ipv4
    with pytest.raises(ssl.SSLCertVerificationError):
        Listener(address, PORTS[APPEND], name, gone.certificate).connect()


@pytest.mark.full
def test_a_publisher_publishes_and_does_nothing_else(gone: Gone) -> None:
    saved, key = gone.saved, gone.saved.folder / "carol"
    inventory = saved.folder / "carols.py"
    inventory.write_text(saved.inventory.read_text())
    declared = saved.inventory.with_suffix(".toml").read_text()
    own = declared.replace('ssh_user = "lab"', 'ssh_user = "carol"').replace('"id_ed25519"', f'"{key}"')
    inventory.with_suffix(".toml").write_text(own)
    publishing = Publishing(inventory, saved.folder, saved.lab)
    folder, build = publishing.built()
    publishing.done("publish", folder)
    assert build in saved.root(HOST, "cat /srv/release/metadata/ota/panther/panther-testing")

    assert opened(load_site(inventory).secrets.path, key) == {}
    for command in (
        "sudo -n id",
        "sudo -n -u lab id",
        "sudo -n -u www-data id",
        f"cat /etc/mainstay/backup/{PLAN}.json",
        f"sudo -n -u release cat /etc/mainstay/backup/{PLAN}.json",
        "sudo -n -u release cat /etc/ssh/ssh_host_ed25519_key",
        "sudo -n -u release touch /etc/nginx/nginx.conf",
        "systemctl --no-ask-password restart nginx",
    ):
        code, text = said(enters(saved, key, "carol", HOST, command))
        assert code not in (0, 255), f"{command}: {text}"
    for host, user in ((AWAY, "carol"), (AWAY, "lab"), (HOST, "lab"), (HOST, "root"), (HOST, "release")):
        code, text = said(enters(saved, key, user, host, "id"))
        assert (code, "Permission denied" in text) == (255, True), f"{user} at {host}: {text}"
    assert not converge(inventory, "release").ok
