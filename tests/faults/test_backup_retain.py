"""`mainstay backup retain` on a vault: what it removes, when it refuses, and what a kill leaves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.restics import restic
from tests.saved_site import DATA, REPOSITORY_OF_IT, Saved, saved_site

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

KEPT = 24
"""The plan keeps as many of the last; all of a test's are of one day."""
BULK = 40_000_000
AS_THE_HOST = """
plan() { python3 -c "import json; print(json.load(open('/etc/mainstay/backup/release.json'))['$1'])"; }
export RESTIC_REPOSITORY=$(plan url) RESTIC_PASSWORD=$(plan password) RESTIC_CACERT=$(plan ca)
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    """Two snapshots more than are kept, the first of them with what no later one has; the newest is not verified."""
    for made in saved_site(tmp_path_factory.mktemp("retain")):
        bulk = "/srv/release/public/bulk"
        made.root("release-1", f"head -c {BULK} /dev/urandom >{bulk}")
        assert made.agent("run", "release").returncode == 0
        run = "python3 -I /usr/local/lib/mainstay/backup.pyz run release"
        made.root("release-1", f"rm {bulk}; for i in $(seq {KEPT + 1}); do {run}; done")
        yield made


def files(saved: Saved) -> list[str]:
    return saved.root("vault-1", f"cd {REPOSITORY_OF_IT}; find . -type f | grep -v ^./locks | sort").splitlines()


def size(saved: Saved) -> int:
    return int(saved.root("vault-1", f"du -sb {REPOSITORY_OF_IT}").split()[0])


def count(saved: Saved) -> int:
    return sum(file.startswith("./snapshots/") for file in files(saved))


def refuses(saved: Saved, words: str, *options: str) -> None:
    """Says why, and removes nothing."""
    before = files(saved)
    done = saved.mainstay("retain", DATA, *options)
    assert done.returncode == 1, done.stdout + done.stderr
    assert words in " ".join(done.stdout.split()), done.stdout
    assert files(saved) == before


def test_what_was_not_verified_stands_in_for_nothing(saved: Saved) -> None:
    refuses(saved, "is not verified. Run `mainstay backup verify release-1:release`")
    assert saved.mainstay("verify", "--all").returncode == 0


def test_a_share_that_is_too_large_is_refused(saved: Saved) -> None:
    refuses(saved, "2 of 26 snapshots would go, more than 1%", "--max-share", "0.01")


def test_nothing_goes_while_an_expected_snapshot_is_missing(saved: Saved) -> None:
    one = saved.root("vault-1", f"ls {REPOSITORY_OF_IT}/snapshots | head -1")
    saved.root("vault-1", f"mv {REPOSITORY_OF_IT}/snapshots/{one} /root/")
    try:
        refuses(saved, f"{one[:8]} must be there and is not")
    finally:
        saved.root("vault-1", f"mv /root/{one} {REPOSITORY_OF_IT}/snapshots/")


@pytest.mark.parametrize(
    ("time", "words"), [("2020-01-01 00:00:00", "is back-dated"), ("2040-01-01 00:00:00", "is from the future")]
)
def test_nothing_goes_while_a_snapshot_has_a_date_that_cannot_be_true(saved: Saved, time: str, words: str) -> None:
    """A rooted host can add one: with its own login and password, and no ledger knows of it."""
    before = set(files(saved))
    saved.root("release-1", AS_THE_HOST + f"restic backup -q --host release-1 --tag release --time '{time}' /etc/hosts")
    (odd,) = [file for file in set(files(saved)) - before if file.startswith("./snapshots/")]
    try:
        refuses(saved, words)
    finally:
        saved.root("vault-1", f"rm {REPOSITORY_OF_IT}/{odd}")


def test_dry_says_what_would_go_and_changes_nothing(saved: Saved) -> None:
    before = files(saved)
    done = saved.mainstay("retain", DATA, "--dry")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "keeps 24 of 26 snapshots" in done.stdout
    assert done.stdout.count("none of those that the plan keeps") == 2
    assert files(saved) == before


KILLED = """#!/bin/sh
[ "$1" = prune ] || exec RESTIC "$@"
RESTIC "$@" --limit-upload=1 --limit-download=1 &
until [ "$(RESTIC list locks --no-lock "$3")" ]; do :; done
kill -9 $! $PPID
wait
"""
"""In restic's place: the freeing of room takes its lock, is slow, and killed with whoever began it. It is waited for: a
process that nobody has waited for is still one, whose lock is not to be removed."""


def test_one_that_is_killed_before_it_frees_the_room_is_completed_by_the_next(saved: Saved, tmp_path: Path) -> None:
    before = size(saved)
    killer = tmp_path / "restic"
    killer.write_text(KILLED.replace("RESTIC", restic()))
    killer.chmod(0o755)
    assert saved.mainstay("retain", DATA, program=str(killer)).returncode == -9
    assert count(saved) == KEPT
    assert before - size(saved) < BULK / 2
    assert saved.status() == (0, [])
    assert saved.root("vault-1", f"ls {REPOSITORY_OF_IT}/locks")
    done = saved.mainstay("retain", DATA)
    assert done.returncode == 0, done.stdout + done.stderr
    assert before - size(saved) > BULK * 0.9
    assert not saved.root("vault-1", f"ls {REPOSITORY_OF_IT}/locks")
    assert saved.mainstay("verify", "--all").returncode == 0
    assert saved.status() == (0, [])


def test_what_is_kept_comes_back(saved: Saved, tmp_path: Path) -> None:
    assert count(saved) == KEPT
    assert saved.mainstay("restore", DATA, "--to", str(tmp_path / "back")).returncode == 0
    assert (tmp_path / "back/metadata/ota/panther/panther-stable").exists()
