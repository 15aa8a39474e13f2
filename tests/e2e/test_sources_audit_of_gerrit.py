"""The audit of sources on a real Gerrit, over TLS, as somebody who has no account there: JGit is not git."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from cloud.converge import REPOSITORY
from inventories import trusted
from inventories.inventory import LoadedSite, load_site
from roles.gerrit import secure
from roles.gerrit.tools.rest import connected
from tests.gerrit_site import HOST, NAME, gerrit_site
from tests.git_server import POINTER, WHO
from tests.saved_site import Saved
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
MANIFEST = """<manifest>
  <remote name="own" fetch=".."/>
  <default remote="own" revision="main"/>
  {projects}
</manifest>
"""


@dataclass
class Review:
    """A Gerrit, asked by its name over TLS; folder: where clones lie."""

    gerrit: Saved
    folder: Path

    @property
    def authority(self) -> Path:
        """What its certificate is of."""
        return self.site.files / trusted.ROOTS

    def here(self, *words: str | Path) -> "subprocess.CompletedProcess[str]":
        """A command of this machine, to which the lab's name server answers."""
        (self.folder / "resolv.conf").write_text(f"nameserver {self.gerrit.lab.gateway4}\n")
        script = 'mount --bind "$0/resolv.conf" /etc/resolv.conf; exec "$@"'
        line = ["unshare", "--mount", "sh", "-ec", script, self.folder, *words]
        own = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "GIT_CONFIG_NOSYSTEM": "1"}
        own |= {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_SSL_CAINFO": str(self.authority)}
        return subprocess.run(line, env=own, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    def git(self, name: str, *words: str) -> str:
        done = self.here("git", *WHO, "-C", self.folder / name, *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    @property
    def site(self) -> LoadedSite:
        return load_site(self.gerrit.inventory)

    def rest(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """As its administrator."""
        with connected(self.site) as server:
            url, who = f"{server.url}/a/{path}", (server.user, server.token)
            answer = requests.request(method, url, json=body or None, auth=who, timeout=60)
        assert answer.ok, answer.text
        return json.loads(answer.text.removeprefix(")]}'\n"))

    def answers(self) -> bool:
        return self.gerrit.ssh(HOST, "curl -sf http://127.0.0.1:8081/config/server/version").returncode == 0

    def settle_in(self) -> None:
        """Its administrator may push what it likes."""
        allowed = {"rules": {"Administrators": {"action": "ALLOW"}}}
        rights = ("push", "create", "createTag", "forgeAuthor", "forgeCommitter")
        refs = {"permissions": dict.fromkeys(rights, allowed)}
        self.rest("POST", "projects/All-Projects/access", {"add": {"refs/heads/*": refs, "refs/tags/*": refs}})

    def make(self, name: str, files: dict[str, str]) -> str:
        """A project with a commit; returns that."""
        self.rest("PUT", f"projects/{name.replace('/', '%2F')}", {"branches": ["main"], "create_empty_commit": True})
        (self.folder / name).mkdir(parents=True)
        token = quote(secure.token(self.site).get_secret_value(), safe="")
        self.git(name, "clone", "-q", f"https://{secure.ACCOUNT}:{token}@{NAME}/a/{name}", ".")
        return self.push(name, files)

    def push(self, name: str, files: dict[str, str]) -> str:
        for path, content in files.items():
            (self.folder / name / path).write_text(content)
        self.git(name, "add", "-A")
        self.git(name, "commit", "-q", "-m", "more")
        self.git(name, "push", "-q", "origin", "HEAD:refs/heads/main")
        return self.git(name, "rev-parse", "HEAD")

    def audit(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Exit code, and what was found."""
        line = [str(REPOSITORY / "bin/mainstay"), "gerrit", "audit", "--manifest", f"https://{NAME}/platform/manifest"]
        done = self.here(*line, "--authority", self.authority, "--json", *words)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def review(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Review]:
    for gerrit in gerrit_site(tmp_path_factory.mktemp("gerrit")):
        made = Review(gerrit, tmp_path_factory.mktemp("clones"))
        until("Gerrit answers", made.answers, timeout_s=120)
        made.settle_in()
        yield made


def test_an_audit_finds_all_of_a_whole_gerrit_and_each_thing_that_is_not(review: Review) -> None:
    older = review.make("device/maker/one", {"a": "b\n", "large": "x" * 5000})
    review.push("device/maker/one", {"a": "c\n"})
    review.make("platform/build", {"a": "b\n"})
    review.git("platform/build", "tag", "-a", "-m", "signed", "v1")
    review.git("platform/build", "push", "-q", "origin", "refs/tags/v1")
    for name in ("going", "hidden"):
        review.make(name, {"a": f"{name}\n"})
    whole = f"""
      <project name="platform/build"/>
      <project name="platform/build" path="tagged" revision="refs/tags/v1"/>
      <project name="device/maker/one" groups="device-one"/>
      <project name="device/maker/one" path="older" revision="{older}"/>
      <project name="going"/>
      <project name="hidden" groups="device-one"/>"""
    review.make("platform/manifest", {"default.xml": MANIFEST.format(projects=whole)})
    code, told = review.audit("--deep")
    assert (code, told["findings"]) == (0, [])
    [all_of_it] = told["manifests"]
    assert (all_of_it["projects"], all_of_it["repositories"], all_of_it["lfs_files"]) == (6, 4, 0)

    administrators = review.rest("GET", "groups/Administrators", {})["id"]
    alone = {"read": {"exclusive": True, "rules": {administrators: {"action": "ALLOW"}}}}
    added = {ref: {"permissions": alone} for ref in ("refs/*", "refs/heads/*")}
    review.rest("POST", "projects/hidden/access", {"add": added})
    review.gerrit.root(HOST, "mv /srv/gerrit/site/git/going.git /srv/gerrit/gone; systemctl restart gerrit")
    pointer = POINTER.format(oid=sha256(b"lost").hexdigest(), size=4)
    review.make("large/files", {".gitattributes": "*.bin filter=lfs -text\n", "a.bin": pointer})
    broken = f"""{whole}
      <project name="platform/build" path="branch" revision="none"/>
      <project name="platform/build" path="commit" revision="{"0123456789" * 4}"/>
      <project name="large/files"/>"""
    review.push("platform/manifest", {"default.xml": MANIFEST.format(projects=broken)})
    code, told = review.audit()
    assert code == 51
    [hidden] = [one for one in told["findings"] if one["path"] == "hidden"]
    assert hidden["found"] == "no refs/heads/main, nor HEAD: may anybody see its branches?"
    assert {(one["path"], one["kind"], *one["devices"]) for one in told["findings"]} == {
        ("going", "not anonymous"),
        ("hidden", "missing revision", "one"),
        ("branch", "missing revision"),
        ("commit", "missing revision"),
        ("large/files", "lfs no answer"),
    }
