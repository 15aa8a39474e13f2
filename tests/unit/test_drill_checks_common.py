"""What holds of every restored copy: what lies there is what the snapshot lists, whatever its names are."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from backup.drills.checks import Check, CheckFailed, Drill
from backup.drills.common_checks import FILES, STALE, owned_by
from backup.drills.on_host import WORDS_AT_MOST, lying, some, sums
from roles.web.settings import Settings
from tests.unit.restored_copy import Copy, failure, restored, run

DRILL = Drill((FILES, owned_by("release"), STALE))
ODD = (
    "new\nline",
    "tab\tand  spaces ",
    "-rf",
    "$(reboot)",
    "'\"",
    b"latin-\xe9".decode(errors="surrogateescape"),
    "\u96ea",
)


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Copy]:
    pristine = tmp_path / "pristine"
    (pristine / "public/empty").mkdir(parents=True)
    for name in ODD:
        (pristine / "public" / name).write_text(name, errors="surrogateescape")
    (pristine / "public/link").symlink_to("nowhere")
    (pristine / "public/page").write_text("text")
    with restored(tmp_path / "host", pristine, Settings(), monkeypatch) as made:
        yield made


def change(copy: Copy, where: str, **what: object) -> None:
    copy.saved = [replace(file, **what) if file.path == where else file for file in copy.saved]  # type: ignore[arg-type]


def test_names_of_any_kind_are_listed_and_summed(copy: Copy) -> None:
    seen = run(DRILL, "files", copy)
    assert (seen.covered, seen.of) == (len(ODD) + 4, len(ODD) + 4)
    assert seen.told[0].startswith(f"{len(ODD) + 1} files, ")
    run(DRILL, "owners", copy)
    assert sums(copy, [f"public/{name}" for name in ODD]).keys() == {f"public/{name}" for name in ODD}


def test_many_files_are_summed_in_portions(copy: Copy) -> None:
    names = [f"public/{number:0200}" for number in range(2 * WORDS_AT_MOST // 200)]
    for name in names:
        copy.file(name).touch()
    assert len(sums(copy, [*names, "public/none"])) == len(names)


@pytest.mark.parametrize(
    ("path", "what", "said"),
    [
        ("public/page", {"size": 5}, "1 path not of the saved size: public/page"),
        ("public/page", {"type": "dir"}, "1 path not of the saved type: public/page"),
        ("public/page", {"path": "public/gone"}, "1 path missing: public/gone; 1 path there, and not in the snapshot"),
        ("public/empty", {"path": "public/full"}, "1 path missing: public/full"),
    ],
    ids=str,
)
def test_what_is_not_as_listed_is_named(copy: Copy, path: str, what: dict[str, object], said: str) -> None:
    change(copy, path, **what)
    assert said in failure(DRILL, "files", copy)


def test_a_time_may_differ_by_a_rounded_microsecond_and_no_more(copy: Copy) -> None:
    page = next(file for file in copy.saved if file.path == "public/page")
    assert page.mtime
    change(copy, "public/page", mtime=page.mtime + timedelta(microseconds=1))
    run(DRILL, "files", copy)
    change(copy, "public/page", mtime=page.mtime + timedelta(microseconds=3))
    assert failure(DRILL, "files", copy) == "1 path not of the saved time: public/page"


def test_the_first_of_many_are_shown_and_how_many_more_there_are(copy: Copy) -> None:
    for number in range(8):
        copy.file(f"public/more{number}").touch()
    assert failure(DRILL, "files", copy).endswith("public/more3, public/more4 and 3 more")
    assert some(["a\nb"]) == "a?b"


@pytest.mark.parametrize("what", ["user", "group"])
def test_another_owner_is_named_with_both(copy: Copy, what: str) -> None:
    change(copy, "public/page", **{what: "web"})
    assert f"1 path not of the right {what}: public/page (" in failure(DRILL, "owners", copy)
    assert "expected web" in failure(DRILL, "owners", copy)


def test_another_mode_is_named_with_both(copy: Copy) -> None:
    copy.file("public/page").chmod(0o600)
    change(copy, "public/page", mode=0o644)
    assert failure(DRILL, "owners", copy) == "1 path not of the saved mode: public/page (0600, saved as 0644)"


def test_of_a_number_alone_the_roles_own_user_is_expected_and_nought_is_root_everywhere(copy: Copy) -> None:
    os.chown(copy.file("public/page"), 0, 0)
    change(copy, "public/page", user="", uid=0)
    run(DRILL, "owners", copy)
    change(copy, "public/page", user="", uid=998)
    assert "public/page (root, expected release)" in failure(DRILL, "owners", copy)


def test_older_content_is_stale_and_newer_is_not(copy: Copy) -> None:
    change(copy, "public/page", mtime=copy.snapshot_time + timedelta(days=3650))
    assert "the snapshot has public/page of 2036-" in failure(DRILL, "stale", copy)
    os.utime(copy.file("public/page"), (2**32, 2**32))
    run(DRILL, "stale", copy)


def test_where_a_part_was_restored_the_rest_is_not_missing_and_is_counted(copy: Copy) -> None:
    copy.part = [file for file in copy.saved if file.path != "public/page"]
    copy.file("public/page").unlink()
    seen = run(DRILL, "files", copy)
    assert (seen.covered, seen.of) == (len(ODD) + 3, len(ODD) + 4)


def test_nothing_restored_or_listed_is_a_failure(copy: Copy) -> None:
    copy.file("public").rename(copy.file("elsewhere"))
    assert "missing" in failure(DRILL, "files", copy)
    copy.saved = []
    assert failure(DRILL, "files", copy) == "the snapshot lists nothing that was to be restored"


def test_times_are_read_to_the_microsecond_and_not_rounded(copy: Copy) -> None:
    since_1970 = 1_795_806_139_506_889
    os.utime(copy.folder / "public/page", ns=(0, since_1970 * 1_000 + 999))
    assert lying(copy)["public/page"].mtime == since_1970


def test_a_listing_that_is_cut_off_is_a_failure_not_missing_files(copy: Copy) -> None:
    find = copy.folder.parent / "bin/find"
    find.write_text("#!/bin/sh\nexit 3\n")
    find.chmod(0o755)
    with pytest.raises(CheckFailed, match="find ended with 3"):
        lying(copy)


def test_many_thousand_names_are_compared_in_seconds(copy: Copy) -> None:
    page = next(file for file in copy.saved if file.path == "public/page")
    copy.saved = [*copy.saved, *(replace(page, path=f"public/{number}/page") for number in range(30_000))]
    begun = time.monotonic()
    assert failure(DRILL, "files", copy).startswith("30,000 paths missing")
    assert time.monotonic() - begun < 5


def test_the_checks_of_every_role_are_named_once_and_faults_name_one_of_them() -> None:
    from backup.custody import recovery

    for role in ("release", "web", "control"):
        drill = recovery(role).drill
        assert drill
        names = [one.name for one in drill.checks]
        assert len(set(names)) == len(names)
        assert {one.caught_by for one in drill.faults} <= set(names)
        assert {"files", "owners", "stale"} <= set(names)
        assert all(isinstance(one, Check) and one.proves and one.compares for one in drill.checks)
