"""Labs as folders: their names, and what is left of them."""

import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest

from lab import lifecycle


@pytest.mark.parametrize("name", ["", "..", "/tmp", "a/b", "Lab", "-x"])
def test_what_cannot_be_a_labs_name_is_refused_before_anything_is_touched(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "LABS", tmp_path / "labs")
    (tmp_path / "labs/other").mkdir(parents=True)
    for call in (lifecycle.up, lifecycle.down, lifecycle.reserve):
        with pytest.raises(lifecycle.LabError, match="cannot be a lab's name"):
            call(name)
    assert lifecycle.find(name) is None
    assert (tmp_path / "labs/other").exists()


def test_a_removal_cut_short_at_any_point_leaves_a_lab_that_can_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "LABS", tmp_path)
    monkeypatch.setattr(lifecycle, "answers", lambda config: False)
    left = [0]

    def counted(remove: Any) -> Any:
        def one(*arguments: Any, **options: Any) -> None:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            remove(*arguments, **options)

        return one

    monkeypatch.setattr(Path, "unlink", counted(Path.unlink))
    monkeypatch.setattr(shutil, "rmtree", counted(shutil.rmtree))
    for removals in itertools.count():
        config = lifecycle.find("cut") or lifecycle._allocate("cut")
        (config.root / "site").mkdir(exist_ok=True)
        left[0] = removals
        try:
            lifecycle._remove(config.root)
        except KeyboardInterrupt:
            assert lifecycle.status("cut")["state"] in ("stopped", "down")
        else:
            break
    assert removals > 2
    assert not config.root.exists()
