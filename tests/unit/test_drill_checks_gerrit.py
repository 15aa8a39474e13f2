"""What drills of Gerrit make of settings, and of counts in the last drill."""

from datetime import UTC, datetime
from typing import Any

import pytest

from backup.drills.checks import File
from backup.drills.choosing import newest_change
from roles.gerrit.drill import fresh
from roles.gerrit.restored import fallen

BEFORE = ("1,000 projects, 50,000 changes, 120 accounts, 7 groups",)


@pytest.mark.parametrize(
    ("now", "before", "told"),
    [
        ("3 projects, 1 change", (), []),
        ("1,000 projects, 50,000 changes, 120 accounts, 7 groups", BEFORE, []),
        ("950 projects, 47,500 changes, 114 accounts, 6 groups", BEFORE, []),
        (
            "949 projects, 60,000 changes, 114 accounts, 7 groups",
            BEFORE,
            ["1,000 projects in the last drill, and 949 now"],
        ),
        ("1,000 projects, 47,499 changes, 1 account, 5 groups", BEFORE, ["50,000 ch", "120 acc", "7 groups"]),
        ("0 projects, 0 changes", ("1 project, 0 changes",), ["1 project in the last drill, and 0 now"]),
        ("2 projects, 1 change", ("2 projects, 1 change, 1 account",), ["1 account in the last drill, and 0 now"]),
    ],
    ids=["first", "as many", "a few less", "projects", "several", "the only one", "not counted any more"],
)
def test_far_fewer_than_in_the_last_drill_is_told(now: str, before: tuple[str, ...], told: list[str]) -> None:
    found = fallen(now, before)
    assert len(found) == len(told)
    assert all(one.startswith(start) for one, start in zip(found, told, strict=True))


def test_every_secret_that_a_configuration_takes_is_made_anew() -> None:
    said: dict[str, Any] = {"client-id": "mainstay", "client-secret": {"secret": "gerrit_oauth"}}
    settings = {
        "sections": {'plugin "oauth"': said},
        "files": {"replication.config": {"remote": {"password": {"secret": "mirror"}}}},
    }
    assert fresh(settings) == {"gerrit_token", "gerrit_oauth", "mirror"}
    assert fresh({}) == {"gerrit_token"}


def test_the_newest_change_saved_is_one_of_the_data_and_not_the_manifest_that_the_backup_made() -> None:
    saved, made = datetime(2026, 11, 27, 12, tzinfo=UTC), datetime(2026, 11, 27, 13, tzinfo=UTC)
    listed = [File("site/git/a.git/HEAD", "file", mtime=saved), File("site", "dir", mtime=made)]
    manifests = [File(name, "file", mtime=made) for name in (".mainstay-refs", ".mainstay-refs.json")]
    assert newest_change([*listed, *manifests]) == saved
