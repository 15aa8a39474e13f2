"""The wrapper of restic against restic itself, in every version it promises to work with."""

import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from cryptography.hazmat.primitives.poly1305 import Poly1305

from backup import restic_process
from backup.checking import is_removed_from
from backup.restic import Restic
from backup.restic_process import (
    BUNDLES,
    Interrupted,
    Locked,
    NoRepository,
    Repository,
    ResticError,
    WrongPassword,
    run,
)
from backup.restic_results import Difference, Progress, Unread, Unreadable
from tests.rest_server import Gate, rest_server
from tests.restics import USED, VERSIONS, by_version, restic
from tests.waiting import until

SINCE_017 = tuple(version for version in VERSIONS if version >= "0.17")
PASSWORD = "correct horse"


@pytest.fixture(autouse=True)
def what_a_shell_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTIC_REPOSITORY", "/nowhere")
    monkeypatch.setenv("RESTIC_PASSWORD", "ambient")
    monkeypatch.setenv("RESTIC_COMPRESSION", "nonsense")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "folder").mkdir(parents=True)
    (root / "folder/small").write_text("small")
    (root / "link").symlink_to("folder/small")
    (root / "large").write_bytes(os.urandom(3_000_000))
    return root


@pytest.fixture
def unmade(tmp_path: Path, request: pytest.FixtureRequest) -> Restic:
    repository = Repository(str(tmp_path / "repository"), PASSWORD, cache=tmp_path / "cache")
    return Restic(repository, restic(request.param), lock_wait_s=0)


@pytest.fixture
def made(unmade: Restic) -> Restic:
    unmade.init()
    return unmade


def save(made: Restic, source: Path) -> str:
    return made.backup(source, host="alice", tags=["data"]).snapshot


def two(folder: Path, url: str, version: str) -> tuple[Restic, Restic]:
    """A repository at a server, and one beside it that it can be copied to."""
    made = Restic(Repository(url, PASSWORD, cache=folder / "cache"), restic(version), lock_wait_s=0)
    second = replace(made, repository=Repository(str(folder / "second"), "other", cache=folder / "second-cache"))
    made.init()
    second.init(made.repository)
    return made, second


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of its own, of 16 MiB."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "test", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def fill(disk: Path) -> None:
    room = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(room.f_bavail * room.f_frsize))


def a_pack_of(made: Restic) -> Path:
    packs = [path for path in Path(made.repository.url, "data").rglob("*") if path.is_file()]
    return max(packs, key=lambda path: path.stat().st_size)


def every(*versions: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("unmade", by_version(*versions), indirect=True)


@every(*VERSIONS)
def test_what_was_saved_is_listed_and_comes_back(made: Restic, source: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    done = made.backup(source, host="alice", tags=["data", "more"], progress=told.append)
    assert (done.files, done.bytes, done.unread) == (2, 3_000_005, ())
    assert done.bytes_added > 3_000_000
    assert all(0 <= progress.fraction <= 1 for progress in told)
    [snapshot] = made.snapshots()
    assert (snapshot.id, snapshot.host, snapshot.tags) == (done.snapshot, "alice", ("data", "more"))
    assert snapshot.original == snapshot.id
    summary = made.restore(done.snapshot, tmp_path / "back")
    assert summary["bytes_restored"] == 3_000_005
    assert (tmp_path / "back/large").read_bytes() == (source / "large").read_bytes()
    assert (tmp_path / "back/link").readlink() == Path("folder/small")
    made.restore(done.snapshot, tmp_path / "one", include=["/folder/small"])
    assert [path.name for path in (tmp_path / "one").rglob("*") if path.is_file()] == ["small"]


@every(*VERSIONS)
def test_relative_paths_count_from_where_the_caller_is(
    unmade: Restic, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """restic itself runs elsewhere. What is restored may not land in the root of the file system."""
    (tmp_path / "deep/here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep/here")
    here = Repository("repository", PASSWORD, cache=Path("cache"), ca=Path("ca.pem"))
    Path("ca.pem").symlink_to(BUNDLES[0])
    made = replace(unmade, repository=here)
    made.init()
    snapshot = made.backup(Path("../../source"), host="alice", tags=["data"]).snapshot
    Path("way").symlink_to(tmp_path / "source/folder")
    made.restore(snapshot, Path("back/.."))
    made.restore(snapshot, Path("way/../back"))
    assert (tmp_path / "deep/here/large").read_bytes() == (source / "large").read_bytes()
    assert (tmp_path / "source/back/large").exists()
    assert {path.name for path in Path().iterdir()} >= {"repository", "cache"}
    if Path(made.program).name in SINCE_017:
        (source / "large").write_text("changed")
        assert made.compare(snapshot, Path("way/.."), ["/back"]) == [Difference("/large", "updated")]


@every(*VERSIONS)
def test_a_moved_tree_is_known_again(made: Restic, source: Path) -> None:
    save(made, source)
    moved = source.rename(source.with_name("moved"))
    again = made.backup(moved, host="alice", tags=["data"])
    assert (again.files_new, again.files_changed) == (0, 0)


@every(*VERSIONS)
def test_failures_are_told_by_their_meaning(unmade: Restic, tmp_path: Path) -> None:
    with pytest.raises(NoRepository):
        unmade.snapshots()
    unmade.init()
    with pytest.raises(ResticError, match="already"):
        unmade.init()
    wrong = replace(unmade, repository=replace(unmade.repository, password="wrong", cache=tmp_path / "other"))
    with pytest.raises(WrongPassword):
        wrong.snapshots()


class Refusing(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_error(401)

    do_GET = do_HEAD  # noqa: N815

    def log_message(self, *_: object) -> None: ...


@every(*VERSIONS)
def test_a_refused_credential_is_not_a_missing_repository(unmade: Restic) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"rest:http://alice:secret@127.0.0.1:{server.server_port}/"
        refused = replace(unmade, repository=replace(unmade.repository, url=url))
        with pytest.raises(ResticError, match="401") as failed:
            refused.snapshots()
        server.shutdown()
    assert not isinstance(failed.value, NoRepository)


@every(*VERSIONS)
def test_damage_is_found_and_named(made: Restic, source: Path) -> None:
    snapshot = save(made, source)
    assert made.check((1, 1)).errors == ()
    pack = a_pack_of(made)
    content = bytearray(pack.read_bytes())
    content[1000] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)
    assert made.check().errors == ()
    damaged = made.check((1, 1))
    assert damaged.errors
    assert damaged.packs == (pack.name,)
    assert {(hit.snapshot, hit.path) for hit in made.hits(damaged.packs)} >= {(snapshot, "/large")}
    with pack.open("r+b") as half:
        half.truncate(1000)
    assert made.check((1, 1)).packs == (pack.name,)
    assert {(hit.snapshot, hit.path) for hit in made.hits([pack.name])} >= {(snapshot, "/large")}
    pack.unlink()
    assert made.check().packs == (pack.name,)


@every(*VERSIONS)
def test_a_damaged_snapshot_is_not_passed_over(made: Restic, source: Path) -> None:
    snapshots = [save(made, source) for _ in range(3)]
    for number, content in enumerate((b"", b"rubbish")):
        file = Path(made.repository.url, "snapshots", snapshots[number])
        file.chmod(0o600)
        file.write_bytes(content)
        assert list(made.repository.cache.rglob(snapshots[number])), "restic keeps it as it was"
    with pytest.raises(Unreadable) as damaged:
        made.snapshots()
    assert set(damaged.value.ids) == set(snapshots[:2])
    assert [one.id for one in made.readable()[0]] == snapshots[2:]
    assert snapshots[0][:8] in str(damaged.value)
    assert any(snapshots[0][:8] in error for error in made.check().errors)


@every(*VERSIONS)
def test_a_check_that_cannot_run_is_no_finding(made: Restic, tmp_path: Path) -> None:
    wrong = replace(made, repository=replace(made.repository, password="wrong", cache=tmp_path / "other"))
    with pytest.raises(WrongPassword):
        wrong.check()


@every(*VERSIONS)
def test_what_cannot_be_read_is_named_and_the_rest_saved(made: Restic) -> None:
    # Root may read all files; what it cannot read is the start of a process' memory.
    done = made.backup(Path("/proc/self"), ["mem", "status"], host="alice", tags=["proc"])
    assert done.snapshot
    assert [unread.path.rpartition("/")[2] for unread in done.unread] == ["mem"]


@every(*VERSIONS)
def test_a_path_that_is_not_there_is_named_and_the_rest_saved(made: Restic, source: Path) -> None:
    """No version tells it as JSON; 0.19 exits 3, the others 0."""
    done = made.backup(source, ["gone", "folder", "nor/this, skipping"], host="alice", tags=["data"])
    assert done.snapshot
    assert done.unread == (Unread("gone", "does not exist"), Unread("nor/this, skipping", "does not exist"))
    if Path(made.program).name >= "0.19":
        assert made.backup(source, ["folder", "large/x"], host="alice", tags=["data"]).unread == (
            Unread("large/x", "cannot be accessed"),
        )


@every(*SINCE_017)
def test_a_file_of_which_the_repository_lost_a_part_is_saved_anew(made: Restic, source: Path, tmp_path: Path) -> None:
    save(made, source)
    a_pack_of(made).unlink()
    made._run("repair", "index")
    done = made.backup(source, host="alice", tags=["data"])
    assert done.unread == ()
    assert made.check((1, 1)).errors == ()
    made.restore(done.snapshot, tmp_path / "back")
    assert (tmp_path / "back/large").read_bytes() == (source / "large").read_bytes()


@every(*VERSIONS)
def test_breaking_off_leaves_no_lock_and_no_process(made: Restic, source: Path) -> None:
    (source / "huge").write_bytes(os.urandom(200_000_000))

    def break_off(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made.backup(source, host="alice", tags=["data"], progress=break_off)
    assert not list(Path(made.repository.url, "locks").iterdir())
    assert made.snapshots() == []


@pytest.mark.timeout(60)
@every(USED)
def test_who_is_impatient_does_not_wait_for_ever(made: Restic, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second Ctrl-C, while restic does not hear the first."""
    monkeypatch.setattr(restic_process, "INTERRUPT_S", 2)
    (source / "huge").write_bytes(os.urandom(200_000_000))

    def again(child: int) -> None:
        pending = f"/proc/{child}/status"
        until("the first", lambda: re.search(r"ShdPnd:\s+\w*[2367abef]$", Path(pending).read_text(), re.MULTILINE))
        os.kill(os.getpid(), signal.SIGINT)

    def stop(progress: Progress) -> None:
        child = int(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()[-1])
        os.kill(child, signal.SIGSTOP)
        until("it has stopped", lambda: Path(f"/proc/{child}/stat").read_text().split()[2] == "T")
        threading.Thread(target=again, args=(child,)).start()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made.backup(source, host="alice", tags=["data"], progress=stop)


@every(*VERSIONS)
def test_an_interruption_from_outside_is_told_apart(made: Restic, source: Path) -> None:
    (source / "huge").write_bytes(os.urandom(200_000_000))

    def interrupt(progress: Progress) -> None:
        for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            os.kill(int(child), signal.SIGINT)

    with pytest.raises(Interrupted):
        made.backup(source, host="alice", tags=["data"], progress=interrupt)


@every(*VERSIONS)
def test_a_lock_is_told_and_a_stale_one_removed(made: Restic, source: Path) -> None:
    save(made, source)
    with a_run_that_is_killed(made, source), pytest.raises(Locked):
        made.prune()
    made.unlock()
    made.prune()


@contextmanager
def held(gate: Gate, work: Callable[[], object]) -> Iterator[None]:
    """Work on a repository behind the gate, while it has its lock and is about to read the index."""
    begun, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        gate.held.clear()
        begun.set()
        may_end.wait()

    gate.held[b"GET /index"] = hold
    working = threading.Thread(target=work)
    working.start()
    try:
        assert begun.wait(60)
        yield
    finally:
        may_end.set()
        working.join()


@pytest.mark.parametrize("version", by_version(*VERSIONS))
def test_it_is_seen_that_somebody_removes_data(tmp_path: Path, source: Path, version: str) -> None:
    """And not that somebody saves."""
    with rest_server(tmp_path / "served") as gate:
        url = f"rest:http://127.0.0.1:{gate.port}/"
        made = Restic(Repository(url, PASSWORD, cache=tmp_path / "cache"), restic(version))
        made.init()
        save(made, source)
        looker = replace(made, repository=replace(made.repository, url=f"rest:http://127.0.0.1:{gate.server_port}/"))
        for work, is_removal in ((made.prune, True), (lambda: save(made, source), False)):
            with held(gate, work):
                assert is_removed_from(looker) is is_removal
            assert not is_removed_from(looker)


@pytest.mark.parametrize("version", by_version(*SINCE_017))
def test_a_snapshot_that_restic_did_not_write_keeps_none_from_being_listed(
    tmp_path: Path, source: Path, version: str
) -> None:
    """A host that somebody broke into can add one: it has the password."""
    made = Restic(Repository(str(tmp_path / "repository"), PASSWORD, cache=tmp_path / "cache"), restic(version))
    made.init()
    own = save(made, source)
    like = asked(made, "snapshot", own)
    planted = {
        plant(made, like | change)
        for change in (
            {"paths": None, "tree": None, "hostname": "", "tags": None, "summary": None, "original": None},
            {"time": "0001-01-01T00:00:00+23:59"},
            {"time": "9999-12-31T23:59:59.999999999-12:00"},
        )
    }
    found, damaged = made.readable()
    assert {one.id for one in found} == {own, *planted}
    assert damaged == []
    made.forget(sorted(planted))
    assert [one.id for one in made.snapshots()] == [own]


def asked(made: Restic, *words: str) -> dict[str, Any]:
    done = run(made.program, made.repository, "cat", *words)
    found: dict[str, Any] = done.messages[0] if done.messages else json.loads("".join(done.plain))
    return found


def plant(made: Restic, snapshot: dict[str, Any]) -> str:
    """Puts a snapshot into a repository in a folder, and returns its id.

    Format: https://restic.readthedocs.io/en/stable/100_references.html#keys-encryption-and-mac
    """
    keys = asked(made, "masterkey")
    mask, mac = (bytearray(base64.b64decode(keys["mac"][name])) for name in "rk")
    for number in range(3, 16, 4):
        mask[number] &= 15
    for number in range(4, 16, 4):
        mask[number] &= 252
    start = os.urandom(16)
    crypt = Cipher(AES(base64.b64decode(keys["encrypt"])), CTR(start)).encryptor()
    text = crypt.update(json.dumps(snapshot).encode()) + crypt.finalize()
    tag = Poly1305.generate_tag(bytes(mask) + Cipher(AES(bytes(mac)), ECB()).encryptor().update(start), text)
    content = start + text + tag
    name = hashlib.sha256(content).hexdigest()
    Path(made.repository.url, "snapshots", name).write_bytes(content)
    return name


@contextmanager
def a_run_that_is_killed(made: Restic, source: Path) -> Iterator[None]:
    (source / "huge").write_bytes(os.urandom(200_000_000))
    (source.parent / "url").write_text(made.repository.url)
    (source.parent / "password").write_text(made.repository.password)
    where = {"RESTIC_REPOSITORY_FILE": "url", "RESTIC_PASSWORD_FILE": "password"}
    run = subprocess.Popen(
        [made.program, "backup", "-q", "--limit-upload=100", "--no-cache", source],
        env={name: str(source.parent / file) for name, file in where.items()},
    )
    until("the run takes its lock", lambda: list(Path(made.repository.url, "locks").iterdir()))
    yield
    run.kill()
    run.wait()


@every(*VERSIONS)
def test_a_second_copy_knows_what_it_was_copied_from(made: Restic, source: Path, tmp_path: Path) -> None:
    snapshot = save(made, source)
    second = replace(made, repository=Repository(str(tmp_path / "second"), "other", cache=tmp_path / "second-cache"))
    second.init(made.repository)
    for _ in range(2):
        second.copy(made.repository, [snapshot])
    [copied] = second.snapshots()
    assert copied.original == snapshot
    assert second.check((1, 1)).errors == ()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("version", by_version(*VERSIONS))
def test_a_full_server_is_copied_from(tmp_path: Path, source: Path, version: str) -> None:
    """It takes no lock, which restic would try to write for a quarter of an hour."""
    with small_disk(tmp_path / "served") as disk, rest_server(disk) as gate:
        made, second = two(tmp_path, f"rest:http://127.0.0.1:{gate.server_port}/", version)
        snapshot = save(made, source)
        fill(disk)
        with pytest.raises(HTTPError, match="507"):
            urlopen(Request(f"http://127.0.0.1:{gate.server_port}/locks/{'0' * 64}", os.urandom(100)))
        second.copy(made.repository, [snapshot])
        assert [one.original for one in second.snapshots()] == [snapshot]
        assert second.check((1, 1)).errors == ()


@pytest.mark.parametrize("version", by_version(*VERSIONS))
def test_a_copy_waits_for_a_prune_of_the_copy_and_not_of_its_source(tmp_path: Path, source: Path, version: str) -> None:
    with rest_server(tmp_path / "served") as gate:
        made, second = two(tmp_path, f"rest:http://127.0.0.1:{gate.port}/", version)
        snapshot = save(made, source)
        around = replace(made, repository=replace(made.repository, url=f"rest:http://127.0.0.1:{gate.server_port}/"))
        with held(gate, made.prune):
            second.copy(around.repository, [snapshot])
            with pytest.raises(Locked):
                around.copy(second.repository, [second.snapshots()[0].id])


@every(*SINCE_017)
def test_what_cannot_be_copied_is_told_and_no_half_of_it_is_there(made: Restic, source: Path, tmp_path: Path) -> None:
    """restic passes over snapshots that are not there any more, or damaged, and says that all is well."""
    gone, damaged, halved = (save(made, source) for _ in range(3))
    second = replace(made, repository=replace(made.repository, url=str(tmp_path / "second")))
    second.init(made.repository)
    snapshots = Path(made.repository.url, "snapshots")
    for file in snapshots.iterdir():
        file.chmod(0o600)
    (snapshots / gone).unlink()
    (snapshots / damaged).write_bytes(b"rubbish")
    shutil.rmtree(made.repository.cache)
    with pytest.raises(ResticError, match="gone from where they were, or damaged") as failed:
        second.copy(made.repository, [gone, damaged])
    assert gone in str(failed.value)
    assert damaged in str(failed.value)
    a_pack_of(made).unlink()
    with pytest.raises(ResticError):
        second.copy(made.repository, [halved])
    assert second.snapshots() == []


@every(*VERSIONS)
def test_a_password_is_replaced(made: Restic) -> None:
    made.add_key("new")
    [old] = [key for key, current in made.keys().items() if current]
    new = replace(made, repository=replace(made.repository, password="new"))
    new.remove_key(old)
    assert list(new.keys().values()) == [True]
    with pytest.raises(WrongPassword):
        made.keys()


@every(USED)
def test_forgetting_looks_whether_it_happened(made: Restic, source: Path) -> None:
    first, second = save(made, source), save(made, source)
    made.forget([first])
    assert [snapshot.id for snapshot in made.snapshots()] == [second]
    snapshots = Path(made.repository.url, "snapshots")
    subprocess.run(["chattr", "+i", snapshots / second], check=True)
    try:
        with pytest.raises(ResticError, match="not removed"):
            made.forget([second])
    finally:
        subprocess.run(["chattr", "-i", snapshots / second], check=True)


@every(*SINCE_017)
def test_unchanged_data_needs_no_snapshot(made: Restic, source: Path) -> None:
    save(made, source)
    assert made.backup(source, host="alice", tags=["data"], skip_unchanged=True).snapshot == ""
    assert len(made.snapshots()) == 1


@every(*SINCE_017)
def test_a_commands_output_is_saved_unless_it_fails(made: Restic, tmp_path: Path) -> None:
    done = made.backup_command(["sh", "-c", "echo dump; sleep 0.1"], "dump.sql", host="alice", tags=["dump"])
    made.restore(done.snapshot, tmp_path / "back")
    assert (tmp_path / "back/dump.sql").read_text() == "dump\n"
    with pytest.raises(ResticError, match="exit status 3"):
        made.backup_command(["sh", "-c", "echo half; exit 3"], "dump.sql", host="alice", tags=["dump"])
    assert len(made.snapshots()) == 1


@every(*SINCE_017)
def test_a_command_is_given_nothing_of_restics(made: Restic, tmp_path: Path) -> None:
    """It may be another user's: with restic's open files and environment it could read password and login."""
    looks = ["sh", "-c", "ls /proc/self/fd; env | grep RESTIC; sed -n s/SigIgn:.//p /proc/self/status"]
    done = made.backup_command(looks, "seen", host="alice", tags=["dump"])
    made.restore(done.snapshot, tmp_path / "back")
    *seen, ignored = (tmp_path / "back/seen").read_text().splitlines()
    assert seen == ["0", "1", "2", "3"]
    assert not [one for one in (signal.SIGPIPE, signal.SIGXFSZ) if int(ignored, 16) >> (one - 1) & 1]


@every(*SINCE_017)
def test_a_command_that_cannot_be_run_is_named(made: Restic, tmp_path: Path) -> None:
    for command in ("no-such-program", "/etc/passwd", "./x"):
        with pytest.raises(ResticError, match=f"{command}: (No such file|Permission|Not a)"):
            made.backup_command([command, "-x"], "dump", host="alice", tags=["dump"])
    assert made.snapshots() == []


@every(*SINCE_017)
def test_a_source_is_compared_by_content(made: Restic, source: Path) -> None:
    snapshot = save(made, source)
    assert made.compare(snapshot, source) == []
    large = source / "large"
    times = large.stat()
    content = bytearray(large.read_bytes())
    content[77] ^= 1
    large.write_bytes(content)
    os.utime(large, ns=(times.st_atime_ns, times.st_mtime_ns))
    (source / "folder/small").unlink()
    (source / "link").unlink()
    (source / "extra").write_text("extra")
    assert set(made.compare(snapshot, source)) == {
        Difference("/large", "updated"),
        Difference("/folder/small", "restored"),
        Difference("/link", "restored"),
        Difference("/extra", "deleted"),
    }


@every(*SINCE_017)
def test_a_folder_that_became_a_file_is_compared_too(made: Restic, source: Path) -> None:
    (source / "linked").mkdir()
    (source / "linked/small").write_text("small")
    snapshot = save(made, source)
    for name in ("folder", "linked"):
        shutil.rmtree(source / name)
    (source / "folder").write_text("a file")
    (source / "linked").symlink_to(source.parent)
    (source / "large").write_text("changed")
    assert set(made.compare(snapshot, source)) == {
        Difference("/large", "updated"),
        Difference("/folder", "updated"),
        Difference("/folder/small", "restored"),
        Difference("/linked", "updated"),
        Difference("/linked/small", "restored"),
    }


@every(*SINCE_017)
def test_a_file_that_became_something_else_is_compared_too(made: Restic, source: Path) -> None:
    (source / "linked").write_text("linked")
    snapshot = save(made, source)
    for name in ("large", "folder/small", "linked"):
        (source / name).unlink()
    (source / "large").mkdir()
    (source / "folder/small").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(source / "linked"))
    changed = {Difference(f"/{name}", "updated") for name in ("large", "folder/small", "linked")}
    assert set(made.compare(snapshot, source)) == changed


@pytest.mark.timeout(60)
@every(*SINCE_017)
def test_what_became_a_pipe_is_not_waited_for(made: Restic, source: Path) -> None:
    """Whoever owns the data can make one, and restic would wait for ever for somebody who writes to it."""
    names = ("plain", "a*[b]?\\c", os.fsdecode(b"caf\xe9"))
    for name in names:
        (source / name).write_text("a file")
    (source / "axb?\\c").write_text("has a name that the pipe's would match as a pattern")
    (source / "deep").mkdir()
    (source / "deep/small").write_text("is small")
    snapshot = save(made, source)
    shutil.rmtree(source / "deep")
    for name in names:
        (source / name).unlink()
    for name in (*names, "deep", "new"):
        os.mkfifo(source / name)
    (source / "axb?\\c").write_text("changed")
    assert made.compare(snapshot, source) == [Difference("/axb?\\c", "updated")]


@every(*SINCE_017)
def test_a_path_that_begins_like_the_roots_own_is_told_whole(made: Restic, source: Path) -> None:
    deep = source / str(source).lstrip("/")
    deep.mkdir(parents=True)
    (deep / "file").write_text("old")
    snapshot = save(made, source)
    (deep / "file").write_text("new")
    assert made.compare(snapshot, source) == [Difference(f"{source}/file", "updated")]


@every(*SINCE_017)
def test_awkward_names_and_kinds_are_compared_too(made: Restic, source: Path) -> None:
    folder = source / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    (folder / os.fsdecode(b"\xff\xfe")).write_text("old")
    (folder / "same").hardlink_to(source / "folder/small")
    os.mkfifo(folder / "pipe")
    snapshot = save(made, source)
    assert made.compare(snapshot, source) == []
    (folder / os.fsdecode(b"\xff\xfe")).write_text("new")
    assert made.compare(snapshot, source) == [Difference(os.fsdecode(b"/caf\xe9/\xff\xfe"), "updated")]


@every(*SINCE_017)
def test_what_was_not_saved_is_not_compared(made: Restic, source: Path) -> None:
    snapshot = made.backup(source, host="alice", tags=["data"], exclude=[f"{source}/folder"]).snapshot
    assert made.compare(snapshot, source, exclude=["/folder"]) == []
    assert Difference("/folder", "deleted") in made.compare(snapshot, source)


@every(USED)
def test_no_secret_is_seen_by_others(made: Restic, source: Path) -> None:
    (source / "huge").write_bytes(os.urandom(100_000_000))
    seen: list[bytes] = []

    def look(progress: Progress) -> None:
        for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            # It may have just ended.
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                seen.append(Path(f"/proc/{child}/cmdline").read_bytes() + Path(f"/proc/{child}/environ").read_bytes())

    made.backup(source, host="alice", tags=["data"], progress=look)
    assert seen
    assert all(PASSWORD.encode() not in text and b"RESTIC_" in text for text in seen)


@every(USED)
def test_errors_hold_no_password(unmade: Restic) -> None:
    login = replace(unmade.repository, url="rest:http://alice:top%20secret@[::bad/", password=PASSWORD)
    with pytest.raises(ResticError) as failed:
        replace(unmade, repository=login).snapshots()
    assert "top%20secret" not in str(failed.value)
    assert PASSWORD not in repr(replace(unmade, repository=login))
