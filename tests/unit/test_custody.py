"""The keys of the backups: which there are, that they are made once, and what a deploy says when one is missing."""

import re
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import create_connection, create_server

import bcrypt
import pytest
from pydantic import SecretStr
from pyrage import x25519
from typer.testing import CliRunner, Result

from backup import certificate, custody
from backup.reach import reach
from cli.backup import app
from cli.main import main
from inventories import identities
from inventories.editing import Plain, apply
from inventories.errors import InputError
from inventories.inventory import LoadedSite, load_site
from inventories.keys import public_ssh
from inventories.secrets import Secrets, owners, parse, stale
from roles.control import holds
from roles.vault.deploy import OPTIONS, data_volume
from roles.vault.settings import Settings
from roles.vault.users import htpasswd, users
from tests.unit.test_inventory import KEY

SITE = """
[site]
name = "site"
domain = "example.org"
[hosts.vault-1]
role = "vault"
plan = "p"
region = "ams"
dns = ["vault.example.org", "backup.example.org"]
volumes.repositories = { size_gb = 100, mount = "/srv/vault" }
"""
HOST = '[hosts.{name}]\nrole = "{role}"\nplan = "p"\nregion = "ams"\n'
HOSTS = HOST.format(name="web-1", role="web") + HOST.format(name="bare-1", role="base")
NAMES = ["vault_tls_key", "vault_control", "vault_admin", "vault_web_1", "backup_web_1_web"]


class Keys:
    """A site, and `mainstay backup keys` on it."""

    def __init__(self, folder: Path) -> None:
        self.inventory = folder / "site.toml"
        self.files = folder / "site"

    def declare(self, text: str) -> None:
        self.inventory.write_text(text)

    @property
    def site(self) -> LoadedSite:
        return load_site(self.inventory)

    def make(self) -> Result:
        return CliRunner().invoke(app, ["keys", "--inventory", str(self.inventory)])

    def values(self) -> dict[str, str]:
        secrets = self.site.secrets
        return {name: secrets[name].get_secret_value() for name in secrets}

    def set(self, name: str, value: str | None) -> None:
        secrets, readers = self.site.secrets, self.site.readers
        apply(secrets.path, secrets.entries, {name: Plain(value) if value else None}, readers)

    @property
    def certificate(self) -> Path:
        return self.files / custody.CERTIFICATE


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keys:
    """Without any secret yet; alice is its admin and runs the tests."""
    made = Keys(tmp_path)
    made.files.mkdir()
    identity = x25519.Identity.generate()
    (tmp_path / "alice.txt").write_text(f"{identity}\n")
    recipient = f'age_recipients = ["{identity.to_public()}"]\n'
    (made.files / "admins.toml").write_text(f'[admins.alice]\nssh_keys = ["{KEY} a"]\n{recipient}')
    monkeypatch.setenv(identities.VARIABLE, str(tmp_path / "alice.txt"))
    made.declare(SITE + HOSTS)
    return made


def test_what_is_missing_is_made_and_only_named(keys: Keys) -> None:
    done = keys.make()
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [f"{name}: made" for name in (*NAMES, "vault.pem")]
    values = keys.values()
    assert sorted(values) == sorted(NAMES)
    assert not [name for name, value in values.items() if value in done.output]
    passwords = [values[name] for name in NAMES[1:]]
    assert all(re.fullmatch(r"[\w-]{43}", password) for password in passwords)
    assert len(set(passwords)) == len(passwords)
    custody.check(keys.site)


def test_what_was_made_meanwhile_is_not_made_again(keys: Keys) -> None:
    early = keys.site
    assert not early.secrets.entries
    keys.make()
    assert custody.make(early) == ()


def test_what_is_there_stays_byte_for_byte(keys: Keys) -> None:
    keys.make()
    before = [path.read_bytes() for path in (keys.site.secrets.path, keys.certificate)]
    done = keys.make()
    assert (done.exit_code, done.output) == (0, "nothing is missing\n")
    assert [path.read_bytes() for path in (keys.site.secrets.path, keys.certificate)] == before
    old = keys.values()
    keys.declare(SITE + HOSTS + HOST.format(name="web-2", role="web"))
    assert keys.make().output.splitlines() == ["vault_web_2: made", "backup_web_2_web: made"]
    assert old.items() < keys.values().items()
    assert keys.certificate.read_bytes() == before[1]


def test_a_lost_certificate_is_made_anew_of_the_same_key(keys: Keys) -> None:
    keys.make()
    key = keys.values()[certificate.TLS_KEY]
    keys.certificate.unlink()
    assert keys.make().output == "vault.pem: made\n"
    assert custody.check(keys.site) == (keys.certificate.read_text(), key)


def test_a_certificate_whose_key_is_lost_is_not_replaced_unasked(keys: Keys) -> None:
    keys.make()
    keys.set(certificate.TLS_KEY, None)
    before = keys.certificate.read_bytes()
    with pytest.raises(InputError, match=r"vault_tls_key: is missing, and .*vault\.pem is of that key"):
        custody.make(keys.site)
    assert keys.certificate.read_bytes() == before
    assert certificate.TLS_KEY not in keys.site.secrets


@pytest.mark.parametrize("name", [*NAMES, "vault.pem"])
def test_a_deploy_that_lacks_one_names_the_command(keys: Keys, name: str) -> None:
    keys.make()
    if name == "vault.pem":
        keys.certificate.unlink()
    else:
        keys.set(name, None)
    with pytest.raises(InputError, match=rf"{re.escape(name)}.*\n.*mainstay backup keys --inventory .*site\.py"):
        custody.check(keys.site)


def test_a_certificate_that_does_not_fit_is_refused(keys: Keys) -> None:
    keys.make()
    text, key = custody.check(keys.site)
    names, now = ("vault.example.org",), datetime.now(UTC)
    assert not list(certificate.problems(text, key, names, now))
    assert list(certificate.problems(text, certificate.new_key(), names, now)) == [
        "it is not of the key in the secret vault_tls_key"
    ]
    assert list(certificate.problems(text, key, ("other.example.org",), now)) == ["it is not for other.example.org"]
    late = now + timedelta(days=certificate.VALID_DAYS - certificate.RENEW_DAYS)
    assert "it is valid only until" in next(certificate.problems(text, key, names, late))
    assert "not PEM" in next(certificate.problems("nonsense", key, names, now))
    keys.declare(keys.inventory.read_text().replace('"vault.example.org"', '"safe.example.org"'))
    with pytest.raises(InputError, match=r"vault\.pem: it is not for safe\.example\.org\n  remove it"):
        custody.check(keys.site)


@pytest.mark.parametrize(
    ("site", "problem"),
    [
        (SITE.partition("[hosts")[0] + HOSTS, "no vault"),
        (SITE + HOST.format(name="vault-2", role="vault"), "more than one vault: vault-1, vault-2"),
        (
            SITE.replace('dns = ["vault.example.org", "backup.example.org"]', ""),
            "hosts.vault-1.dns: the vault has no name",
        ),
        (
            SITE + HOST.format(name="control", role="web"),
            "'vault_control' would be that of the control side and host control",
        ),
        (
            SITE + HOST.format(name="admin", role="web"),
            "'vault_admin' would be that of the vault's admins and host admin",
        ),
    ],
)
def test_a_fleet_that_cannot_be_saved_is_refused(keys: Keys, site: str, problem: str) -> None:
    keys.declare(site)
    with pytest.raises(InputError, match=re.escape(problem)):
        custody.make(keys.site)
    assert not keys.site.secrets.path.exists()


CONTROL = HOST.format(name="watch-1", role="control")
SHARED = ["vault_control", "backup_web_1_web", "backup_watch_1_control"]


def readers(keys: Keys) -> dict[str, set[str]]:
    """Names of those who read a secret."""
    return {name: set(owners(entry)) for name, entry in keys.site.secrets.entries.items()}


def test_a_control_host_has_keys_of_its_own_and_reads_what_neither_deletes_nor_provisions(keys: Keys) -> None:
    keys.declare(SITE + HOSTS + CONTROL)
    keys.set("vultr_api_key", "k")
    keys.set("copy_admin_secret_key", "k")
    assert keys.make().exit_code == 0
    found = readers(keys)
    assert {name for name, who in found.items() if who == {"alice", "control"}} == set(SHARED)
    assert {name for name, who in found.items() if who == {"alice"}} == set(found) - set(SHARED)
    values = keys.values()
    assert public_ssh(values["control_ssh_key"]).startswith("ssh-ed25519 ")
    own = keys.files / "own"
    own.write_text(values["control_age_key"])
    as_control = Secrets(keys.site.secrets.path, [own])
    assert {name for name in as_control if as_control.readable(name)} == set(SHARED)
    assert {name: as_control[name].get_secret_value() for name in SHARED} == {name: values[name] for name in SHARED}
    custody.check(keys.site)
    assert keys.make().output == "nothing is missing\n"


def test_what_was_there_before_the_control_host_is_encrypted_to_it_too(keys: Keys) -> None:
    keys.make()
    for name in ("copy_access_key", "notify_ping"):
        keys.set(name, "k")
    old = keys.values()
    keys.declare(SITE + HOSTS + CONTROL)
    given = ["backup_web_1_web", "copy_access_key", "notify_ping", "vault_control"]
    lines = keys.make().output.splitlines()
    assert lines[-4:] == [f"{name}: now for the control host too" for name in given]
    assert "control.age.pub: made" in lines
    assert old.items() < keys.values().items()
    assert {name for name, who in readers(keys).items() if "control" in who} == {*given, "backup_watch_1_control"}


def test_a_control_host_whose_key_was_taken_out_gets_another_and_reads_all_with_that(keys: Keys) -> None:
    keys.declare(SITE + HOSTS + CONTROL)
    keys.make()
    before = (keys.files / "control.age.pub").read_text()
    keys.set("control_age_key", None)
    assert keys.make().output.splitlines()[:2] == ["control_age_key: made", "control.age.pub: made"]
    assert (keys.files / "control.age.pub").read_text() != before
    assert stale(keys.site.secrets.entries, keys.site.readers) == ()


DRILL = '[drill]\ndomain = "drill.example.org"\n'
FOR_DRILLS = ["drill_api_key", "vault_watch_1", "vault_web_1"]
BY_HAND = ["copy_access_key", "copy_secret_key", "notify_webhook", "notify_ping"]
NEVER = ["vault_admin", "vault_tls_key", "vultr_api_key", "copy_admin_access_key", "copy_admin_secret_key"]


@pytest.mark.parametrize("before", ["", CONTROL, CONTROL + DRILL], ids=["no control host", "no drills", "drills"])
def test_where_there_are_drills_the_control_host_reads_what_they_need_and_nothing_more(keys: Keys, before: str) -> None:
    """Whatever of it there was before."""
    keys.declare(SITE + HOSTS + before)
    keys.make()
    for name in (*BY_HAND, *NEVER[2:], "drill_api_key", "smarthost_password"):
        keys.set(name, "k")
    old = keys.values()
    keys.declare(SITE + HOSTS + CONTROL + DRILL)
    assert keys.make().exit_code == 0
    found, wanted = readers(keys), {*SHARED, *BY_HAND, *FOR_DRILLS}
    assert {name for name, who in found.items() if who == {"alice", "control"}} == wanted
    assert {name for name, who in found.items() if who == {"alice"}} == set(found) - wanted
    assert {*NEVER, "control_ssh_key", "control_age_key", "smarthost_password"} <= set(found) - wanted
    assert set(keys.site.secrets.tagged("drill")) == set(FOR_DRILLS)
    assert set(keys.site.secrets.tagged("control")) == wanted - set(FOR_DRILLS)
    assert old.items() <= keys.values().items()
    own = keys.files / "own"
    own.write_text(keys.values()["control_age_key"])
    as_control = Secrets(keys.site.secrets.path, [own])
    assert {name for name in as_control if as_control.readable(name)} == wanted
    assert as_control["drill_api_key"].get_secret_value() == "k"
    assert stale(keys.site.secrets.entries, keys.site.readers) == ()
    assert keys.make().output == "nothing is missing\n"


def test_what_the_control_host_reads_already_is_marked_as_for_drills_too(keys: Keys) -> None:
    keys.declare(SITE + HOSTS + CONTROL + DRILL)
    keys.make()
    secrets = keys.site.secrets
    apply(secrets.path, secrets.entries, {"drill_api_key": Plain("k", ("control",))}, keys.site.readers)
    assert keys.make().output == "drill_api_key: now for the control host too\n"
    assert keys.site.secrets.entries["drill_api_key"].tags == ("control", "drill")


def test_without_drills_their_secrets_are_the_admins(keys: Keys) -> None:
    keys.declare(SITE + HOSTS + CONTROL)
    keys.set("drill_api_key", "k")
    keys.make()
    assert not {name for name, who in readers(keys).items() if "control" in who} & set(FOR_DRILLS)


def test_the_control_host_gets_the_key_of_the_drills_and_what_others_are_trusted_by(keys: Keys) -> None:
    keys.declare(SITE + HOSTS + CONTROL + DRILL)
    (keys.files / "lock.json").write_text("{}")
    for name in ("drill_api_key", "vultr_api_key"):
        keys.set(name, "k")
    keys.make()
    trusted = ("provider.pem", "tls-roots.pem")
    before = holds.files(keys.site)
    assert not [name for name in trusted if f"{holds.FOLDER}/{name}" in before]
    for name in trusted:
        (keys.files / name).write_text(name)
    held = holds.files(keys.site)
    assert [held[f"{holds.FOLDER}/{name}"] for name in trusted] == list(trusted)
    entries = parse(keys.inventory, held[f"{holds.FOLDER}/secrets.age"].encode())
    assert set(entries) == {*SHARED, *FOR_DRILLS}


@pytest.mark.parametrize("name", ["control_ssh_key", "control_age_key", "control.age.pub"])
def test_a_deploy_that_lacks_a_key_of_the_control_host_names_the_command(keys: Keys, name: str) -> None:
    keys.declare(SITE + HOSTS + CONTROL)
    keys.make()
    if name == "control.age.pub":
        (keys.files / name).unlink()
    else:
        keys.set(name, None)
    with pytest.raises(InputError, match=rf"{re.escape(name)}.*\n.*mainstay backup keys"):
        custody.check(keys.site)


def test_a_control_host_is_deployed_only_when_it_can_open_every_data_set(keys: Keys) -> None:
    keys.declare(SITE + HOSTS + CONTROL)
    (keys.files / "lock.json").write_text("{}")
    keys.make()
    assert "/etc/mainstay/control/secrets.age" in holds.files(keys.site)
    keys.declare(SITE + HOSTS + CONTROL + HOST.format(name="web-2", role="web"))
    with pytest.raises(InputError, match=r"backup_web_2_web: no such secret\n.*mainstay backup keys"):
        holds.files(keys.site)


def test_a_second_control_host_is_refused(keys: Keys) -> None:
    keys.declare(SITE + HOSTS + CONTROL + HOST.format(name="watch-2", role="control"))
    with pytest.raises(InputError, match="more than one control host: watch-1, watch-2"):
        custody.make(keys.site)


def test_only_roles_with_data_are_saved(keys: Keys) -> None:
    assert [str(data) for data in custody.data_sets(keys.site.fleet)] == ["web-1:web"]
    assert custody.clients(keys.site.fleet) == ("web-1",)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """The port of a server with the vault's certificate, and that."""
    key = certificate.new_key()
    pem, key_file = tmp_path / "vault.pem", tmp_path / "key"
    pem.write_text(certificate.self_signed(key, ("vault.example.org",)))
    key_file.write_text(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key_file)
    with create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1], pem
        listening.shutdown(2)


@pytest.mark.parametrize(
    ("name", "good"), [("vault.example.org", True), ("localhost", True), ("127.0.0.1", True), ("example.org", False)]
)
def test_the_certificate_is_that_of_the_vault_and_of_a_forwarding_to_it(
    server: tuple[int, Path], name: str, good: bool
) -> None:
    port, certificate = server
    context = ssl.create_default_context(cafile=certificate)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with create_connection(("127.0.0.1", port)) as connection:
        if good:
            context.wrap_socket(connection, server_hostname=name).close()
        else:
            with pytest.raises(ssl.SSLCertVerificationError):
                context.wrap_socket(connection, server_hostname=name)


def test_users_are_the_same_in_every_run_and_differ_by_place(keys: Keys) -> None:
    keys.make()
    found = users(keys.site)
    assert users(keys.site) == found
    entered = {listener: [line.split(":")[0] for line in text.splitlines()] for listener, text in found.items()}
    assert entered == {"append": ["web-1"], "control": ["control"], "admin": ["admin"]}
    hashed = found["append"].strip().partition(":")[2].encode()
    assert bcrypt.checkpw(keys.values()["vault_web_1"].encode(), hashed)
    assert not bcrypt.checkpw(keys.values()["vault_admin"].encode(), hashed)
    salts = {htpasswd(place, {user: SecretStr("x")}).split("$")[3][:22] for place in "ab" for user in ("one", "two")}
    assert len(salts) == 4


def test_a_password_that_bcrypt_would_cut_is_refused(keys: Keys) -> None:
    keys.make()
    keys.set("vault_web_1", "x" * 73)
    with pytest.raises(InputError, match="vault_web_1: is longer than 72 bytes"):
        users(keys.site)


def test_only_the_admins_listener_deletes() -> None:
    assert [listener for listener, text in OPTIONS.items() if "--append-only" in text] == ["append", "control"]
    assert "--listen 127.0.0.1:" in OPTIONS["admin"]


@pytest.mark.parametrize("filesystem", ["", "xfs"])
def test_a_vault_needs_a_volume_that_keeps_room(keys: Keys, filesystem: str) -> None:
    declared = 'volumes.repositories = { size_gb = 100, mount = "/srv/vault" }'
    assert declared in SITE
    other = declared.replace(" }", f', filesystem = "{filesystem}" }}') if filesystem else ""
    keys.declare(SITE.replace(declared, other))
    with pytest.raises(InputError, match=r"hosts\.vault-1\.volumes: .*\n.*ext4 keeps room"):
        data_volume(keys.site, "vault-1", Settings())


def test_secrets_are_encrypted_to_all_admins(keys: Keys) -> None:
    keys.make()
    secrets = Secrets(keys.site.secrets.path)
    assert {reader.split()[0] for entry in secrets.entries.values() for reader in entry.readers} == {"alice"}


def test_a_certificate_that_is_missing_is_told_before_the_vault_is_asked(keys: Keys) -> None:
    keys.make()
    keys.certificate.unlink()
    with reach(keys.site) as way, pytest.raises(InputError, match=r"vault\.pem: cannot be read"), way.vault():
        pass


def test_a_backup_on_a_host_that_is_not_there_yet_is_refused_in_words(keys: Keys) -> None:
    done = CliRunner().invoke(app, ["run", "web-1:web", "--inventory", str(keys.inventory)])
    assert isinstance(done.exception, InputError)
    assert "web-1: is declared and not provisioned yet" in str(done.exception)


def test_a_folder_that_cannot_be_written_is_one_line(
    keys: Keys, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keys.make()
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    monkeypatch.setattr("sys.argv", ["mainstay", "backup", "status", "--inventory", str(keys.inventory)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    [told] = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"mainstay: /dev/null/mainstay/.*: Not a directory", told)
