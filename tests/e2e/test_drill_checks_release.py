"""What a drill proves of a release server: each check passes on a good copy, and fails on what it is there for."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup.drills.checks import CheckFailed, File, NotJudged, share
from lab import sample
from roles.release import packages
from roles.release.archive import artifacts, checksum, needed, recorded
from roles.release.drill import DRILL
from roles.release.settings import Settings
from tests.unit.restored_copy import (
    NEVER_COMPLETE,
    NEVER_MISSING,
    Copy,
    failure,
    git,
    listing,
    must_be_found,
    plant,
    restored,
    run,
)

OTA = "public/ota/panther/16/panther-ota_update-260720420.zip"
INCREMENTAL = "public/ota/panther/16/panther-incremental-260620310-260720420.zip"
FACTORY = "public/factory/panther/16/panther-factory-260720420.zip"
STABLE = "metadata/ota/panther/panther-stable"
FAULTS = [one.name for one in DRILL.faults]
SETTINGS = Settings(retired=(sample.RETIRED,), installer_origins=("https://install.example.org",))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("release")
    sample.packages(root / "public")
    sample.metadata(root / "metadata")
    (root / "metadata/.commit").write_text("c1\n")
    (root / "publications").mkdir()
    return root


@pytest.fixture(scope="module")
def listed(pristine: Path) -> list[File]:
    return listing(pristine)


@pytest.fixture(scope="module")
def checksums(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The list as its repository has it: one file an artifact, most a bare hash, and one not there yet."""
    work = tmp_path_factory.mktemp("checksums")
    for number, path in enumerate(sorted(pristine.rglob("*.sha256sum"))):
        if path.name != "FP5-ota_update-260720420.zip.sha256sum":
            text = path.read_text()
            (work / path.name).write_text(text.split()[0] if number % 3 else text)
    (work / "README.md").write_text("checksums\n")
    git(work, "init", "-q", ".")
    git(work, "add", ".")
    git(work, "commit", "-qm", "all")
    git(work, "clone", "-q", "--bare", ".", str(work / "bare.git"))
    return work / "bare.git"


@pytest.fixture
def copy(
    pristine: Path, listed: list[File], checksums: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Copy]:
    with restored(tmp_path, pristine, SETTINGS, monkeypatch, listed) as made:
        made.mirrors["checksums"] = checksums
        yield made


def resettle(copy: Copy, **settings: object) -> None:
    copy.settings = copy.settings.model_copy(update=settings)


def test_every_check_passes_on_a_good_copy_and_says_what_it_saw(copy: Copy) -> None:
    for one in DRILL.checks:
        assert one.run(copy).told, one.name


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found_by_the_check_that_is_there_for_it(copy: Copy, name: str) -> None:
    must_be_found(DRILL, name, copy)


def test_a_missing_package_is_named_by_the_files_and_by_the_channel_that_promises_it(copy: Copy) -> None:
    copy.file(OTA).unlink()
    assert failure(DRILL, "files", copy) == f"1 path missing: {OTA}"
    assert f"{STABLE} promises {OTA}, which answers 404" in failure(DRILL, "channels", copy)


def test_a_flipped_byte_shows_in_nothing_but_the_bytes(copy: Copy) -> None:
    done = plant(DRILL, "flipped byte", copy)
    for name in ("files", "owners", "stale", "channels", "zips"):
        run(DRILL, name, copy)
    said = failure(DRILL, "packages", copy)
    assert done.split()[4] in said
    assert "by the list of checksums" in said


def test_metadata_that_runs_ahead_shows_in_nothing_but_the_channels(copy: Copy) -> None:
    plant(DRILL, "metadata ahead", copy)
    for name in ("files", "owners", "packages", "zips"):
        run(DRILL, name, copy)
    assert "which answers 404" in failure(DRILL, "channels", copy)


def test_older_metadata_with_the_right_size_and_time_is_stale(copy: Copy) -> None:
    before = copy.file(STABLE).stat()
    copy.file(STABLE).write_text(sample.OLD.line)
    os.utime(copy.file(STABLE), ns=(before.st_atime_ns, before.st_mtime_ns))
    run(DRILL, "files", copy)
    said = []
    for turn in range(12):
        copy.turn = turn
        try:
            run(DRILL, "stale", copy)
        except CheckFailed as error:
            said.append(str(error))
    assert said
    assert said[0] == f"{STABLE}: TIMESTAMP 1783300000, older than 1785977859 of the snapshot"


def test_a_device_without_metadata_is_looked_at_too(copy: Copy) -> None:
    place = copy.file("public/factory/newdevice/16")
    place.mkdir(parents=True)
    (place / "newdevice-factory-1.zip").write_bytes(b"image")
    copy.relisted()
    run(DRILL, "channels", copy)
    (place / "newdevice-factory-1.zip").unlink()
    assert "newdevice: /factory/newdevice/16/newdevice-factory-1.zip answers 404" in failure(DRILL, "channels", copy)


@pytest.mark.parametrize("line", ["", "<html>", "1 2 3 4\n", "1 x 16\n", "1 2 16\n\n1 2 16\n"])
def test_metadata_that_is_none_is_named(copy: Copy, line: str) -> None:
    copy.file(STABLE).write_text(line)
    assert f"{STABLE}: is not one line BUILD TIMESTAMP ANDROID" in failure(DRILL, "channels", copy)


def test_a_package_of_another_size_than_the_saved_one_is_not_as_promised(copy: Copy) -> None:
    with copy.file(OTA).open("ab") as file:
        file.write(b"more")
    assert f"{OTA}: is served with" in failure(DRILL, "channels", copy)


def test_the_base_of_incrementals_may_lack_its_package_and_that_is_told(copy: Copy) -> None:
    copy.file("public/ota/panther/16/panther-ota_update-260620310.zip").unlink()
    assert "which answers 404" in run(DRILL, "channels", copy).told[1]


def test_a_device_that_is_not_retired_there_any_more_is_named(copy: Copy) -> None:
    resettle(copy, retired=("sunfish", "shiba"))
    assert "/ota/shiba/shiba-stable: the device is retired, and it answers 200" in failure(DRILL, "channels", copy)
    assert "the device is retired" in failure(DRILL, "identity", copy)


def test_origins_are_those_of_the_settings(copy: Copy) -> None:
    resettle(copy, installer_origins=("https://other.example.org",))
    assert "a page of https://other.example.org gets access-control-allow-origin: None" in failure(
        DRILL, "identity", copy
    )


def test_packages_without_a_recorded_checksum_are_unknown_not_wrong(copy: Copy) -> None:
    seen = run(DRILL, "packages", copy)
    assert "FP5-ota_update-260720420.zip" in seen.told[1]
    assert "unknown, not wrong" in seen.told[1]
    assert (seen.covered, seen.within) == (seen.of, 1)


def test_a_checksum_beside_a_package_that_is_another_is_wrong(copy: Copy) -> None:
    copy.file(f"{FACTORY}.sha256sum").write_text(f"{'0' * 64}  x\n")
    assert f"by the checksum beside it {'0' * 64}" in failure(DRILL, "packages", copy)
    copy.file(f"{FACTORY}.sha256sum").write_text("not a hash")
    assert f"{FACTORY}.sha256sum: is neither" in failure(DRILL, "packages", copy)


def test_without_the_list_packages_are_not_judged_unless_one_is_wrong(copy: Copy) -> None:
    del copy.mirrors["checksums"]
    with pytest.raises(NotJudged, match=r"no mirror checksums; .* fetched"):
        run(DRILL, "packages", copy)
    resettle(copy, checksums="")
    with pytest.raises(NotJudged, match="names no list"):
        run(DRILL, "packages", copy)
    copy.file(FACTORY).write_bytes(copy.file(FACTORY).read_bytes()[:-1] + b"x")
    assert FACTORY in failure(DRILL, "packages", copy)


def test_too_many_packages_are_fetched_a_share_at_a_time_and_current_ones_each_time(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        copy.file(f"public/ota/panther/15/panther-ota_update-25{number}.zip").parent.mkdir(exist_ok=True)
        copy.file(f"public/ota/panther/15/panther-ota_update-25{number}.zip").write_bytes(bytes(200_000))
    copy.relisted()
    whole = packages.sample(copy).chosen
    monkeypatch.setattr(packages, "HASHED_AT_MOST", 3_000_000)
    samples = []
    for turn in range(packages.sample(copy).within):
        copy.turn = turn
        samples.append(set(packages.sample(copy).chosen))
    assert len(samples) > 1
    assert set().union(*samples) == set(whole)
    assert all(OTA in one for one in samples)


def test_where_a_part_is_restored_at_a_time_all_of_it_is_fetched_in_the_end(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = list(copy.saved)
    kept = needed(every, lambda path: copy.read(path)[0])
    rest = sorted({file.path for file in artifacts(every)} - kept)
    assert rest
    monkeypatch.setattr(packages, "HASHED_AT_MOST", 500_000)
    monkeypatch.setattr(packages, "_current", lambda copy: kept)
    seen: set[str] = set()
    parts = 0
    turn = 0
    while turn == 0 or turn < parts:
        part = set(share(rest, turn, packages.PARTS)) | kept
        copy.part = [file for file in every if file.path in part]
        copy.turn = turn
        taken = packages.sample(copy)
        seen |= set(taken.chosen)
        parts, turn = max(parts, taken.within), turn + 1
    assert parts > packages.PARTS
    assert seen >= set(rest) - {path for path in rest if sample.RETIRED in path}


def test_a_restored_part_is_shared_out_evenly_and_all_of_it_has_its_turn() -> None:
    part = share((f"public/{number}.zip" for number in range(6000)), 5, packages.PARTS)
    files = [File(path, "file", 100) for path in part]
    taken = [packages._share(files, turn, 100 * len(files) // 4)[0] for turn in range(4)]
    assert sorted(path for one in taken for path in one) == part
    assert all(len(part) / 6 < len(one) < len(part) / 3 for one in taken)


def test_zips_that_are_cut_empty_or_filled_up_are_named(copy: Copy) -> None:
    size = copy.file(OTA).stat().st_size
    os.truncate(copy.file(OTA), size // 2)
    os.truncate(copy.file(OTA), size)
    os.truncate(copy.file(FACTORY), 0)
    said = failure(DRILL, "zips", copy)
    assert "panther-ota_update-260720420.zip: BadZipFile" in said
    assert "panther-factory-260720420.zip: BadZipFile" in said


def test_a_zip_with_another_start_is_named(copy: Copy) -> None:
    content = copy.file(OTA).read_bytes()
    copy.file(OTA).write_bytes(b"\0" * 100 + content[100:])
    assert "is not where the directory says" in failure(DRILL, "zips", copy)


def test_phones_update_by_incremental_and_full_and_all_devices_have_their_turn(copy: Copy) -> None:
    told = run(DRILL, "update", copy).told
    assert "panther to 260720420: incremental and full" in told
    assert "FP5 to 260720420: full" in told


def test_a_phone_is_let_down_by_a_package_of_another_time(copy: Copy) -> None:
    copy.file(STABLE).write_text("260720420 1785977860 16\n")
    assert "its post-timestamp is ['1785977859'], 1785977860 was promised" in failure(DRILL, "update", copy)


def test_a_phone_is_let_down_by_a_package_that_it_cannot_look_into(copy: Copy) -> None:
    size = copy.file(INCREMENTAL).stat().st_size
    copy.file(INCREMENTAL).write_bytes(b"\0" * size)
    assert f"{INCREMENTAL}: a phone cannot look into it" in failure(DRILL, "update", copy)


def test_a_phone_is_let_down_where_nothing_is_ever_missing(copy: Copy) -> None:
    copy.serves(NEVER_MISSING)
    assert "was never released and answers 200: no phone would take the full OTA" in failure(DRILL, "update", copy)
    assert "/no-such-file: answers 200, not 404" in failure(DRILL, "identity", copy)


def test_a_phone_is_let_down_where_a_complete_download_begins_again(copy: Copy) -> None:
    copy.serves(NEVER_COMPLETE)
    assert "a complete download that resumes is answered by 206, not 416" in failure(DRILL, "update", copy)


def test_another_archive_with_the_same_names_is_told_by_its_bytes(copy: Copy) -> None:
    other = copy.folder.parent / "staging"
    shutil.copytree(copy.folder, other)
    for file in other.rglob("*.sha256sum"):
        file.write_text("of staging\n")
    for file in other.rglob("*.zip"):
        file.write_bytes(bytes(file.stat().st_size))
    config = copy.folder.parent / "server.inc"
    config.write_text(f"root {other}/public;\n")
    assert "is served with another content than lies on the host" in failure(DRILL, "identity", copy)
    assert "bytes came that are not the rest of it" in failure(DRILL, "update", copy)


def test_another_site_is_told_by_each_file_that_is_compared(copy: Copy) -> None:
    plant(DRILL, "another site", copy)
    run(DRILL, "files", copy)
    said = failure(DRILL, "identity", copy)
    assert ": 404" in said
    assert "/: answers 200, not 404" not in said


def test_every_drill_restores_metadata_checksums_and_what_channels_point_to(copy: Copy) -> None:
    got = needed(copy.saved, lambda path: copy.read(path)[0])
    assert {OTA, INCREMENTAL, FACTORY, f"{OTA}.sha256sum"} <= got
    assert {STABLE, f"{STABLE}-changelog.html", "metadata/.commit"} <= got
    assert "public/factory/bangkk/16/bangkk-factory-260720420.zip" in got
    assert "public/ota/panther/16/panther-ota_update-260620310.zip" not in got
    assert "public/device-flasher/1.0.8/device-flasher.linux" not in got


def test_needed_passes_over_metadata_that_is_none(copy: Copy) -> None:
    assert OTA not in needed(copy.saved, lambda path: b"<html>")


def test_checksums_are_read_in_both_forms() -> None:
    for text in (f"{'a' * 64}", f"{'a' * 64}\n", f"{'a' * 64}  x.zip\n"):
        assert checksum(text) == "a" * 64
    for text in ("", "a" * 63, f"{'a' * 64} x y", "A" * 64):
        with pytest.raises(ValueError, match="neither"):
            checksum(text)


def test_a_list_of_checksums_that_is_empty_or_none_is_not_judged(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare", "empty.git")
    for name in ("empty.git", "nothing.git"):
        with pytest.raises(NotJudged, match=name):
            recorded(tmp_path / name)


def test_the_default_mirror_is_called_checksums() -> None:
    assert Settings().checksums == "checksums"
    assert Settings(checksums="").checksums == ""
    assert json.loads(Settings().model_dump_json())["checksums"] == "checksums"
