"""What is no longer as it was saved is told by the wrapper of restic, whatever it became and is called."""

import os
import shutil
import socket
from pathlib import Path

import pytest

from backup.restic import Restic
from backup.restic_results import Difference
from tests.e2e.repositories import SINCE_017, every, made, save, source, unmade, what_a_shell_left

__all__ = ["made", "source", "unmade", "what_a_shell_left"]


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
