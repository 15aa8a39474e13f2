"""Mirrors follow upstream and lose nothing of it, with real git."""

import subprocess
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from backup import mirror as mirrors
from backup.mirror import MirrorError, mirror, mirror_all

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


class Upstream:
    """A repository that is worked on."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.url = folder, f"file://{folder}"
        folder.mkdir()
        self("init", "-q", "-b", "main")
        self("config", "user.name", "A")
        self("config", "user.email", "a@example.org")

    def __call__(self, *words: str) -> str:
        done = subprocess.run(["git", *words], cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self, message: str, *words: str) -> str:
        self("commit", "-q", "--allow-empty", "-m", message, *words)
        return self("rev-parse", "HEAD")


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    made = Upstream(tmp_path / "upstream")
    made.commit("first")
    made("tag", "-a", "v1", "-m", "v1")
    return made


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return tmp_path / "mirrors/it.git"


def refs(folder: Path) -> dict[str, str]:
    words = ["git", "for-each-ref", "--format=%(refname) %(objectname)"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    return dict(line.split(" ") for line in done.stdout.splitlines())


def whole(folder: Path) -> bool:
    return subprocess.run(["git", "fsck", "--strict"], cwd=folder, capture_output=True, check=False).returncode == 0


def test_a_mirror_has_all_branches_and_tags_and_follows(upstream: Upstream, copy: Path) -> None:
    upstream("branch", "side")
    assert mirror(upstream.url, copy, NOW) == "3 of 3 branches and tags changed"
    assert refs(copy) == refs(upstream.folder)
    upstream.commit("second")
    assert mirror(upstream.url, copy, LATER) == "1 of 3 branches and tags changed"
    assert refs(copy) == refs(upstream.folder)
    assert mirror(upstream.url, copy, LATER) == "0 of 3 branches and tags changed"
    assert whole(copy)


def test_what_upstream_deletes_or_rewrites_is_kept(upstream: Upstream, copy: Path) -> None:
    lost = upstream.commit("to be rewritten")
    upstream("branch", "side")
    tag = upstream("rev-parse", "v1")
    mirror(upstream.url, copy, NOW)
    fresh = upstream.commit("rewritten", "--amend")
    upstream("branch", "-D", "side")
    upstream("tag", "-f", "-a", "v1", "-m", "moved")
    mirror(upstream.url, copy, LATER)
    kept = {name: tip for name, tip in refs(copy).items() if name.startswith("refs/kept/")}
    at = "refs/kept/20260301T130000Z"
    assert kept == {f"{at}/heads/main": lost, f"{at}/heads/side": lost, f"{at}/tags/v1": tag}
    assert refs(copy)["refs/heads/main"] == fresh
    upstream.commit("and on")
    mirror(upstream.url, copy, LATER + timedelta(hours=1))
    assert kept.items() <= refs(copy).items()
    subprocess.run(["git", "gc", "-q", "--prune=now"], cwd=copy, check=True)
    assert whole(copy)
    assert subprocess.run(["git", "cat-file", "-e", lost], cwd=copy, check=False).returncode == 0


def test_a_branch_may_become_a_folder_of_branches(upstream: Upstream, copy: Path) -> None:
    upstream("branch", "side")
    mirror(upstream.url, copy, NOW)
    upstream("branch", "-D", "side")
    upstream("branch", "side/one")
    mirror(upstream.url, copy, LATER)
    assert refs(upstream.folder).items() <= refs(copy).items()


def test_the_default_branch_is_upstreams(upstream: Upstream, copy: Path) -> None:
    upstream("checkout", "-q", "-b", "trunk")
    mirror(upstream.url, copy, NOW)
    assert (copy / "HEAD").read_text() == "ref: refs/heads/trunk\n"


def test_an_emptied_upstream_empties_no_mirror(upstream: Upstream, copy: Path) -> None:
    mirror(upstream.url, copy, NOW)
    before = refs(copy)
    upstream("tag", "-d", "v1")
    upstream("update-ref", "-d", "refs/heads/main")
    with pytest.raises(MirrorError, match="no branches and tags any more"):
        mirror(upstream.url, copy, LATER)
    assert refs(copy) == before


@pytest.mark.parametrize("step", range(8))
def test_one_that_was_killed_is_gone_on_with(
    upstream: Upstream, copy: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each call of git, after it."""
    lost = upstream.commit("to be rewritten")
    upstream("branch", "side")
    mirror(upstream.url, copy, NOW)
    upstream.commit("rewritten", "--amend")
    upstream("branch", "-D", "side")
    left, git = [step], mirrors._git

    def dying(folder: Path, *words: str, stdin: str = "") -> str:
        said = git(folder, *words, stdin=stdin)
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return said

    with monkeypatch.context() as patch:
        patch.setattr(mirrors, "_git", dying)
        with pytest.raises(KeyboardInterrupt):
            mirror(upstream.url, copy, LATER)
    assert lost in refs(copy).values()
    mirror(upstream.url, copy, LATER + timedelta(hours=1))
    found = refs(copy)
    assert refs(upstream.folder).items() <= found.items()
    assert {name.split("/", 3)[3] for name, tip in found.items() if tip == lost} == {"heads/main", "heads/side"}
    assert not [name for name in found if name.startswith("refs/incoming/")]


def test_one_that_fails_stops_no_other_and_is_named(upstream: Upstream, tmp_path: Path) -> None:
    said: list[str] = []
    wanted = {"gone": f"file://{tmp_path}/nowhere", "it": upstream.url}
    assert mirror_all(wanted, tmp_path / "mirrors", said.append) == ["gone"]
    assert said[0].startswith("gone: FAILED: git fetch: ")
    assert refs(tmp_path / "mirrors/it.git") == refs(upstream.folder)


def test_upstream_and_this_machine_can_have_nothing_run(
    upstream: Upstream, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = tmp_path / "ran"
    (tmp_path / "home").mkdir()
    (tmp_path / "home/.gitconfig").write_text(f"[core]\n\thooksPath = {tmp_path}/hooks\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    mirror(upstream.url, copy, NOW)
    upstream.commit("second")
    for folder in (copy / "hooks", tmp_path / "hooks"):
        folder.mkdir(exist_ok=True)
        for name in ("reference-transaction", "post-fetch", "pre-auto-gc"):
            (folder / name).write_text(f"#!/bin/sh\ntouch {sign}\n")
            (folder / name).chmod(0o755)
    mirror(upstream.url, copy, LATER)
    assert not sign.exists()
    with pytest.raises(MirrorError, match="not allowed"):
        mirror(f"ext::sh -c touch% {sign}", copy, LATER)
    assert not sign.exists()


def test_nobody_is_asked_for_a_password(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that wants one is a failure."""

    class Refuses(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Refuses) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("GIT_ASKPASS", f"{tmp_path}/asked")
        with pytest.raises(MirrorError, match=r"terminal prompts disabled|Authentication failed|could not read"):
            mirror(f"http://127.0.0.1:{server.server_port}/x.git", copy, NOW)
        server.shutdown()
    assert refs(copy) == {}
