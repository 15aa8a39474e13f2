"""The backup of a signing host: saved, and checked without a device."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.converge import REPOSITORY
from roles.signing.tools.errors import HsmError
from roles.signing.tools.saved import ABOUT, BUNDLE, SUMS, saving
from roles.signing.tools.saved.checking import WRONG
from roles.signing.tools.state import loading
from tests.hsm_saved import SPOILT, Spoil
from tests.hsm_site import Called, Site

pytestmark = pytest.mark.lab


def checked(folder: Path, *options: str) -> Called:
    done = subprocess.run(
        [REPOSITORY / "bin/mainstay", "hsm", "check", str(folder), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    return Called(done.returncode, done.stdout, done.stderr)


def test_a_saved_folder_is_whole_by_other_programs_too(medium: Path, tmp_path: Path) -> None:
    assert checked(medium).code == 0
    assert subprocess.run(["sha256sum", "-c", "--quiet", SUMS], cwd=medium, check=False).returncode == 0
    subprocess.run(["git", "clone", "-q", medium / BUNDLE, tmp_path / "log"], check=True)
    assert medium.stat().st_mode & 0o077 == 0


def test_a_name_that_is_taken_is_refused_and_left_alone(signing_host: Site, medium: Path) -> None:
    before = (medium / ABOUT).read_bytes()
    done = signing_host.mainstay("save", str(medium))
    assert (done.code, "give another name" in done.said) == (1, True)
    assert (medium / ABOUT).read_bytes() == before


def test_what_a_dead_run_left_is_in_the_way_of_nothing(signing_host: Site, tmp_path: Path) -> None:
    left = tmp_path / ".medium.new"
    (left / "keys").mkdir(parents=True)
    (left / "keys/half").write_text("half")
    assert signing_host.mainstay("save", str(tmp_path / "medium")).code == 0
    assert checked(tmp_path / "medium").code == 0
    assert not left.exists()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A medium with little room."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "test", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_medium_is_refused_before_anything_is_written(signing_host: Site, small: Path) -> None:
    done = signing_host.mainstay("save", str(small / "medium"))
    assert (done.code, "the medium is full: it has room for 32" in done.said) == (1, True)
    assert list(small.iterdir()) == []


def test_a_medium_that_fills_up_meanwhile_has_nothing_left_on_it(
    signing_host: Site, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "_room", lambda *_: None)
    with pytest.raises(HsmError, match=r"No space left|is full"):
        saving.save(loading.load(signing_host.file), small / "medium")
    assert list(small.iterdir()) == []


def test_a_medium_that_does_not_keep_what_was_written_is_told(
    signing_host: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = saving._read_back
    monkeypatch.setattr(saving, "_read_back", lambda path: "0" * 64 if path.suffix == ".yhw" else read(path))
    with pytest.raises(HsmError, match=r"read back as other bytes"):
        saving.save(loading.load(signing_host.file), tmp_path / "medium")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("spoil", [one[0] for one in SPOILT])
def test_checksums_tell_whatever_was_changed_since(medium: Path, tmp_path: Path, spoil: Spoil) -> None:
    copy = Path(shutil.copytree(medium, tmp_path / "copy"))
    spoil(copy)
    done = checked(copy, "--json")
    assert done.code == WRONG
    assert "files" in {one["check"] for one in done.told["findings"]}
