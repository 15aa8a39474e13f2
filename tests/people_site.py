"""A site whose admins come and go, without hosts that would have to be there; real keys, as ssh-keygen makes them."""

import base64
import os
import signal
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest
from typer.testing import CliRunner, Result

from cli import admin, secrets
from inventories.admins import load_admins
from inventories.editing import Plain, apply
from inventories.inventory import LoadedSite, load_site
from inventories.secrets import Secrets, read, write

INVENTORY = """
[site]
name = "site"
domain = "example.org"
[hosts.web-1]
role = "web"
plan = "p"
region = "ams"
[settings.base.mail]
smarthost = "smtp.example.org"
user = "hosts"
secret = "smarthost_password"
sender = "hosts@example.org"
admin = "admins@example.org"
"""
ADMINS = """\
# Who may log in where.

# Alice began all this.
[admins.alice]
full_name = "Alice Example"   # as she wants to be called
ssh_keys = ["{alice}"]

# Bob is on duty in winter.
[admins.bob]
ssh_keys = [
    "{bob}",
]
# He has sudo.
sudo = true
"""
VALUES = {"token": "correct-horse-battery", "smarthost_password": "hunter2"}


def made(folder: Path, name: str, kind: str = "ed25519", *more: str) -> Path:
    """The private key of a new pair; the public one lies beside it."""
    path = folder / name
    words = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", f"{name}@laptop", "-f", str(path), *more]
    subprocess.run(words, check=True)
    return path


def public(private: Path) -> str:
    return private.with_name(f"{private.name}.pub").read_text().strip()


def security_key(folder: Path) -> Path:
    """The public half of a key on a security key, in its real format (PROTOCOL.u2f of OpenSSH)."""
    kind = "sk-ssh-ed25519@openssh.com"
    parts = (kind.encode(), bytes(range(32)), b"ssh:")
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    path = folder / "token.pub"
    path.write_text(f"{kind} {base64.b64encode(blob).decode()} token\n")
    return path


class Place:
    """A site with the admins alice, who runs all of it, and bob; `folder` is theirs, with a key of each."""

    def __init__(self, folder: Path, people: Path) -> None:
        self.people = people
        self.inventory, self.files = folder / "site.toml", folder / "site"
        self.files.mkdir()
        self.inventory.write_text(INVENTORY)
        self.admins.write_text(ADMINS.format(alice=public(people / "alice"), bob=public(people / "bob")))
        write(self.secrets, {})
        self.put(**VALUES)

    @property
    def admins(self) -> Path:
        return self.files / "admins.toml"

    @property
    def secrets(self) -> Path:
        return self.files / "secrets.age"

    @property
    def departed(self) -> Path:
        return self.files / "departed.toml"

    @property
    def site(self) -> LoadedSite:
        return load_site(self.inventory)

    def put(self, *tags: str, **values: str) -> None:
        """Encrypts secrets to whom they are for now."""
        site = self.site
        apply(site.secrets.path, site.secrets.entries, {n: Plain(v, tags) for n, v in values.items()}, site.readers)

    def admin(self, *words: object) -> Result:
        return CliRunner().invoke(admin.app, [str(word) for word in words])

    def run(self, *words: str) -> Result:
        """`mainstay secrets`."""
        return CliRunner().invoke(secrets.app, words)

    def names(self) -> list[str]:
        return [one.name for one in load_admins(self.admins).all()]

    def read_by(self, person: str) -> dict[str, str]:
        """The values that a person's key opens, of those that it should open."""
        opened = Secrets(self.secrets, [self.people / person])
        return {name: opened[name].get_secret_value() for name in opened if opened.readable(name)}

    def content(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.files.iterdir())}


def opened(path: Path, key: Path) -> dict[str, str]:
    """Whatever a private key decrypts of a secrets file, whoever that file says may read it."""
    identity, found = pyrage.ssh.Identity.from_buffer(key.read_bytes()), {}
    for name, entry in read(path).items():
        try:
            found[name] = tomllib.loads(pyrage.decrypt(entry.value.encode(), [identity]).decode())[name]
        except pyrage.DecryptError:
            continue
    return found


def killed(monkeypatch: pytest.MonkeyPatch, module: object, name: str, run: Callable[[], object]) -> None:
    """Runs it in a process that is killed as soon as it comes to call this."""
    pid = os.fork()
    if pid == 0:
        monkeypatch.setattr(module, name, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        run()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
