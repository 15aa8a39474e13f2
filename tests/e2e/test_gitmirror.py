"""A mirror of a real Gerrit, as a deploy puts it into service: what its clients get, and when its source is ill."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

from cloud.converge import REPOSITORY, converge
from inventories import trusted
from inventories.inventory import load_site
from roles.gerrit.tools.rest import connected
from tests.gerrit_site import HOST as GERRIT
from tests.gerrit_site import NAME as SOURCE
from tests.mirror_site import HOST, MOUNT, NAME, mirror_site
from tests.saved_site import Saved
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.full, pytest.mark.timeout(1200)]
SITE = "/srv/gerrit/site"
PROJECTS = ("manifest", "platform/build", "device/maker/one")
MANIFEST = """<manifest>
  <remote name="own" fetch=".."/>
  <default remote="own" revision="master"/>
  <project name="platform/build"/>
  <project name="device/maker/one" groups="device-one"/>
</manifest>
"""
NAMES = ((HOST, NAME), (GERRIT, SOURCE))
RUN = "systemctl start mainstay-gitmirror.service"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    """With repositories in its Gerrit, of which the mirror has all. Only tests begin runs."""
    for made in mirror_site(tmp_path_factory.mktemp("gitmirror")):
        made.root(HOST, "systemctl stop mainstay-gitmirror.timer")
        with connected(load_site(made.inventory)) as server:
            for name in PROJECTS:
                url = f"{server.url}/a/projects/{quote(name, safe='')}"
                wanted = {"create_empty_commit": True, "branches": ["master"]}
                done = requests.put(url, json=wanted, auth=(server.user, server.token), timeout=60)
                assert done.status_code == 201, done.text
        commit(made, "manifest", "default.xml", MANIFEST)
        made.root(HOST, RUN)
        yield made


def commit(site: Saved, project: str, path: str, content: str) -> str:
    """One more on top of a project's branch, in Gerrit's own repository; its id."""
    lines = ["commit refs/heads/master", "committer S <s@example.org> 1800000000 +0000", "data 1", "x"]
    lines += ["from refs/heads/master^0", f"M 100644 inline {path}", f"data {len(content.encode())}", content, ""]
    stream = shlex.quote("\n".join(lines))
    here = f"git --git-dir={SITE}/git/{project}.git"
    script = f"printf %s {stream} | {here} fast-import --quiet && {here} rev-parse master"
    return site.root(GERRIT, f"runuser -u gerrit -- sh -ec {shlex.quote(script)}")


def grow(site: Saved, project: str) -> str:
    """A commit with 8 MB that no pack makes smaller."""
    head = "commit refs/heads/master\\ncommitter S <s@example.org> 1800000000 +0000\\ndata 1\\nx"
    head += "\\nfrom refs/heads/master^0\\nM 100644 inline big\\ndata 8000000\\n"
    here = f"git --git-dir={SITE}/git/{project}.git"
    stream = f"{{ printf '{head}'; head -c 8000000 /dev/urandom; echo; }}"
    return site.root(GERRIT, f"{stream} | runuser -u gerrit -- {here} fast-import --quiet; {here} rev-parse master")


def status(site: Saved) -> dict[str, object]:
    told: dict[str, object] = json.loads(site.root(HOST, "cat /var/lib/gitmirror/status.json"))
    return told


def client(site: Saved, folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """A command of somebody who knows the site's names and trusts its certificates, in a folder."""
    loaded = load_site(site.inventory)
    hosts = folder / "hosts"
    hosts.write_text("".join(f"{loaded.lock.hosts[host].ipv4} {name}\n" for host, name in NAMES))
    environment = os.environ | {
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_SSL_CAINFO": str(loaded.files / trusted.ROOTS),
        "GIT_TERMINAL_PROMPT": "0",
        "XDG_STATE_HOME": str(folder / "state"),
    }
    within = f"mount --bind {hosts} /etc/hosts && exec {shlex.join(words)}"
    line = ["unshare", "--mount", "sh", "-ec", within]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def git(site: Saved, folder: Path, *words: str) -> str:
    done = client(site, folder, "git", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_its_suite_passes_and_a_second_deploy_changes_nothing(site: Saved) -> None:
    site.root(HOST, "systemctl start mainstay-gitmirror.timer")
    again = converge(site.inventory, "gitmirror")
    assert (again.code, again.changed) == (0, ()), again.output
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "tests/roles/test_gitmirror.py"]
    words += ["--inventory", str(site.inventory)]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout
    site.root(HOST, "systemctl stop mainstay-gitmirror.timer")


def test_what_gerrit_lists_is_cloned_from_the_mirror_also_in_parts(site: Saved, tmp_path: Path) -> None:
    newest = commit(site, "platform/build", "Makefile", "all:\n")
    site.root(HOST, RUN)
    found = site.root(HOST, f"cd {MOUNT}/public; find . -name '*.git' -prune | sort").split()
    assert found == sorted(f"./{name}.git" for name in PROJECTS)
    git(site, tmp_path, "clone", "-q", f"https://{NAME}/platform/build", "whole")
    assert git(site, tmp_path, "-C", "whole", "rev-parse", "HEAD") == newest
    git(site, tmp_path, "clone", "-q", "--bare", "--filter=blob:none", f"https://{NAME}/platform/build.git", "part")
    kept = git(site, tmp_path, "-C", "part", "rev-list", "--objects", "--all", "--missing=print").splitlines()
    assert any(line.startswith("?") for line in kept)
    pushed = client(site, tmp_path, "git", "-C", "whole", "push", "origin", "HEAD:refs/heads/mine")
    assert pushed.returncode
    assert "403" in pushed.stderr


def test_its_audit_is_clean_and_names_a_repository_that_lags(site: Saved, tmp_path: Path) -> None:
    def audit() -> "subprocess.CompletedProcess[str]":
        words = ("--manifest", f"https://{SOURCE}/manifest", "--mirror", f"https://{NAME}")
        authority = str(load_site(site.inventory).files / trusted.ROOTS)
        program = str(REPOSITORY / "bin/mainstay")
        return client(site, tmp_path, program, "gerrit", "audit", *words, "--authority", authority)

    site.root(HOST, RUN)
    clean = audit()
    assert (clean.returncode, "clean: 2 projects of 1 manifest" in clean.stdout) == (0, True), clean.stdout
    commit(site, "device/maker/one", "new", "not fetched yet\n")
    behind = audit()
    assert behind.returncode == 51
    assert "device/maker/one" in behind.stdout
    assert "mirror behind" in behind.stdout
    assert "platform/build" not in behind.stdout
    site.root(HOST, RUN)
    assert audit().returncode == 0


def test_what_was_rewritten_is_had_by_its_id_and_nobody_is_told_of_it(site: Saved, tmp_path: Path) -> None:
    lost = commit(site, "platform/build", "lost", "lost\n")
    site.root(HOST, RUN)
    repository = f"{SITE}/git/platform/build.git"
    site.root(GERRIT, f"runuser -u gerrit -- git --git-dir={repository} update-ref refs/heads/master master^")
    site.root(HOST, RUN)
    url = f"https://{NAME}/platform/build"
    assert lost not in git(site, tmp_path, "ls-remote", url)
    git(site, tmp_path, "init", "-q", "late")
    git(site, tmp_path, "-C", "late", "fetch", "-q", "--depth=1", url, lost)
    assert git(site, tmp_path, "-C", "late", "cat-file", "-t", lost) == "commit"


def test_one_that_is_broken_at_the_source_stops_no_other_and_the_unit_fails_with_it(site: Saved) -> None:
    lost = commit(site, "platform/build", "lost", "object\n")
    blob = f"{SITE}/git/platform/build.git/refs/heads/master"
    site.root(GERRIT, f"printf '%s\\n' {'1' * 40} >{blob}")
    newest = commit(site, "device/maker/one", "another", "file\n")
    before = site.root(HOST, f"git -c safe.directory='*' --git-dir={MOUNT}/public/platform/build.git rev-parse master")
    try:
        done = site.ssh(HOST, RUN)
        assert done.returncode == 1
        assert [*status(site)["failed"]] == ["platform/build"], status(site)  # type: ignore[misc]
        assert "FAILED platform/build: " in site.root(HOST, "journalctl -u mainstay-gitmirror -n 20 --no-pager")
        here = f"git -c safe.directory='*' --git-dir={MOUNT}/public"
        assert site.root(HOST, f"{here}/device/maker/one.git rev-parse master") == newest
        assert site.root(HOST, f"{here}/platform/build.git rev-parse master") == before
        for _ in range(2):
            site.ssh(HOST, RUN)
        mails = "systemctl show 'mainstay-failed@mainstay-gitmirror.service.service' -p Result --value"
        assert site.root(HOST, mails) == "start-limit-hit"
        told = site.root(HOST, "cat /var/lib/prometheus/node-exporter/mainstay-gitmirror.prom")
        assert "mainstay_gitmirror_failed 1\n" in told
    finally:
        site.root(GERRIT, f"printf '%s\\n' {lost} >{blob}")
    site.root(HOST, RUN)
    assert status(site)["failed"] == {}


def test_killed_while_it_fetches_it_leaves_nobody_at_work_and_clients_notice_nothing(
    site: Saved, tmp_path: Path
) -> None:
    url = f"https://{NAME}/platform/build"
    site.root(HOST, RUN)
    before = git(site, tmp_path, "ls-remote", url, "HEAD").split()[0]
    newest = grow(site, "platform/build")
    site.limit_link(HOST, 4)
    try:
        site.root(HOST, f"{RUN} --no-block")
        at_work = "pgrep -u gitmirror git-remote"
        until("it is fetching", lambda: site.ssh(HOST, at_work).returncode == 0)
        git(site, tmp_path, "clone", "-q", url, "meanwhile")
        site.root(HOST, "systemctl kill -s KILL mainstay-gitmirror.service")
        until("nobody is left", lambda: site.ssh(HOST, "pgrep -u gitmirror").returncode == 1)
        git(site, tmp_path, "clone", "-q", url, "killed")
    finally:
        site.limit_link(HOST, 1000)
    for copy in ("meanwhile", "killed"):
        assert git(site, tmp_path, "-C", copy, "rev-parse", "HEAD") == before
    site.root(HOST, RUN)
    assert git(site, tmp_path, "ls-remote", url, "HEAD").split()[0] == newest


def test_a_gerrit_that_is_down_takes_nothing_from_the_mirror(site: Saved, tmp_path: Path) -> None:
    site.root(GERRIT, "systemctl stop nginx")
    try:
        assert site.ssh(HOST, RUN).returncode == 1
        assert "is not reached: ConnectionRefusedError" in str(status(site)["problem"])
        git(site, tmp_path, "clone", "-q", f"https://{NAME}/platform/build", "whole")
    finally:
        site.root(GERRIT, "systemctl start nginx")
    site.root(HOST, RUN)
