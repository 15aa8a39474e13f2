"""The sample content has the real formats, the same bytes every time, and all the cases that the real archive has."""

import hashlib
import re
import zipfile
from pathlib import Path

import pytest

from lab import sample


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("archive")
    sample.archive(target)
    return target


def digests(root: Path) -> dict[str, tuple[str, int]]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(root)): (hashlib.sha256(path.read_bytes()).hexdigest(), int(path.stat().st_mtime))
        for path in files
    }


def test_two_runs_make_the_same_bytes_and_times(archive: Path, tmp_path: Path) -> None:
    sample.archive(tmp_path)
    assert digests(tmp_path) == digests(archive)


def test_metadata_is_one_line_of_build_timestamp_android(archive: Path) -> None:
    files = [path for path in archive.glob("ota/*/*-*") if path.suffix != ".html"]
    assert len(files) >= 25
    for path in files:
        assert re.fullmatch(r"\d{9} \d{10} \d\d\n", path.read_text()), path


def test_every_package_says_the_timestamp_that_its_metadata_promises(archive: Path) -> None:
    for device in sample.DEVICES:
        build = device.current
        package = archive / f"ota/{device.name}/{build.android}/{device.name}-ota_update-{build.number}.zip"
        facts = zipfile.ZipFile(package).read("META-INF/com/android/metadata").decode()
        assert f"post-timestamp={build.timestamp}\n" in facts


def test_checksums_have_the_normal_form_and_are_right(archive: Path) -> None:
    sums = list(archive.rglob("*.sha256sum"))
    assert len(sums) == len(list(archive.rglob("*.zip"))) + 3
    for path in sums:
        artifact = path.with_suffix("")
        assert path.read_text() == f"{hashlib.sha256(artifact.read_bytes()).hexdigest()}  {artifact.name}\n"


def test_the_gaps_of_the_real_archive_are_there(archive: Path) -> None:
    assert list(archive.glob("ota/panther/16/*-incremental-*.zip"))
    assert not list(archive.glob("ota/FP5/16/*-incremental-*.zip"))
    ahead = sample.CURRENT.number
    assert (archive / f"factory/bangkk/16/bangkk-factory-{ahead}.zip").exists()
    assert not (archive / f"ota/bangkk/16/bangkk-ota_update-{ahead}.zip").exists()
    assert (archive / f"ota/{sample.RETIRED}").exists()


def test_the_website_has_its_dot_directories_and_its_own_404(tmp_path: Path) -> None:
    sample.website(tmp_path)
    for path in ("index.html", "404.html", ".messages/latest.txt", ".well-known/security.txt", ".git/HEAD"):
        assert (tmp_path / path).is_file()
