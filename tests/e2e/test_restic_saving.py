"""What restic saves by the wrapper comes back, and no secret is seen on the way."""

import contextlib
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from backup.restic import Restic
from backup.restic_process import BUNDLES, Repository, ResticError, WrongPassword
from backup.restic_results import Difference, Progress, Unread
from tests.e2e.repositories import (
    PASSWORD,
    SINCE_017,
    a_pack_of,
    every,
    made,
    running,
    save,
    source,
    unmade,
    what_a_shell_left,
)
from tests.restics import USED, VERSIONS

__all__ = ["made", "source", "unmade", "what_a_shell_left"]


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
def test_no_secret_is_seen_by_others(made: Restic, source: Path) -> None:
    (source / "huge").write_bytes(os.urandom(100_000_000))
    seen: list[bytes] = []

    def look(progress: Progress) -> None:
        for child in running(made):
            with contextlib.suppress(OSError):  # it may have just ended
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


@every(*VERSIONS)
def test_what_is_listed_has_the_names_of_its_owners(made: Restic, source: Path) -> None:
    os.chown(source / "folder/small", 65534, 65534)
    (source / os.fsdecode(b"b\xffd")).mkdir()
    (source / os.fsdecode(b"b\xffd/file")).write_text("x")
    snapshot = save(made, source)
    found = {file.path: (file.user, file.group) for file in made.files(snapshot)}
    assert found.pop("folder/small") == ("nobody", "nogroup")
    assert set(found.values()) == {("root", "root")}
