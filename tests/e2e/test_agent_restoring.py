"""Restores on hosts that do nothing else: what is refused, named paths, servers that go away, S3."""

import grp
import json
import os
import pwd
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from backup.certificate import new_key, self_signed
from backup.restic import Restic
from backup.restic_process import Repository, given
from backup.restic_s3 import s3_credentials, s3_environment
from lab import storage
from lab.s3 import S3
from tests.agents import PASSWORD, Agent
from tests.rest_server import Gate, rest_server
from tests.restics import restic
from tests.waiting import listens, until

MB = 1_000_000
FILES = 6


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(tmp_path / "agent")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    root.mkdir()
    (root / "file").write_text("a file")
    return root


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def test_what_can_only_restore_saves_and_verifies_nothing(agent: Agent, source: Path, tmp_path: Path) -> None:
    agent.plan(source, may="restore")
    for command in ("run", "verify"):
        assert f"data: {command}: this plan can only restore" in agent(command, "data", code=2)
    assert not agent.state.exists()
    assert not agent.repository.exists()
    agent.plan(source)
    agent("run", "data")
    saved = agent.last.snapshot
    # The other host's ledger is not on this one.
    elsewhere = replace(agent, folder=tmp_path / "elsewhere")
    elsewhere.plan(source, url=str(agent.repository), may="restore")
    elsewhere("restore", "data", "--to", str(tmp_path / "back"))
    assert (elsewhere.last.kind, elsewhere.last.snapshot) == ("restore", saved)
    assert files(tmp_path / "back") == {"file"}
    assert "data: restores only, saves nothing; last restore ok" in elsewhere("status")
    assert not json.loads(elsewhere("status", "--json"))[0]["late"]


def test_two_that_claim_to_be_copies_of_one_and_differ_are_not_chosen_from(
    agent: Agent, source: Path, tmp_path: Path
) -> None:
    (source / "other").write_text("another file")
    agent.plan(source)
    agent("run", "data")
    saved = agent.last.snapshot
    with given(agent.restic.repository) as (environment, held, options):

        def run(*words: str) -> None:
            subprocess.run([restic(), *options, *words], env=environment, pass_fds=held, check=True)

        run("rewrite", "--exclude", "other", saved)
        run("tag", "--add", "copied", saved)
    assert saved not in {one.id for one in agent.restic.snapshots()}
    assert {one.original for one in agent.restic.snapshots()} == {saved}
    # Neither the ledger nor what restic keeps of its own is on the other host.
    elsewhere = replace(agent, folder=tmp_path / "elsewhere")
    elsewhere.plan(source, url=str(agent.repository), may="restore")
    target = tmp_path / "back"
    for named in (saved, saved[:8]):
        said = elsewhere("restore", "data", "--to", str(target), "--snapshot", named, code=1)
        assert f"2 snapshots in the repository are {named}" in said
        assert not files(target)


AWKWARD = (
    "a*",
    "[a-z]",
    "back\\slash",
    "quest?on",
    "$HOME",
    "${PATH}",
    "#comment",
    " blank ",
    "!no",
    "caf\udce9",
    "tab\t",
)


def test_paths_are_taken_exactly_however_many_there_are(agent: Agent, source: Path, tmp_path: Path) -> None:
    many = [f"folder/{number:04}" for number in range(3000)]
    (source / "folder").mkdir()
    for name in (*AWKWARD, *many, "ab", "b", "backXslash"):
        (source / name).write_text("x")
    agent.plan(source)
    agent("run", "data")
    listed = tmp_path / "listed"
    listed.write_bytes(os.fsencode("\n".join((*AWKWARD, *many[::2]))))
    agent("restore", "data", "--to", str(tmp_path / "a"), "--include-from", str(listed))
    assert files(tmp_path / "a") == {*AWKWARD, *many[::2]}
    words = agent.words("restore", "data", "--to", str(tmp_path / "b"), "--include-from", "-")
    subprocess.run(words, env=agent.environment, input=f"{source}/folder\n".encode(), check=True)
    assert files(tmp_path / "b") == {*many}
    listed.write_text("file\nfolder/x*\n/missing\n")
    said = agent("restore", "data", "--to", str(tmp_path / "c"), "--include-from", str(listed), code=1)
    assert "holds nothing at /folder/x*, /missing" in said
    listed.write_text("")
    assert "names nothing" in agent("restore", "data", "--to", str(tmp_path / "d"), "--include-from", "-", code=2)
    listed.write_text("file\n\n")
    assert "must be a path below" in agent(
        "restore", "data", "--to", str(tmp_path / "d"), "--include-from", str(listed), code=2
    )


@dataclass
class Served:
    """A repository of some packs, and the server before it."""

    agent: Agent
    gate: Gate
    source: Path
    snapshot: str
    folder: Path
    """What the server serves."""

    def plan(self, gate: Gate) -> None:
        self.agent.plan(self.source, url=f"rest:http://127.0.0.1:{gate.port}/alice/web/", may="restore")

    def a_pack(self) -> str:
        """The one that was written last."""
        packs = [path for path in (self.folder / "alice/web/data").rglob("*") if path.is_file()]
        return max((one for one in packs if one.stat().st_size > MB), key=lambda one: one.stat().st_mtime).name


@pytest.fixture
def served(agent: Agent, source: Path, tmp_path: Path) -> Iterator[Served]:
    for number in range(FILES):
        (source / f"large-{number}").write_bytes(os.urandom(20 * MB))
    folder = tmp_path / "served"
    with rest_server(folder) as gate:
        agent.plan(source, url=f"rest:http://127.0.0.1:{gate.port}/alice/web/")
        agent("run", "data")
        made = Served(agent, gate, source, agent.last.snapshot, folder)
        made.plan(gate)
        yield made


def whole(source: Path, back: Path) -> list[str]:
    """The files that came back whole."""
    names = [f"large-{number}" for number in range(FILES)]
    return [one for one in names if (back / one).exists() and (back / one).read_bytes() == (source / one).read_bytes()]


@pytest.mark.timeout(1200)
def test_a_restore_whose_server_is_killed_ends_soon_and_goes_on_with_what_is_there(
    served: Served, tmp_path: Path
) -> None:
    agent, back = served.agent, tmp_path / "back"
    killed = Event()

    def kill() -> None:
        if not killed.is_set():
            until("some files are there", lambda: whole(served.source, back))
            os.kill(served.gate.server, signal.SIGKILL)
            killed.set()

    served.gate.held[f"GET /alice/web/data/{served.a_pack()}".encode()] = kill
    words = ["restore", "data", "--to", str(back), "--give-up", "1"]
    said = agent(*words, code=1)
    assert killed.is_set()
    assert "given up: nothing was restored for 1 s, and the vault does not answer" in said
    assert (agent.last.outcome, agent.last.snapshot) == ("failed", served.snapshot)
    there = whole(served.source, back)
    assert 0 < len(there) < FILES
    with rest_server(served.folder) as gate:
        served.plan(gate)
        assert "--resume goes on with a restore" in agent(*words, code=2)
        assert "needs --snapshot" in agent(*words, "--resume", code=2)
        told = agent(*words, "--resume", "--snapshot", served.snapshot[:8], "--json")
    assert whole(served.source, back) == [f"large-{number}" for number in range(FILES)]
    objects = [json.loads(line) for line in told.splitlines()]
    assert objects[-1]["entry"]["bytes"] == FILES * 20 * MB + len("a file")
    assert sum(gate.answered) < (FILES - len(there)) * 20 * MB + MB


@pytest.mark.timeout(1200)
def test_a_restore_is_given_up_also_before_its_first_file(served: Served, tmp_path: Path) -> None:
    """restic says nothing while it reads the index, and tries for a quarter of an hour."""
    held = served.gate.held
    held[b"GET /alice/web/index/"] = lambda: held.update({b"": lambda: None})
    said = served.agent("restore", "data", "--to", str(tmp_path / "back"), "--give-up", "1", code=1)
    assert "given up: nothing was restored for 1 s" in said
    # One that is not there at all is told at once.
    assert "127.0.0.1" in served.agent("restore", "data", "--to", str(tmp_path / "back"), code=1)


@dataclass
class Bucket:
    """An S3 server of this machine's, with one bucket."""

    s3: S3
    data: Path
    server: int


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Bucket]:
    storage.build()
    folder = tmp_path / "s3"
    (folder / "data").mkdir(parents=True)
    key, pem = folder / "key", folder / "pem"
    key.write_text(new_key())
    pem.write_text(self_signed(key.read_text(), ("127.0.0.1",)))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [str(storage.program()), f"--port=127.0.0.1:{port}", f"--cert={pem}", f"--key={key}", "--quiet", "posix"]
    keys = {"ROOT_ACCESS_KEY": "AK", "ROOT_SECRET_KEY": "secret-of-s3"}
    server = subprocess.Popen([*words, str(folder / "data")], env=keys, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        until("the S3 server listens", lambda: listens(port))
        s3 = S3(f"https://127.0.0.1:{port}", keys["ROOT_ACCESS_KEY"], keys["ROOT_SECRET_KEY"], pem)
        assert s3.ask("PUT", "/saved").ok
        yield Bucket(s3, folder / "data", server.pid)
    finally:
        server.kill()
        server.wait()


def in_s3(bucket: Bucket, **change: Any) -> dict[str, Any]:
    """What a plan says of it."""
    place = {
        "url": f"s3:{bucket.s3.endpoint}/saved/alice/data",
        "ca": str(bucket.s3.ca),
        "s3_region": "us-east-1",
        "s3_access_key": bucket.s3.access,
        "s3_secret_key": bucket.s3.secret,
        "may": "restore",
    }
    return place | change


@pytest.mark.timeout(1200)
def test_what_was_copied_to_s3_is_restored_by_the_id_that_the_vault_knew(
    agent: Agent, source: Path, tmp_path: Path, bucket: Bucket
) -> None:
    agent.plan(source)
    agent("run", "data")
    saved = agent.last.snapshot
    place = in_s3(bucket)
    second = Repository(
        place["url"],
        PASSWORD,
        cache=tmp_path / "second-cache",
        environment=s3_environment("us-east-1"),
        credentials=s3_credentials(bucket.s3.access, bucket.s3.secret),
        ca=bucket.s3.ca,
    )
    copy = Restic(second, restic())
    copy.init(agent.restic.repository)
    copy.copy(agent.restic.repository, [saved])
    elsewhere = replace(agent, folder=tmp_path / "elsewhere")
    elsewhere.plan(source, **place)
    elsewhere("restore", "data", "--to", str(tmp_path / "back"), "--snapshot", saved)
    assert files(tmp_path / "back") == {"file"}
    assert elsewhere.last.snapshot == copy.snapshots()[0].id != saved
    elsewhere("restore", "data", "--to", str(tmp_path / "newest"))
    elsewhere.plan(source, **in_s3(bucket, s3_secret_key="not-it"))
    said = elsewhere("restore", "data", "--to", str(tmp_path / "a"), code=1)
    assert "not-it" not in said
    assert "Access Denied" in said
    elsewhere.plan(source, **in_s3(bucket, ca=""))
    said = elsewhere("restore", "data", "--to", str(tmp_path / "a"), code=1)
    assert "is not to be trusted" in said
    assert "copy.pem" in said
    os.kill(bucket.server, signal.SIGKILL)
    elsewhere.plan(source, **place)
    assert "refused" in elsewhere("restore", "data", "--to", str(tmp_path / "a"), code=1)


def test_what_another_number_owned_goes_to_the_user_of_that_name_here_and_roots_stays_roots(
    agent: Agent, source: Path, tmp_path: Path
) -> None:
    nobody = pwd.getpwnam("nobody")
    (source / "roots").write_text("root's")
    (source / "link").symlink_to("file")
    for path in (source / "file", source / "link"):
        os.chown(path, 61_234, 61_235, follow_symlinks=False)
    agent.plan(source, owner="nobody")
    agent("run", "data")
    back = tmp_path / "back"
    said = agent("restore", "data", "--to", str(back))
    assert f"2 paths of 61234:61235 went to nobody:{grp.getgrgid(nobody.pw_gid).gr_name}" in said
    for name in ("file", "link"):
        assert ((back / name).lstat().st_uid, (back / name).lstat().st_gid) == (nobody.pw_uid, nobody.pw_gid)
    assert (back / "roots").stat().st_uid == 0


def test_data_of_a_user_that_is_not_there_is_not_given_to_whoever_has_the_number(
    agent: Agent, source: Path, tmp_path: Path
) -> None:
    os.chown(source / "file", 61_234, 61_235)
    agent.plan(source, owner="no-such-user")
    agent("run", "data")
    said = agent("restore", "data", "--to", str(tmp_path / "back"), code=1)
    assert "there is no user 'no-such-user' on this host" in said
