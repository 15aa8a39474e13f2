"""A package is read once, within bounds, and what changes meanwhile is no package."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from roles.release.tools import layout
from roles.release.tools.ota_metadata import METADATA, PAYLOAD
from roles.release.tools.package import BLOCK, KEPT_BYTES, PACKAGE_BYTES, read
from roles.release.tools.problems import Damaged


def zipped(path: Path, name: str, content: bytes, method: int = zipfile.ZIP_STORED) -> Path:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as package:
        package.writestr(name, content)
    path.write_bytes(out.getvalue())
    return path


def test_a_file_that_is_no_zip_still_has_its_hash(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    found = read(tmp_path / "x", lambda _: None)
    assert found.sha256.startswith("e3b0c44298fc1c14")
    assert found.directory is None


def test_members_that_are_kept_are_small(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x", METADATA, b"x" * (KEPT_BYTES + 1))
    found = read(path, lambda _: None)
    assert [str(one) for one in found.damage] == [f"zip {METADATA}: found 65,537 bytes; expected at most 65,536"]
    assert found.kept == {}


def test_a_payload_is_stored(tmp_path: Path) -> None:
    [damage] = read(zipped(tmp_path / "x", PAYLOAD, b"CrAU" * 99, zipfile.ZIP_DEFLATED), lambda _: None).damage
    assert str(damage).startswith("payload.bin: found packed; expected stored")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x")
    with pytest.raises(Damaged, match="found no regular file"):
        read(tmp_path / "x", lambda _: None)


def test_a_package_is_not_endless(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file:
        file.truncate(PACKAGE_BYTES + 1)
    with pytest.raises(Damaged, match="found 17,179,869,185 bytes"):
        read(tmp_path / "x", lambda _: None)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(lambda path: os.truncate(path, BLOCK), "as at the begin of the check", id="cut"),
        pytest.param(
            lambda path: path.write_bytes(path.read_bytes()), "found other bytes than at the begin", id="written"
        ),
        pytest.param(lambda path: os.utime(path, (1, 1)), "found other bytes than at the begin", id="dated back"),
    ],
)
def test_a_package_that_changes_meanwhile_is_refused(
    tmp_path: Path, change: Callable[[Path], object], expected: str
) -> None:
    path = zipped(tmp_path / "x", "a", b"x" * (BLOCK + 1))

    def hear(_: int) -> None:
        change(path)

    with pytest.raises(Damaged, match=expected):
        read(path, hear)


def test_a_release_has_not_any_number_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "ENTRIES", 3)
    for name in "abcde":
        (tmp_path / name).touch()
    assert str(layout.lay(tmp_path).problems[-1]) == ".: names: found more than 3 of them; expected a release"
