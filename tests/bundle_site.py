"""A clone with the inventory of a site whose hosts no network leads to, and what is done with its bundles."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloud.converge import REPOSITORY
from inventories import secrets
from lab import services
from tests.lab_hosts import keygen

NAME, HOST, ROLE = "off", "off-1", "base"
TOML = f"""\
[site]
name = "{NAME}"
domain = "off.example.org"
connection = "local"

[hosts.{HOST}]
role = "{ROLE}"

[settings.base.mail]
smarthost = "smtp.example.org"
user = "hosts"
secret = "smarthost_password"
sender = "hosts@example.org"
admin = "admins@example.org"
"""
PY = "from inventories.inventory import groups\n\nglobals().update(groups(__file__))\n"
PASSWORD = "drowssap"[::-1] * 3
"""Not as it stands here: the clone has this file."""


@dataclass(frozen=True)
class Clone:
    """A clone of this repository as it lies here, with the site committed; commands run in it as an admin's do."""

    path: Path
    identity: Path
    """The admin's key."""
    cache: Path

    @property
    def files(self) -> Path:
        return self.path / "inventories" / NAME

    @property
    def environment(self) -> dict[str, str]:
        """What the admin has set."""
        return os.environ | {
            "MAINSTAY_INVENTORY": f"inventories/{NAME}.py",
            "MAINSTAY_IDENTITY": str(self.identity),
            "XDG_CACHE_HOME": str(self.cache),
            "http_proxy": services.LOCAL_CACHE_URL,
            "PATH": f"{Path.home()}/.cache/mainstay/uv/bin:{os.environ['PATH']}",
        }

    def mainstay(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """`mainstay bundle WORDS`."""
        return subprocess.run(
            [sys.executable, "-m", "cli.main", "bundle", *words],
            cwd=self.path,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def must(self, *words: str) -> str:
        """Standard output of a command that has to succeed."""
        done = self.mainstay(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def make(self, output: Path) -> dict[str, Any]:
        """A bundle, and what is told of it."""
        told: dict[str, Any] = json.loads(self.must("make", "--for", ROLE, "--output", str(output), "--json"))
        return told

    def git(self, *words: str, when: int = 0) -> None:
        named = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
        dates = {f"GIT_{who}_DATE": f"@{when} +0000" for who in ("AUTHOR", "COMMITTER")}
        environment = os.environ | dates
        done = subprocess.run(["git", *named, *words], cwd=self.path, env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr

    def commit(self, why: str, when: int) -> None:
        """when: Unix seconds."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", why, when=when)


def clone(folder: Path, toml: str = TOML) -> Clone:
    """With the site's files, but neither key nor lock yet. toml: its inventory."""
    listed = subprocess.run(
        ["git", "-C", REPOSITORY, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    made = Clone(folder / "clone", folder / "medium/id_ed25519", folder / "cache")
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file():
            (made.path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, made.path / name)
    made.identity.parent.mkdir()
    keygen(made.identity)
    public = made.identity.with_suffix(".pub").read_text().strip()
    inventories = made.path / "inventories"
    (inventories / f"{NAME}.toml").write_text(toml)
    (inventories / f"{NAME}.py").write_text(PY)
    made.files.mkdir()
    (made.files / "admins.toml").write_text(f'[admins.alice]\nssh_keys = ["{public}"]\n')
    secrets.Secrets.create(made.files / "secrets.age", {"alice": [public]}, {"smarthost_password": PASSWORD})
    made.git("init", "--quiet")
    return made
