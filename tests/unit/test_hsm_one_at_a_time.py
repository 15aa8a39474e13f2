"""Of programs that sign side by side, one at a time has the repository of the log."""

from pathlib import Path
from threading import Event, Thread

import pytest

from roles.signing.tools.custody import git
from roles.signing.tools.custody.git import Git
from roles.signing.tools.errors import HsmError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".git/refs/heads").mkdir(parents=True)
    return tmp_path


def test_another_run_is_waited_for_until_it_has_ended(folder: Path) -> None:
    asked, had = Event(), Event()

    def second() -> None:
        asked.set()
        with Git(folder).alone():
            had.set()

    with Git(folder).alone():
        thread = Thread(target=second)
        thread.start()
        assert asked.wait(10)
        assert not had.wait(0.3)
    thread.join(10)
    assert had.is_set()


def test_one_that_does_not_end_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git, "WAIT_S", 0.2)
    with Git(folder).alone(), pytest.raises(HsmError, match="another drain is at it"), Git(folder).alone():
        pass
