"""Names of labs, which are folders' too."""

from pathlib import Path

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
