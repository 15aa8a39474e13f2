"""Each damage that is planted on real git and LFS servers is found and named; a whole tree raises no alarm."""

import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from roles.gerrit.tools.sources import ask, deep
from roles.gerrit.tools.sources import audit as audit_module
from roles.gerrit.tools.sources.audit import Scope, Verdict, audit
from roles.gerrit.tools.sources.findings import Finding, Kind
from roles.gerrit.tools.sources.git import Place
from roles.gerrit.tools.sources.manifest import read
from tests.git_server import Forge, forge, git

NOW = datetime(2026, 11, 1, tzinfo=UTC)
LFS = {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"}
HEAD = '<manifest><remote name="own" fetch=".."/><remote name="aosp" fetch="http://127.0.0.1:1/"/>'
HEAD += '<default remote="own" revision="main"/>'


@dataclass
class World:
    """A server and its mirror, with the projects of a manifest."""

    server: Forge
    mirror: Forge
    folder: Path
    projects: str = ""

    def add(self, name: str, files: dict[str, str] | None = None, attributes: str = "") -> str:
        """Makes a project on both; returns its commit."""
        sha = self.server.make(name, files or {"a": "b\n"})
        self.replicate(name)
        self.projects += f'<project name="{name}" {attributes.replace("SHA", sha)}/>\n'
        return sha

    def replicate(self, name: str) -> None:
        shutil.rmtree(self.mirror.folder(name), ignore_errors=True)
        shutil.copytree(self.server.folder(name), self.mirror.folder(name))

    def audit(
        self,
        *,
        files: bool = True,
        record: deep.Record | None = None,
        now: datetime = NOW,
        patience_s: float = 0,
    ) -> Verdict:
        text = f"{HEAD}{self.projects}</manifest>".encode()
        manifest = read(lambda _: text, f"{self.server.url}/platform/manifest")
        scratch = self.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        scope = Scope({"own": self.mirror.url}, Place(scratch), files, patience_s)
        verdict = audit(manifest, scope, record, now)
        assert not [*scratch.iterdir()]
        return verdict

    def one(self) -> Finding:
        [found] = self.audit().findings
        return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    server, mirror = tmp_path / "server", tmp_path / "mirror"
    server.mkdir()
    mirror.mkdir()
    with forge(server) as first, forge(mirror) as second:
        made = World(first, second, tmp_path)
        made.add("platform/build")
        yield made


def all_due() -> deep.Record:
    """Of somebody who read last long ago."""
    return deep.Record(last=1)


def kinds(verdict: Verdict) -> list[tuple[str, str]]:
    return [(one.project, one.kind.word) for one in verdict.findings]


def test_a_whole_tree_raises_no_alarm(world: World) -> None:
    world.add("device/maker/one", LFS | {"a.bin": world.server.store(b"a" * 3000), "b.bin": world.server.store(b"b")})
    world.add("by/id", attributes='revision="SHA"')
    first = world.add("by/tag", attributes='revision="refs/tags/v1"')
    git(world.server.folder("by/tag"), "tag", "-a", "-m", "signed", "v1", first)
    world.replicate("by/tag")
    world.add("by/older-id", attributes='revision="SHA" path="older"')
    world.server.make("by/older-id", {"a": "c\n"})
    world.replicate("by/older-id")
    world.projects += '<project name="elsewhere" remote="aosp"/><!-- <project name="commented/out"/> -->'
    verdict = world.audit(record=all_due())
    assert not verdict.findings
    assert (verdict.projects, verdict.of, verdict.pointers, verdict.exit_code) == (5, 6, 2, 0)
    assert not world.audit(files=False).findings


def test_a_project_that_is_not_there_is_found_with_the_devices_it_hits(world: World) -> None:
    world.add("device/maker/one", attributes='groups="device,device-one"')
    world.add("vendor/one", attributes='groups="device-one,notdefault"')
    shutil.rmtree(world.server.folder("vendor/one"))
    shutil.rmtree(world.server.folder("platform/build"))
    shared, found = world.audit().findings
    assert (found.project, found.kind, found.found[:10]) == ("vendor/one", Kind.MISSING, "status 404")
    assert (found.devices, found.groups) == (("one",), ("device-one", "notdefault"))
    assert (shared.project, shared.devices, shared.hits) == ("platform/build", (), "every device")
    assert "the mirror has" in found.found
    assert "hits one; to do: make it on the server" in str(found)


def test_a_revision_that_is_not_there_is_found(world: World) -> None:
    world.add("a", attributes='revision="gone"')
    world.add("b", attributes=f'revision="{"0123456789" * 4}"')
    sha = world.add("c", attributes='revision="v1"')
    git(world.server.folder("c"), "tag", "v1", sha)
    for files in (True, False):
        a, b, c = world.audit(files=files).findings
        assert [one.kind for one in (a, b, c)] == [Kind.REVISION] * 3
        assert a.found == "no refs/heads/gone"
        assert "not our ref" in b.found
        assert c.found == "a tag of that name: `repo` wants refs/tags/v1"


def test_an_older_commit_of_a_server_that_hands_out_tips_alone_is_found_by_its_branches(world: World) -> None:
    pointer = world.server.store(b"gone")
    world.server.object(pointer.split("sha256:")[1][:64]).unlink()
    world.add("older", LFS | {"a.bin": pointer}, attributes='revision="SHA"')
    world.server.make("older", {"a.bin": "new\n"})
    world.replicate("older")
    world.add("missing", attributes=f'revision="{"0123456789" * 4}"')
    world.server.is_old = world.mirror.is_old = True
    assert kinds(world.audit(files=False)) == [("missing", "missing revision")]
    assert kinds(world.audit()) == [("missing", "missing revision"), ("older", "missing lfs object")]


def test_nobody_is_told_a_password_of_this_machine(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    home = world.folder / "home"
    home.mkdir()
    (home / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (home / ".netrc").chmod(0o600)
    (home / ".gitconfig").write_text('[http]\n\textraHeader = "Authorization: Basic c2VjcmV0"\n')
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("NETRC", raising=False)
    world.add("large/files", LFS | {"a.bin": world.server.store(b"a")})
    world.server.private.add("platform/build")
    assert [one.kind for one in world.audit(record=all_due()).findings] == [Kind.PRIVATE]
    refused = ask.hindrance(f"{world.server.url}/platform/build", "0123456789" * 4, Place(world.folder))
    assert refused
    assert refused.kind is Kind.PRIVATE
    assert world.server.logins == world.mirror.logins == []


def test_a_project_that_wants_a_login_is_found(world: World) -> None:
    world.server.private.add("platform/build")
    found = world.one()
    assert (found.kind, found.found[:10]) == (Kind.PRIVATE, "status 401")


def test_a_mirror_that_is_behind_ahead_other_or_without_it_is_told_apart(world: World) -> None:
    for name in ("ahead", "behind", "forked", "gone", "no-branch", "pinned"):
        world.add(name)
    old = git(world.server.folder("behind"), "rev-parse", "main")
    new = world.server.make("behind", {"a": "new\n"})
    world.mirror.make("ahead", {"a": "only here\n"})
    world.server.make("forked", {"a": "one\n"})
    world.mirror.make("forked", {"a": "other\n"})
    shutil.rmtree(world.mirror.folder("gone"))
    git(world.mirror.folder("no-branch"), "branch", "-m", "main", "other")
    pinned = world.server.make("pinned", {"a": "pinned\n"})
    world.projects = world.projects.replace('name="pinned"', f'name="pinned" revision="{pinned}"')
    verdict = world.audit()
    assert {(one.project, one.kind) for one in verdict.findings} == {
        ("ahead", Kind.MIRROR_AHEAD),
        ("behind", Kind.MIRROR_BEHIND),
        ("forked", Kind.MIRROR_DIFFERS),
        ("gone", Kind.MIRROR_MISSING),
        ("no-branch", Kind.MIRROR_BEHIND),
        ("pinned", Kind.MIRROR_BEHIND),
    }
    [behind] = [one for one in verdict.findings if one.project == "behind"]
    assert (behind.url, behind.found, behind.expected.split(",")[0]) == (f"{world.mirror.url}/behind", old, new)


def test_what_comes_back_or_is_replicated_meanwhile_is_no_finding(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would happen while it waits happens at once."""
    waited = []

    def meanwhile(seconds: float) -> None:
        waited.append(seconds)
        world.mirror.busy = False
        if len(waited) == 2:
            world.replicate("late")

    monkeypatch.setattr(audit_module, "sleep", meanwhile)
    world.add("late")
    world.server.make("late", {"a": "new\n"})
    world.mirror.busy = True
    assert not world.audit(patience_s=600).findings
    assert waited == [600, 600]


def test_lfs_objects_that_are_missing_short_or_other_are_found(world: World) -> None:
    stored = {name: world.server.store(name.encode() * 500) for name in ("gone", "other", "short", "whole")}
    world.add("large/files", LFS | {f"{name}.bin": pointer for name, pointer in stored.items()})
    oids = {name: pointer.split("sha256:")[1][:64] for name, pointer in stored.items()}
    world.server.object(oids["gone"]).unlink()
    world.server.object(oids["short"]).write_bytes(b"cut")
    world.server.object(oids["other"]).write_bytes(b"OTHER" * 500)
    quick = [("gone.bin", Kind.LFS_MISSING), ("short.bin", Kind.LFS_SIZE)]
    for echoes in (False, True):
        world.server.echoes = echoes
        assert [(one.file, one.kind) for one in world.audit().findings] == quick
        verdict = world.audit(record=all_due())
        assert [(one.file, one.kind) for one in verdict.findings] == [*quick, ("other.bin", Kind.LFS_CONTENT)]
    assert verdict.findings[0].expected == f"2000 bytes of {oids['gone']}"
    assert not [line for line in world.server.asked if oids["whole"] in line and not line.startswith("GET /lfs/")]


def test_a_pointer_counts_only_where_a_checkout_asks_for_its_object(world: World) -> None:
    pointer = world.server.store(b"gone")
    world.server.object(pointer.split("sha256:")[1][:64]).unlink()
    world.add("tests", LFS | {"docs/example.txt": pointer})
    assert not world.audit().findings
    world.add("long", {".gitattributes": f"#{'x' * 2000}\n*.bin filter=lfs\n", "a.bin": pointer})
    assert world.one().project == "long"


def test_an_lfs_server_of_another_host_is_not_asked_and_one_of_the_same_is(world: World) -> None:
    pointer = world.server.store(b"content")
    config = "[lfs]\n\turl = {}\n"
    world.add("other", LFS | {"a.bin": pointer, ".lfsconfig": config.format(f"{world.mirror.url}/lfs-of-others")})
    world.add("same", LFS | {"a.bin": pointer, ".lfsconfig": config.format(f"{world.server.url}/same.git/info/lfs")})
    found = world.one()
    assert (found.project, found.kind) == ("other", Kind.UNASKED)
    assert not [line for line in world.mirror.asked if "lfs-of-others" in line]
    assert world.audit().exit_code == 0


def test_objects_that_a_server_lost_are_found(world: World) -> None:
    world.add("lost/tree", {"folder/a": "a\n"})
    bare = world.server.folder("lost/tree")
    _lose(bare, git(bare, "rev-parse", "main:folder"))
    found = world.one()
    assert (found.project, found.kind) == ("lost/tree", Kind.BROKEN)


def test_what_only_reading_all_objects_finds_is_found_within_30_days(world: World) -> None:
    world.add("large", {"large": "x" * 5000})
    bare = world.server.folder("large")
    world.server.make("large", {"large": "y"})
    world.replicate("large")
    _lose(bare, git(bare, "rev-parse", "main~1:large"))
    record = deep.Record()
    assert not world.audit().findings
    found, read = [], 0
    for day in range(30):
        verdict = world.audit(files=False, record=record, now=NOW + timedelta(days=day))
        read += verdict.read
        found.append({(one.project, one.kind) for one in verdict.findings})
    first = found.index({("large", Kind.BROKEN)})
    assert found == [set()] * first + [{("large", Kind.BROKEN)}] * (30 - first)
    assert read >= 2
    assert all(one.read for one in record.readings.values())


def _lose(bare: Path, oid: str) -> None:
    """Takes an object out of a repository."""
    (bare / "objects" / oid[:2] / oid[2:]).unlink()


def test_a_server_that_does_not_answer_is_told_and_the_exit_code_says_so(world: World) -> None:
    world.mirror.busy = True
    verdict = world.audit()
    assert kinds(verdict) == [("platform/build", "no answer")]
    assert verdict.findings[0].url.startswith(world.mirror.url)
    assert verdict.exit_code == 3


def test_a_host_that_is_silent_is_given_up(world: World) -> None:
    for number in range(60):
        world.projects += f'<project name="p{number}"/>'
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    world.mirror.port, world.server.port = port, port
    verdict = world.audit()
    assert len(verdict.findings) == 61
    assert {one.kind for one in verdict.findings} == {Kind.UNREACHABLE}
    assert "did not answer" in verdict.findings[-1].found


def test_one_broken_of_300_leaves_the_rest_judged(world: World) -> None:
    for number in range(299):
        name = f"p{number:03}"
        shutil.copytree(world.server.folder("platform/build"), world.server.folder(name))
        world.replicate(name)
        world.projects += f'<project name="{name}"/>'
    (world.server.folder("p117") / "HEAD").unlink()
    world.mirror.make("p200", {"a": "ahead\n"})
    verdict = world.audit(files=False)
    assert kinds(verdict) == [("p117", "missing project"), ("p200", "mirror ahead")]
    assert verdict.repositories == 300
