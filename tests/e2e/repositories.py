"""Repositories of restic, in every version that the wrapper promises to work with, and what is saved in them."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from backup.restic import Restic
from backup.restic_process import Repository
from tests.rest_server import Gate
from tests.restics import VERSIONS, by_version, restic

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


def running(made: Restic) -> list[int]:
    """The processes of this one's that are that restic: a lab's may be there too."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    found = []
    for child in map(int, children):
        # It may have just ended.
        with suppress(OSError):
            if Path(f"/proc/{child}/exe").readlink() == Path(made.program):
                found.append(child)
    return found


def a_pack_of(made: Restic) -> Path:
    packs = [path for path in Path(made.repository.url, "data").rglob("*") if path.is_file()]
    return max(packs, key=lambda path: path.stat().st_size)


def every(*versions: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("unmade", by_version(*versions), indirect=True)


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


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A disk of its own, of so many MiB."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "test", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
