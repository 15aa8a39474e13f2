"""A host to try the primitives on as an admin who is not root, and pyinfra run on it as in production."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cloud.converge import REPOSITORY
from tests import bare_host
from tests.bare_host import BareHost

HEADER = """
from pathlib import Path
from pydantic import SecretStr
from roles.common import Account, Unit, accounts, packages, services, tree
TREE = Path({tree!r})
"""


@dataclass(frozen=True)
class Run:
    code: int
    commands: int
    """Remote commands sent."""
    output: str

    @property
    def changed(self) -> list[str]:
        """Operations that changed something, by pyinfra's own table of results."""
        rows = re.findall(r"^    (\S+) +1 +(\S+) +(\S+) +(\S+) *$", self.output, re.MULTILINE)
        return [name for name, success, _, _ in rows if success != "-"]


@dataclass(frozen=True)
class Bench:
    """A host, an inventory of it, and a tree and deploy to be filled."""

    host: BareHost
    folder: Path

    def file(self, path: str, text: str) -> None:
        target = self.folder / f"tree{path}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def run(self, deploy: str, *options: str, kill_at: int = 0) -> Run:
        """pyinfra, as in production; kill_at: it dies (-9) right after that remote command was sent."""
        (self.folder / "tree").mkdir(exist_ok=True)
        (self.folder / "deploy.py").write_text(HEADER.format(tree=str(self.folder / "tree")) + deploy)
        inventory = bare_host.inventory([self.host], self.folder)
        words = [str(inventory), str(self.folder / "deploy.py"), *(options or ("-y",))]
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.killed", str(kill_at), *words],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        last = done.stdout.strip().rpartition("\n")[2]
        return Run(done.returncode, int(last) if last.isdigit() else -1, done.stdout + done.stderr)

    def good(self, deploy: str, *options: str) -> Run:
        run = self.run(deploy, *options)
        assert run.code == 0, run.output
        return run


NGINX = """
packages("install", {"nginx-light": "1.20", "sudo": None})
accounts("people", [Account("alice", groups=("adm",), ssh_keys=("ssh-ed25519 AAAAC3Nz alice",))], absent=["mallory"])
tree("files", TREE, {"word": "one"}, absent=["/etc/nginx/sites-enabled/default"],
     validate={"/etc/nginx/*": "nginx -t"})
services("run", [Unit("nginx.service", files=("/etc/nginx",), reload=True)])
"""
SITE = 'server { listen 8080; return 200 "{{ word }}\\n"; }\n'
ASK = "curl -s http://127.0.0.1:8080/"
