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


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("checksums")
    sample.checksums(target)
    return target


def test_the_list_of_checksums_is_the_same_at_every_run(listed: Path, tmp_path: Path) -> None:
    sample.checksums(tmp_path)
    assert digests(tmp_path) == digests(listed)


def test_every_artifact_but_one_is_in_the_list_of_checksums_at_its_own_path(archive: Path, listed: Path) -> None:
    artifacts = {str(path.relative_to(archive).with_suffix("")) for path in archive.rglob("*.sha256sum")}
    for artifact in artifacts - {sample.UNRECORDED}:
        said = (listed / f"{artifact}.sha256sum").read_text().split()[0]
        assert said == hashlib.sha256((archive / artifact).read_bytes()).hexdigest(), artifact
    assert sample.UNRECORDED in artifacts
    assert not (listed / f"{sample.UNRECORDED}.sha256sum").exists()


def test_the_list_of_checksums_names_what_is_current_and_has_bare_hashes_for_the_rest(
    archive: Path, listed: Path
) -> None:
    files = [path for path in listed.rglob("*") if path.is_file()]
    bare = [path for path in files if re.fullmatch("[0-9a-f]{64}", path.read_text())]
    for path in set(files) - set(bare):
        assert re.fullmatch(rf"[0-9a-f]{{64}}  {re.escape(path.stem)}\n", path.read_text())
    assert len(bare) > len(files) / 2
    gone = {path for path in bare if not (archive / path.relative_to(listed)).exists()}
    old = {path.stem for path in set(bare) - gone}
    assert len(gone) > len(old)
    assert old == {
        *(f"{name}-ota_update-{sample.OLD.number}.zip" for name in ("FP5", "panther", "shiba")),
        *(path.stem for path in archive.rglob(f"{sample.RETIRED}-*.sha256sum")),
    }


def test_the_gaps_of_the_real_archive_are_there(archive: Path) -> None:
    assert list(archive.glob("ota/panther/16/*-incremental-*.zip"))
    assert not list(archive.glob("ota/FP5/16/*-incremental-*.zip"))
    ahead = sample.CURRENT.number
    assert (archive / f"factory/bangkk/16/bangkk-factory-{ahead}.zip").exists()
    assert not (archive / f"ota/bangkk/16/bangkk-ota_update-{ahead}.zip").exists()
    assert (archive / f"ota/{sample.RETIRED}").exists()


def test_the_website_has_its_dot_directories_and_its_own_404(tmp_path: Path) -> None:
    sample.website(tmp_path)
    for path in ("index.html", "404.html", ".messages/latest.txt", ".well-known/security.txt"):
        assert (tmp_path / path).is_file()
