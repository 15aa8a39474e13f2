"""Nothing is bought without an API key that can be sent and a login key that can work; no key to offer ends a wait."""

import io
import logging
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import paramiko
import pytest

from cloud.first_contact import ContactError, Login, wait_for
from cloud.provision import check_login, client
from cloud.user_data import host_key
from inventories.errors import InputError
from inventories.inventory import LoadedSite, load_site
from inventories.secrets import Secrets

HOST_KEY = host_key()


def _key(path: Path, passphrase: str = "") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-a", "1", "-N", passphrase, "-C", "", "-f", path], check=True)
    return path


def _public(key: Path) -> str:
    return key.with_suffix(".pub").read_text().strip()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without keys, of somebody without an agent."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return home


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An ssh-agent, which holds nothing yet."""
    with subprocess.Popen(["ssh-agent", "-D", "-a", tmp_path / "agent"], stdout=subprocess.PIPE) as running:
        assert running.stdout
        running.stdout.readline()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        yield
        running.send_signal(signal.SIGTERM)


def _site(folder: Path, admins_key: Path, ssh_key: Path | None = None) -> LoadedSite:
    (folder / "site").mkdir()
    (folder / "site/admins.toml").write_text(f'[admins.alice]\nssh_keys = ["{_public(admins_key)}"]\n')
    named = f'ssh_key = "{ssh_key}"\n' if ssh_key else ""
    host = '[hosts.web-1]\nrole = "base"\nplan = "p"\nregion = "ams"\n'
    (folder / "site.toml").write_text(f'[site]\nname = "site"\ndomain = "example.org"\n{named}{host}')
    return load_site(folder / "site.toml")


def _refused(site: LoadedSite) -> str:
    with pytest.raises(InputError) as caught:
        check_login(site)
    assert (caught.value.file, caught.value.field) == (str(site.path), "site.ssh_key")
    return str(caught.value)


def test_a_declared_key_of_the_admin_will_do(tmp_path: Path) -> None:
    key = _key(tmp_path / "key")
    check_login(_site(tmp_path, key, key))


def test_a_declared_key_of_nobody_is_refused(tmp_path: Path) -> None:
    site = _site(tmp_path, _key(tmp_path / "key"), _key(tmp_path / "other"))
    assert "other is none of the ssh_keys of 'alice'" in _refused(site)


def test_a_declared_key_with_a_passphrase_belongs_in_the_agent(tmp_path: Path) -> None:
    key = _key(tmp_path / "key", "open sesame")
    said = _refused(_site(tmp_path, key, key))
    assert "has a passphrase" in said
    assert f"ssh-add {key}" in said


@pytest.mark.parametrize("content", [None, "", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"])
def test_a_declared_key_that_cannot_be_loaded_is_refused(tmp_path: Path, content: str | None) -> None:
    broken = tmp_path / "broken"
    if content is not None:
        broken.write_text(content)
    assert f"{broken} cannot be loaded" in _refused(_site(tmp_path, _key(tmp_path / "key"), broken))


def test_without_any_key_nothing_is_bought(tmp_path: Path) -> None:
    assert "no key to log in with" in _refused(_site(tmp_path, _key(tmp_path / "key")))


def test_a_dead_agent_is_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "nobody"))
    assert "no key to log in with" in _refused(_site(tmp_path, _key(tmp_path / "key")))


def test_the_key_in_ssh_will_do_unless_it_has_a_passphrase(tmp_path: Path, home: Path) -> None:
    key = _key(home / ".ssh/id_ed25519")
    site = _site(tmp_path, key)
    check_login(site)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "open sesame", "-f", key], check=True)
    assert "no key to log in with" in _refused(site)


@pytest.mark.usefixtures("agent")
def test_a_key_of_the_agent_will_do_beside_a_locked_file(tmp_path: Path, home: Path) -> None:
    _key(home / ".ssh/id_ed25519", "open sesame")
    key = _key(tmp_path / "key")
    site = _site(tmp_path, key)
    subprocess.run(["ssh-add", "-q", _key(tmp_path / "other")], check=True)
    assert "ssh-agent and ~/.ssh/id_ed25519 hold is none of the ssh_keys" in _refused(site)
    subprocess.run(["ssh-add", "-q", key], check=True)
    check_login(site)


@pytest.mark.parametrize("value", ["S3CRET\n", "S3 CRET", "S3CRET\u00e9", " S3CRET"])
def test_an_api_key_that_cannot_be_sent_is_refused_and_not_shown(tmp_path: Path, home: Path, value: str) -> None:
    key = _key(home / ".ssh/id_ed25519")
    site = _site(tmp_path, key)
    Secrets.create(tmp_path / "site/secrets.age", {"alice": [_public(key)]}, {"vultr_api_key": value})
    with pytest.raises(InputError) as caught:
        client(load_site(site.path))
    assert (caught.value.file, caught.value.field) == (str(tmp_path / "site/secrets.age"), "vultr_api_key")
    assert "S3" not in str(caught.value)


def _let_nobody_in(connection: socket.socket) -> None:
    transport = paramiko.Transport(connection)
    transport.add_server_key(paramiko.Ed25519Key(file_obj=io.StringIO(HOST_KEY.private)))
    transport.start_server(threading.Event(), paramiko.ServerInterface())


@contextmanager
def _answering(answer: Callable[[socket.socket], None]) -> Iterator[list[str]]:
    """The address of each attempt to log in anywhere; all lead to a server here that treats a connection so."""
    made: list[str] = []
    connect = paramiko.SSHClient.connect

    def here(self: paramiko.SSHClient, address: str, **options: Any) -> None:
        made.append(address)
        connect(self, "127.0.0.1", listener.getsockname()[1], **options)

    def serve() -> None:
        with suppress(OSError):
            while True:
                answer(listener.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.MonkeyPatch.context() as patch:
        patch.setattr(paramiko.SSHClient, "connect", here)
        serving = threading.Thread(target=serve)
        serving.start()
        yield made
        listener.shutdown(socket.SHUT_RDWR)
        serving.join()


@pytest.fixture
def attempts() -> Iterator[list[str]]:
    """The address of each attempt to log in, at an SSH server that lets nobody in."""
    with _answering(_let_nobody_in) as made:
        yield made


def _wait(key: Path | None) -> str:
    with pytest.raises(ContactError) as caught:
        wait_for("web-1", "10.0.0.1", Login("alice", key), [HOST_KEY.public], lambda _: None, 0.5)
    return str(caught.value)


def test_no_key_to_offer_ends_the_wait(attempts: list[str]) -> None:
    assert "there is no key to offer" in _wait(None)
    assert len(attempts) == 1


@pytest.mark.parametrize("named", [True, False])
def test_a_key_with_a_passphrase_ends_the_wait(home: Path, attempts: list[str], named: bool) -> None:
    key = _key(home / ".ssh/id_ed25519", "open sesame")
    assert "there is no key to offer" in _wait(key if named else None)
    assert len(attempts) == 1


@pytest.mark.usefixtures("attempts")
def test_a_refused_key_may_be_let_in_later(home: Path) -> None:
    assert "no login after" in _wait(_key(home / "key"))


@pytest.mark.usefixtures("agent", "attempts")
def test_a_refused_key_of_the_agent_may_be_let_in_later_beside_a_locked_file(home: Path) -> None:
    _key(home / ".ssh/id_ed25519", "open sesame")
    subprocess.run(["ssh-add", "-q", _key(home / "key")], check=True)
    assert "no login after" in _wait(None)


def test_a_broken_connection_prints_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("paramiko").setLevel(logging.NOTSET)
    with _answering(lambda connection: connection.close()) as attempts:
        assert "no login after" in _wait(None)
    assert attempts
    assert caplog.records == []
