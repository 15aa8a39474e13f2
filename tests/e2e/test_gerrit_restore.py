"""One repository, and one ref, comes out of a backup into a running Gerrit, and nobody else is touched."""

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloud.converge import REPOSITORY
from roles.gerrit.tools.rest import Request, part
from roles.gerrit.tools.restore import Gerrit, values
from tests.gerrit_client import Pusher, administrator, changes, make_project
from tests.gerrit_site import HOST, gerrit_site
from tests.saved_site import Saved

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]
DATA = f"{HOST}:gerrit"
ORIGINAL, OTHER = "device/some thing", "other"
COPY = f"{ORIGINAL}-restored-{datetime.now(UTC):%Y-%m-%d}"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    yield from gerrit_site(tmp_path_factory.mktemp("gerrit"))


@pytest.fixture(scope="module")
def gerrit(saved: Saved, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gerrit]:
    """With two projects of two changes each, and a backup of them."""
    with administrator(saved) as made:
        for project in (ORIGINAL, OTHER):
            make_project(made, project)
            pusher = Pusher.of(saved, made, project, tmp_path_factory.mktemp("clones") / "clone")
            pusher.clone()
            assert pusher.push()
            pushed = pusher.push()
            assert pushed
            made.git("--git-dir", made.place(project), "update-ref", "refs/heads/dev", pushed.commit)
        saved.must("run", DATA)
        yield made


def restore(saved: Saved, *words: str, code: int = 0) -> str:
    """`mainstay gerrit restore`: all that it says."""
    command = [str(REPOSITORY / "bin/mainstay"), "gerrit", "restore", *words]
    environment = os.environ | saved.environment
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def ref_of(gerrit: Gerrit, kind: str) -> str:
    """A ref of the original's first change."""
    number = min(changes(gerrit, f'project:"{ORIGINAL}"'))
    return f"refs/changes/{number % 100:02}/{number}/{kind}"


def delete(gerrit: Gerrit, ref: str) -> None:
    gerrit.git("--git-dir", gerrit.place(ORIGINAL), "update-ref", "-d", ref)


def test_a_repository_comes_back_under_a_new_name_that_administrators_alone_see(
    saved: Saved, gerrit: Gerrit, tmp_path: Path
) -> None:
    before = {one: values(gerrit, one) for one in (ORIGINAL, OTHER)}
    known = changes(gerrit, "is:open")
    assert f"{COPY} holds" in restore(saved, ORIGINAL)
    assert f"there is a project {COPY} already" in restore(saved, ORIGINAL, code=1)
    found = values(gerrit, COPY)
    for name, value in before[ORIGINAL].items():
        kept = name if name.startswith(("refs/heads/", "refs/tags/")) else name.replace("refs/", "refs/restored/", 1)
        assert found.pop(kept) == value
    assert [*found] == ["refs/meta/config"]
    assert {one: values(gerrit, one) for one in (ORIGINAL, OTHER)} == before
    assert changes(gerrit, "is:open") == known
    pusher = Pusher.of(saved, gerrit, COPY, tmp_path / "clone")
    pusher.clone()
    pusher.git("fetch", "-q", "origin", f"refs/restored/{ref_of(gerrit, 'meta').removeprefix('refs/')}")
    assert pusher.push() is None
    gerrit.server.ask(Request("PUT", "/accounts/bob", {"name": "Bob", "http_password": "the password of bob"}))
    assert not gerrit.server.anybody_sees(f"/projects/{part(COPY)}")
    bob = pusher.url.replace(f"//{gerrit.server.user}:{gerrit.server.token}@", "//bob:the%20password%20of%20bob@")
    for name, code in ((COPY, 128), (ORIGINAL, 0)):
        asked = pusher.git("ls-remote", bob.replace(COPY.replace(" ", "%20"), name.replace(" ", "%20")), check=False)
        assert asked.returncode == code, asked.stderr


def test_one_ref_goes_back_into_the_original_and_gerrit_sees_it(saved: Saved, gerrit: Gerrit) -> None:
    patch_set, meta = ref_of(gerrit, "1"), ref_of(gerrit, "meta")
    number = patch_set.split("/")[3]
    restore(saved, ORIGINAL, "--ref", patch_set, "--ref", meta, "--as", "one-change")
    assert len(values(gerrit, "one-change")) == 3
    before = {one: values(gerrit, one) for one in (ORIGINAL, OTHER)}
    for ref in (patch_set, meta):
        delete(gerrit, ref)
    path = f"/changes/{part(ORIGINAL)}~{number}"
    assert gerrit.server.get(path) is None
    back = ("one-change", "--into", ORIGINAL, "--ref", patch_set, "--ref", meta)
    assert f"{meta} of {ORIGINAL}: none -> " in restore(saved, *back)
    assert {one: values(gerrit, one) for one in (ORIGINAL, OTHER)} == before
    assert gerrit.server.get(path)["status"] == "NEW"
    assert "as it was" in restore(saved, *back)


@pytest.mark.full
def test_what_has_another_value_by_now_is_replaced_only_if_that_is_said(saved: Saved, gerrit: Gerrit) -> None:
    branch, back = "refs/heads/dev", ("branch", "--into", ORIGINAL, "--ref", "refs/heads/dev")
    restore(saved, ORIGINAL, "--ref", branch, "--as", "branch")
    old = values(gerrit, ORIGINAL)
    gerrit.git("--git-dir", gerrit.place(ORIGINAL), "update-ref", branch, old["refs/heads/main"])
    told = restore(saved, *back, code=1)
    assert f"{branch} is {old['refs/heads/main']}: --replace" in told
    assert values(gerrit, ORIGINAL) == old | {branch: old["refs/heads/main"]}
    told = restore(saved, *back, "--ref", "refs/heads/none", "--replace", code=1)
    assert "branch has no refs/heads/none" in told
    assert values(gerrit, ORIGINAL)[branch] == old["refs/heads/main"]
    restore(saved, *back, "--replace")
    assert values(gerrit, ORIGINAL) == old
    assert gerrit.server.get(f"/projects/{part(ORIGINAL)}/branches/dev")["revision"] == old[branch]


@pytest.mark.full
def test_what_the_backup_has_not_or_has_broken_is_told_and_nothing_is_made(saved: Saved, gerrit: Gerrit) -> None:
    assert "has no repository nothing" in restore(saved, "nothing", code=1)
    assert "the backup has no refs/heads/none" in restore(
        saved, ORIGINAL, "--ref", "refs/heads/none", "--as", "a", code=1
    )
    packed = f"'{gerrit.place(OTHER)}/packed-refs'"
    saved.root(HOST, f"cp -a {packed} /root/kept; echo half a li >{packed}")
    told = saved.mainstay("run", DATA)
    saved.root(HOST, f"cp -a /root/kept {packed}")
    assert f"{gerrit.place(OTHER)}: packed-refs: is no list of refs" in told.stdout + told.stderr
    snapshot = json.loads(saved.must("restic", DATA, "snapshots", "--json"))[-1]["id"]
    assert "it was broken when it was saved" in restore(saved, OTHER, "--snapshot", snapshot, "--as", "a", code=1)
    assert not gerrit.exists("a")
    restore(saved, ORIGINAL, "--snapshot", snapshot, "--as", "whole")
