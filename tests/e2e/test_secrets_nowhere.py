"""Every secret of a site, while all that is usual is done on it: in declared files of hosts, and nowhere else."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from backup import custody
from cloud.converge import REPOSITORY
from inventories.editing import Plain
from inventories.inventory import load_site
from tests.people_site import made
from tests.restics import restic
from tests.runbooks.reader import editing
from tests.saved_site import DATA, HOST, HOSTS, PLAN, SET, Saved, saved_site
from tests.shown import Shown, forms, holding, shown

pytestmark = [pytest.mark.lab, pytest.mark.timeout(2400)]
VAULT = "vault-1"
MAIL = "/etc/nullmailer/remotes"
DECLARED = {HOST: {f"/etc/mainstay/backup/{PLAN}.json", MAIL}, VAULT: {"/etc/vault/vault.key", MAIL}}
"""Where a host has secrets: files that root reads, and the service they are for."""
DISK = "/boot /dev/shm /etc /home /opt /root /run /srv /tmp /usr /var"
ROTATED = (SET.secret, "vault_release_1", "vault_control", "vault_admin", "vault_tls_key", "gerrit_token")
WRONG = {
    "vultr_api_key": "WRONGKEYOFTHEPROVIDER",
    SET.secret: "wrong-password-of-the-data",
    "vault_admin": "wrong-login",
}


@dataclass
class Story:
    """What was done, what that said, what the machine showed meanwhile, and every value that a secret had."""

    saved: Saved
    said: list[tuple[str, bytes]] = field(default_factory=list)
    seen: Shown = field(default_factory=set)
    values: set[str] = field(default_factory=set)

    @property
    def home(self) -> Path:
        """Of the admin: also temporary files and what commands remember."""
        return self.saved.folder / "home"

    @property
    def files(self) -> Path:
        """The repository that the site lies in."""
        return self.saved.lab.root / "site"

    def git(self, *words: str) -> bytes:
        who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        return subprocess.run(["git", *who, *words], cwd=self.files, capture_output=True, check=True).stdout

    def run(self, *words: object, fails: bool | None = False) -> None:
        """A command of an admin; then all is committed, as a careless one would. fails None: what it finds decides."""
        own = {"HOME": str(self.home), "TMPDIR": str(self.home / "tmp"), "PYINFRA_PROGRESS": "off", "TERM": "dumb"}
        own |= {"MAINSTAY_INVENTORY": str(self.saved.inventory), "MAINSTAY_RESTIC": restic()}
        own |= {"EDITOR": editing(self.saved.folder, 'cat "$1" >/dev/null'), "COLUMNS": "1000"}
        programs = Path(sys.executable).parent
        command = [str(programs / str(words[0])), *map(str, words[1:])]
        done = subprocess.run(
            command,
            cwd=REPOSITORY,
            env={"PATH": f"{programs}:{os.environ['PATH']}"} | own,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert fails in (None, bool(done.returncode)), f"{command}: {done.returncode}\n{done.stdout.decode()}"
        self.said.append((" ".join(map(str, words)), done.stdout))
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", str(words[0]))

    def remember(self) -> None:
        secrets = load_site(self.saved.inventory).secrets
        self.values |= {secrets[name].get_secret_value() for name in secrets}

    def set(self, values: dict[str, str]) -> dict[str, str]:
        """Gives secrets other values; those that they had."""
        site = load_site(self.saved.inventory)
        before = {name: site.secrets[name].get_secret_value() for name in values if name in site.secrets}
        changes = {
            name: Plain(text, site.secrets.entries[name].tags if name in before else ())
            for name, text in values.items()
        }
        custody.write(site, site.secrets, changes)
        self.remember()
        return before

    def on_host(self, host: str, command: str) -> str:
        """What a command as root prints whose standard input has all forms of all secrets, one a line."""
        patterns = b"\n".join(form for value in self.values for form in forms(value))
        words = ["ssh", "-F", str(self.saved.ssh_config), host, f"sudo -n bash -c {shlex.quote(command)}"]
        done = subprocess.run(words, input=patterns, capture_output=True, check=False)
        assert done.returncode in (0, 1, 2), done.stderr
        return done.stdout.decode()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    for saved in saved_site(tmp_path_factory.mktemp("nowhere")):
        told = Story(saved)
        (told.home / "tmp").mkdir(parents=True)
        prepare(told)
        with shown(told.home / "tmp") as seen:
            told.seen = seen
            usual(told)
            failing(told)
        yield told


def prepare(told: Story) -> None:
    """Hosts send mail by a password; the site's files, but for the key of the lab's admin, are in a repository."""
    toml = told.saved.inventory.with_suffix(".toml")
    document: Any = tomlkit.parse(toml.read_text())
    mail = {"tls": "starttls", "user": "hosts", "secret": "smarthost_password"}
    document["settings"]["base"]["mail"].update(mail)
    toml.write_text(tomlkit.dumps(document))
    told.set({"smarthost_password": "password of the hosts at the smarthost"})
    told.git("init", "-q")
    (told.files / ".gitignore").write_text("id_ed25519\n")
    told.saved.save_first()


def usual(told: Story) -> None:
    inventory, pages = told.saved.inventory, told.saved.folder
    told.run("mainstay", "secrets", "rotate", "--yes", *ROTATED)
    told.remember()
    told.run("pyinfra", inventory, "deploys/site.py", "--dry", "--diff", "-vvv")
    told.run("pyinfra", inventory, "deploys/site.py", "-y", "--diff", "-vvv", "--debug")
    key = made(told.saved.folder, "bob")
    for words in (
        ("admin", "add", "bob", "--key", f"{key}.pub"),
        ("admin", "list"),
        ("secrets", "list"),
        ("secrets", "edit"),
        ("admin", "remove", "bob"),
        ("backup", "run", DATA),
        ("deploys", "--json"),
        ("runbook", "show", "password-lost"),
    ):
        told.run("mainstay", *words)
    for look in (
        ("status", "--json"),
        ("status", "--html", str(pages / "site.html")),
        ("doctor",),
        ("drift", "--json"),
    ):
        told.run("mainstay", *look, fails=None)


def failing(told: Story) -> None:
    """By a file that cannot be written, and by values that nobody accepts."""
    inventory, plan = told.saved.inventory, f"/etc/mainstay/backup/{PLAN}.json"
    before = told.set(WRONG)
    told.saved.root(HOST, f"chattr +i {plan}")
    told.run("pyinfra", inventory, "deploys/release.py", "-y", "--diff", "-vvv", fails=True)
    told.saved.root(HOST, f"chattr -i {plan}")
    told.run("pyinfra", inventory, "deploys/provision.py", "-y", "-vvv", fails=True)
    told.run("mainstay", "backup", "restore", DATA, "--to", told.saved.folder / "back", fails=True)
    told.run("mainstay", "backup", "status", "--html", told.saved.folder / "backups.html", fails=None)
    told.set({"vault_admin": before["vault_admin"]})
    told.run("mainstay", "backup", "verify", DATA, fails=True)
    told.set(before)


def test_nothing_that_is_said_holds_a_secret(story: Story) -> None:
    assert holding(story.values, story.said) == []


def test_no_process_and_no_temporary_file_shows_a_secret(story: Story) -> None:
    assert len(story.seen) > 100
    assert holding(story.values, story.seen) == []


def test_on_hosts_secrets_are_in_declared_files_and_in_no_journal(story: Story) -> None:
    for host in HOSTS:
        found = {*story.on_host(host, f"grep -rlaFs -f - {DISK}").split()}
        assert found == DECLARED[host], host
        for path in found:
            mode, owner = story.saved.root(host, f"stat -c '%a %U' {path}").split()
            assert (int(mode, 8) & 0o37, owner) == (0, "root"), f"{host}: {path}"
        assert story.on_host(host, "grep -aF -f - <(journalctl -q --no-pager -o export)") == "", host


def test_neither_the_repository_nor_pages_hold_a_secret(story: Story) -> None:
    objects = story.git("cat-file", "--batch-all-objects", "--batch", "--unordered")
    assert b"secrets.age" in objects
    places = [("git", objects)]
    for folder in (story.home, story.saved.folder, story.files):
        places += [(str(path), path.read_bytes()) for path in folder.rglob("*") if path.is_file()]
    assert {"site.html", "backups.html"} <= {Path(place).name for place, _ in places}
    assert holding(story.values, places) == []
    assert b'"sources"' in dict(story.said)["mainstay status --json"]
