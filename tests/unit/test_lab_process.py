import os
import sys
from pathlib import Path

import pytest

from lab import process


def test_a_process_is_found_as_soon_as_it_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid_file, words = tmp_path / "pid", [sys.executable, "-c", "import time; time.sleep(60)", str(tmp_path)]
    monkeypatch.setattr(process, "replace", lambda path, text: path.write_text(text))  # Without its pause for the disk.
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # On one core, what was started runs only when this one pauses.
    try:
        for _ in range(20):
            process.start(pid_file, words, {}, tmp_path / "log")
            found = process.running(pid_file, str(tmp_path))
            process.end(pid_file, str(tmp_path), "the program")
            assert found
    finally:
        os.sched_setaffinity(0, cores)


def test_one_that_ends_at_once_is_started_too_and_not_found(tmp_path: Path) -> None:
    process.start(tmp_path / "pid", ["/bin/false", str(tmp_path)], {}, tmp_path / "log")
    process.end(tmp_path / "pid", str(tmp_path), "the program")
    assert not process.running(tmp_path / "pid", str(tmp_path))
